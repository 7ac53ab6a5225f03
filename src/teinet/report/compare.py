"""The comparison: runs, what differs between their recipes, groups that repeat each other, and what must be known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teinet.evaluation.published import notes as paper_notes
from teinet.report.classes import ClassChanges, class_changes
from teinet.report.groups import Group, groups
from teinet.report.run import Run, read_runs
from teinet.report.settings import differing


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that a report says.

    Args:
        settings: those that differ: name of the setting, then of the run, then the value.
        classes: where exactly two runs are compared.
        notes: in what the runs do not compare.
        paper: where the paper contradicts itself or its sources.
    """

    runs: list[Run]
    groups: list[Group] = field(default_factory=list)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    classes: ClassChanges | None = None
    notes: list[str] = field(default_factory=list)
    paper: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[tuple[Run, str]]:
        """Damaged files, each with its run."""
        return [(run, problem) for run in self.runs for problem in run.problems]


def compare(names: Sequence[str] | Sequence[Path]) -> Comparison:
    """Read the runs in folders, and lay them beside each other.

    Args:
        names: folders of runs, or folders that hold runs.

    Raises:
        ConfigError: a folder that holds no run.
    """
    runs = read_runs(list(names))
    repeats = groups(runs)
    printed = [p for run in runs for outcome in run.outcomes for p in outcome.published]
    return Comparison(
        runs=runs,
        groups=repeats,
        settings=differing(runs),
        classes=class_changes(*runs) if len(runs) == 2 else None,
        notes=list(_notes(runs, repeats)),
        paper=list(dict.fromkeys(paper_notes(printed))),
    )


def _notes(runs: Sequence[Run], repeats: Sequence[Group]) -> Iterator[str]:
    """Clips, versions and decoders that were not the same."""
    for split, doing in (("train", "trained"), ("val", "validated")):
        used = {run.name: _clips((run.facts.get("data") or {}).get(split)) for run in runs}
        yield from _apart(f"{doing} on different clips", used, repeats)
    tests = dict.fromkeys((o.name, o.protocol) for run in runs for o in run.outcomes)
    for test in tests:
        used = {run.name: _clips(o.data) for run in runs for o in run.outcomes if (o.name, o.protocol) == test}
        yield from _apart(f"{test[0]}: tested on different clips, so its figures do not compare", used, repeats)
    for package in ("teinet", "torch", "timm"):
        used = {run.name: (run.facts.get("versions") or {}).get(package) for run in runs}
        yield from _apart(f"different versions of {package}", used)
    used = {run.name: (run.facts.get("decoder") or {}).get("libavcodec") for run in runs}
    yield from _apart("different decoders (libavcodec), whose pixels may differ", used)


def _clips(fingerprint: Any) -> str | None:
    if not isinstance(fingerprint, Mapping) or "sha256" not in fingerprint:
        return None
    return f"{fingerprint.get('clips', '?')} ({str(fingerprint['sha256'])[:8]})"


def _apart(what: str, used: Mapping[str, Any], repeats: Sequence[Group] = ()) -> Iterator[str]:
    """Who used what, where not all that are known used the same; not where `repeats` differ in just that."""
    who: dict[str, list[str]] = {}
    for name, value in used.items():
        if value is not None:
            who.setdefault(str(value), []).append(name)
    names = {name for some in who.values() for name in some}
    meant = any(names <= set(g.runs) and any(v.startswith("data.") for v in g.varied) for g in repeats)
    if len(who) > 1 and not meant:
        yield f"{what}: " + "; ".join(f"{value}: {', '.join(some)}" for value, some in who.items())
