"""A test as tables for a terminal: the summary, the classes from worst to best, the commonest mistakes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from teinet.evaluation.scores import Scores, percent

# in metrics.json; the title says the network
_NOT_SHOWN = ("weights_sha256", "network", "torch", "decoder", "command")


def summary_table(scores: Scores, title: str = "test") -> Table:
    """The test's numbers, and what they were measured on."""
    table = Table(title=title, title_justify="left", show_header=False, pad_edge=False, box=SIMPLE_HEAD)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("top-1", Text(percent(scores.top1), style="bold"))
    note = "" if scores.top5_k == 5 else f" (only {scores.top5_k} classes)"
    table.add_row(f"top-{scores.top5_k}{note}", percent(scores.top5))
    table.add_row("mean class accuracy", percent(scores.mean_class_accuracy))
    table.add_row("clips", f"{len(scores)}")
    unlabelled = int((scores.labels < 0).sum())
    if unlabelled:
        table.add_row("without a label", f"{unlabelled}")
    bad = Text(f"{scores.num_unreadable}" + (" (counted as wrong)" if scores.num_unreadable else ""))
    bad.stylize("bold red" if scores.num_unreadable else "")
    table.add_row("unreadable", bad)
    table.add_row("classes", f"{len(scores.class_names)}")
    for name, value in scores.meta.items():
        if isinstance(value, (str, int, float)) and name not in _NOT_SHOWN:
            table.add_row(Text(name.replace("_", " ")), Text(str(value)))
    return table


def class_table(scores: Scores, most: int | None = None) -> Table:
    """Accuracy of each class that has clips, the worst first; the first `most` of them."""
    present = np.flatnonzero(scores.class_counts > 0)
    order = present[np.argsort(scores.class_accuracy[present], kind="stable")][:most]
    shown = "" if len(order) == len(present) else f", worst {len(order)} of {len(present)}"
    table = Table(title=f"classes{shown}", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    table.add_column("class")
    table.add_column("clips", justify="right")
    table.add_column("accuracy", justify="right")
    table.add_column("")
    for label in map(int, order):
        accuracy = float(scores.class_accuracy[label])
        # Text: names such as "Pushing [something]" would be read as markup
        row = (Text(scores.class_names[label]), str(scores.class_counts[label]), percent(accuracy))
        table.add_row(*row, Text(bar(accuracy), style="cyan"))
    return table


def confusion_table(scores: Scores, most: int = 10) -> Table | None:
    """The commonest mistakes; None when there are none."""
    pairs = scores.confused_pairs(most)
    if not pairs:
        return None
    table = Table(title="most often confused", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    table.add_column("true class")
    table.add_column("recognised as")
    table.add_column("clips", justify="right")
    table.add_column("of class", justify="right")
    for true, predicted, count, share in pairs:
        table.add_row(Text(true), Text(predicted), str(count), percent(share))
    return table


def unreadable_table(scores: Scores, most: int = 20) -> Table | None:
    """The clips that could not be read, and why; None when all could."""
    bad = [(path, reason) for path, reason in zip(scores.paths, scores.reasons) if reason]
    if not bad:
        return None
    shown = "" if len(bad) <= most else f", first {most} of {len(bad)} (all in unreadable.csv)"
    table = Table(title=f"unreadable clips{shown}", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    table.add_column("clip", overflow="fold")
    table.add_column("why", overflow="fold")
    for path, reason in bad[:most]:
        table.add_row(Text(path), Text(reason))
    return table


def tables(scores: Scores, title: str = "test", most_classes: int | None = 30) -> Iterator[Table]:
    """All tables of a test that have something to say, the summary last, where the eye ends on a terminal."""
    found = (class_table(scores, most_classes), confusion_table(scores), unreadable_table(scores))
    yield from (table for table in found if table is not None and table.row_count)
    yield summary_table(scores, title)


def bar(share: float, width: int = 20) -> str:
    """A share as a bar of up to `width` cells, to an eighth of a cell."""
    eighths = round(8 * width * min(max(share, 0.0), 1.0))
    return "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
