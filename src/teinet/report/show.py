"""Values as the report prints them, the same on a page, in Markdown and on a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from teinet.evaluation.published import cost
from teinet.report.beside import Beside
from teinet.report.groups import Group, Spread
from teinet.report.outcome import Outcome
from teinet.report.run import Run
from teinet.utils.text import duration, printable

DASH = "-"


def share(value: float | None) -> str:
    """A share in per cent: `47.3`, or a dash."""
    return DASH if value is None else f"{100 * value:.1f}"


def number(value: float | None) -> str:
    """A printed figure: `47.4`, or a dash."""
    return DASH if value is None else f"{value:.1f}"


def signed(points: float | None) -> str:
    """A difference: `+0.3`, `-1.2`, `0.0`, or nothing."""
    if points is None:
        return ""
    return "0.0" if round(points, 1) == 0 else f"{points:+.1f}"


def spread(value: Spread | None) -> str:
    """Mean and standard deviation in per cent: `47.3 ± 0.4`."""
    return DASH if value is None else f"{100 * value.mean:.1f} ± {100 * value.deviation:.1f}"


def setting(value: Any) -> str:
    """A recipe's value as its reference writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return printable(value) or "''"


def network(run: Run) -> str:
    """Network, frames, size and data set: `teinet_resnet50, 8 frames, 30.4 M parameters, something_v1`."""
    parts = [printable(run.network)]
    if run.frames is not None:
        parts.append(f"{run.frames} frames")
    if run.parameters:
        parts.append(f"{run.parameters / 1e6:.1f} M parameters")
    if "format" in run.facts:
        parts.append(printable(run.facts["format"]))
    return ", ".join(parts)


def test(outcome: Outcome) -> str:
    """The test's name, and of an ensemble whose."""
    return f"{outcome.name} ({' + '.join(outcome.members)})" if outcome.members else outcome.name


def test_cost(outcome: Outcome) -> str:
    """GFLOPs of a view and the number of views."""
    return cost(outcome.gflops, outcome.num_views)


def printed_cost(row: Beside) -> str:
    """The same of a printed row, as printed."""
    return cost(row.printed.gflops, row.num_views)


def state(run: Run) -> str:
    """How far training came, where it did not come to its end."""
    done, asked = run.epochs
    return "" if run.finished or not run.trained else f"unfinished, {done} of {asked or '?'} epochs"


def varied(group: Group) -> str:
    """What its runs differ in: `run.seed 0, 1, 2`."""
    return "; ".join(f"{name} {', '.join(map(setting, each))}" for name, each in group.varied.items()) or "nothing"


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
        asked_rate = run.setting("optim", "lr")
        per = f" (optim.lr {asked_rate:g}, scaled)" if _differs(asked_rate, known["learning_rate"]) else ""
        yield "learning rate used", f"{known['learning_rate']:.4g}{per}"
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
            yield (
                f"{split} clips",
                f"{data.get('clips', '?')} of {data.get('classes', '?')} classes, fingerprint {digest}",
            )
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


def _differs(asked: Any, used: float) -> bool:
    return isinstance(asked, (int, float)) and abs(asked - used) > 1e-12


def _time(text: object) -> str:
    """To the minute, as a person writes it."""
    try:
        return datetime.fromisoformat(str(text)).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return str(text)
