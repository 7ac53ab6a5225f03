"""The comparison of runs as one self-contained HTML page."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from teinet import __version__
from teinet.evaluation.plots import ONE, SEVERAL, TITLES, has_points, save_curves
from teinet.evaluation.published import cost, count_views
from teinet.pages.render import inline, render
from teinet.report.compare import Comparison
from teinet.report.results import PublishedRow
from teinet.report.runs import Run
from teinet.report.terminal import setting, signed, spread, varied
from teinet.utils.files import write_text
from teinet.utils.text import duration, printable, share


def write_page(comparison: Comparison, path: Path) -> None:
    """Write the page as one file, with its images."""
    runs = comparison.runs
    tests = [test for run in runs for test in run.tests]
    filters = (share, signed, spread, setting, varied, published_cost, facts)
    page = render(
        "comparison.html.jinja",
        filters={shown.__name__: shown for shown in filters},
        **vars(comparison),
        title=runs[0].name if len(runs) == 1 else f"Comparison of {len(runs)} runs",
        tests=len(tests),
        published=any(test.published for test in tests),
        marked=[run for run in runs if run.problems or run.warnings],
        known=sum(bool(run.recipe) for run in runs),
        curves=list(_curves(runs)),
        confusions=list(_confusions(runs)),
        version=__version__,
    )
    write_text(path, page, errors="replace")


def published_cost(row: PublishedRow) -> str:
    """Return GMACs of a view and the number of views, as published."""
    return cost(row.gmacs, count_views(row.views))


def facts(run: Run) -> Iterator[tuple[str, str]]:
    """Yield facts about a run, a name and a text each."""
    known = run.info
    yield "folder", printable(run.folder)
    if run.trained:
        yield "epochs", f"{run.epochs} of {run.epochs_planned or '?'}"
    if "seed" in known:
        yield "seed", str(known["seed"])
    if "learning_rate" in known:
        rate, asked = known["learning_rate"], run.recipe.get("optim", {}).get("lr", known["learning_rate"])
        yield "learning rate used", f"{rate:.4g}" + (f" (optim.lr {asked:g}, scaled)" if asked != rate else "")
    if "precision" in known:
        yield "precision", known["precision"]
    for name in ("started", "finished"):
        if name in known:
            yield name, _minute(known[name])
    if again := known.get("resumed"):
        yield "resumed", ", ".join(_minute(each["started"]) for each in again)
    if run.seconds is not None:
        yield "time in training steps", duration(run.seconds)
    for split, data in known.get("data", {}).items():
        yield f"{split} clips", f"{data['clips']} in {data['classes']} classes, sha256 {data['sha256'][:16]}"
    if "format" in known:
        yield "list format", known["format"]
    for note in known.get("notes", []):
        yield "note", printable(note)
    if run.trained:
        yield "missing clips", str(run.missing)
        yield "unreadable clips", str(run.unreadable)
        yield "damaged files", str(run.damaged)
    for name in ("versions", "decoder"):
        if known.get(name):
            yield name, ", ".join(f"{package} {version}" for package, version in known[name].items())
    if "command" in known:
        yield "command", shlex.join(map(printable, known["command"]))


def _minute(time: str) -> str:
    return f"{time[:16].replace('T', ' ')} UTC"


def _curves(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Yield the title and the image of each quantity that any run logged."""
    logs = {run.name: run.log for run in runs if run.log}
    for panel in ONE if len(logs) == 1 else SEVERAL:
        if any(has_points(logs, column) for column in panel):
            buffer = io.BytesIO()
            save_curves(logs, buffer, panels=[panel])
            yield TITLES[panel[0]], inline(buffer.getvalue())


def _confusions(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Yield the caption and the confusion matrix of each run's first test."""
    for run in runs:
        for test, image in [(test, test.confusion) for test in run.tests if test.confusion][:1]:
            yield f"{run.name}, {test.name}", inline(image.read_bytes())
