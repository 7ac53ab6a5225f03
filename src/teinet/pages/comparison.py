"""The comparison of runs as one HTML page that needs no other file."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from teinet import __version__
from teinet.errors import ConfigError
from teinet.evaluation.plots import ONE, SEVERAL, TITLES, has_points, save_curves
from teinet.evaluation.published import cost, count_views
from teinet.pages.web import inline, render
from teinet.report.compare import Comparison
from teinet.report.outcome import PrintedRow
from teinet.report.runs import Run
from teinet.report.terminal import number, setting, share, signed, spread, varied
from teinet.utils.files import replacing
from teinet.utils.text import duration, printable


def check_page(path: str | Path) -> Path:
    """Return where a page is to be written.

    Raises:
        ConfigError: another suffix than .html, or a folder that does not exist.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{path}: a page is HTML; give it a name that ends in .html")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: cannot be written; name a file in a folder that exists")
    return path


def write_page(comparison: Comparison, path: Path) -> None:
    """Write one file that holds everything, pictures too."""
    runs = comparison.runs
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    filters = (share, number, signed, spread, setting, varied, printed_cost, facts)
    page = render(
        "comparison.html.jinja",
        filters={shown.__name__: shown for shown in filters},
        **vars(comparison),
        title=runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared",
        tests=len(outcomes),
        printed=any(outcome.published for outcome in outcomes),
        marked=[run for run in runs if run.problems or run.warnings],
        known=sum(bool(run.recipe) for run in runs),
        curves=list(_curves(runs)),
        confusions=list(_confusions(runs)),
        version=__version__,
    )
    with replacing(path) as part:
        part.write_bytes(page.encode("utf-8", "replace"))


def printed_cost(row: PrintedRow) -> str:
    """GFLOPs of a view and the number of views, as a paper printed them."""
    return cost(row.published.gflops, count_views(row.published.views))


def facts(run: Run) -> Iterator[tuple[str, str]]:
    """What a run was made of and how, a name and a text each."""
    known = run.facts
    yield "folder", printable(run.folder)
    if run.trained:
        done, asked = run.epochs
        yield "epochs", f"{done} of {asked or '?'}"
    if "seed" in known:
        yield "seed", str(known["seed"])
    if "learning_rate" in known:
        rate, asked_rate = known["learning_rate"], run.setting("optim", "lr")
        scaled = isinstance(asked_rate, (int, float)) and abs(asked_rate - rate) > 1e-12
        yield "learning rate used", f"{rate:.4g}" + (f" (optim.lr {asked_rate:g}, scaled)" if scaled else "")
    if "precision" in known:
        yield "precision", known["precision"]
    for name in ("started", "finished"):
        if name in known:
            yield name, _time(known[name])
    again = [_time(r["started"]) for r in known.get("resumed", []) if isinstance(r, Mapping) and "started" in r]
    if again:
        yield "resumed", ", ".join(again)
    if run.seconds is not None:
        yield "time in training steps", duration(run.seconds)
    for split, data in known.get("data", {}).items():
        if isinstance(data, Mapping):
            digest = str(data.get("sha256", ""))[:16]
            yield f"{split} clips", f"{data.get('clips', '?')} of {data.get('classes', '?')} classes, sha256 {digest}"
    if "format" in known:
        yield "format of the list", known["format"]
    for note in known.get("notes", []):
        yield "note", printable(note)
    if run.trained:
        yield "missing clips", str(run.missing)
        yield "unreadable clips", str(run.unreadable)
    for name in ("versions", "decoder"):
        if known.get(name):
            yield name, ", ".join(f"{package} {version}" for package, version in known[name].items())
    if "command" in known:
        yield "command", shlex.join(printable(word) for word in known["command"])


def _time(text: object) -> str:
    """To the minute, as a person writes it."""
    try:
        return datetime.fromisoformat(str(text)).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return str(text)


def _curves(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """What is drawn over the epochs, and the picture, for each quantity that some run logged."""
    logs: dict[str, list[dict[str, Any]]] = {run.name: list(run.log) for run in runs if run.log}
    for panel in ONE if len(logs) == 1 else SEVERAL:
        if any(has_points(logs, column) for column in panel):
            buffer = io.BytesIO()
            save_curves(logs, buffer, panels=[panel])
            yield TITLES[panel[0]], inline(buffer.getvalue())


def _confusions(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """What each run's first test left."""
    for run in runs:
        outcome = next((o for o in run.outcomes if o.confusion), None)
        if outcome is not None and outcome.confusion is not None:
            yield f"{run.name}, {outcome.name}", inline(outcome.confusion.read_bytes())
