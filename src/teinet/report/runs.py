"""A run as it lies on disk: recipe, facts, log, tests, what to know of it, and which of its files are damaged."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teinet.evaluation.session import digest
from teinet.models.header import LAST
from teinet.report import run_files
from teinet.report.find import find_runs, is_test, short_names, tests_in
from teinet.report.outcome import Outcome, read_outcome
from teinet.report.run_files import NUMBER, Kinds, read, typed
from teinet.training.run_dir import FACTS, LOG, MISSING, RECIPE
from teinet.utils.text import printable

_KINDS: Kinds = {
    **dict.fromkeys(("command", "resumed", "notes"), list),
    **dict.fromkeys(("started", "finished", "precision", "format"), str),
    **dict.fromkeys(("seed", "missing", "unreadable"), int),
    **dict.fromkeys(("data", "decoder", "versions"), dict),
    "learning_rate": NUMBER,
}


@dataclass(frozen=True)
class Remark:
    """What a reader of a run's numbers must know, and the command that helps."""

    text: str
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a folder holds.

    Args:
        name: by which the report calls it.
        trained: false for a test of its own, such as an ensemble's, and for weights that no run made.
        recipe: empty where there is none, or a damaged one.
        facts: what run.json says.
        log: the numbers of each epoch.
        unreadable: clips that training or validation could not read.
        missing: clips of the list that were not there and were left out.
        problems: files that are damaged.
    """

    folder: Path
    name: str
    trained: bool
    recipe: dict[str, Any]
    facts: dict[str, Any]
    log: list[dict[str, float]]
    outcomes: list[Outcome]
    unreadable: int
    missing: int
    problems: list[str]
    warnings: list[Remark] = field(default_factory=list)

    def setting(self, section: str, name: str) -> Any:
        """Return a setting of its recipe; None where the recipe does not say it."""
        return self.recipe.get(section, {}).get(name)

    @property
    def network(self) -> str:
        """The network's name, or of an ensemble the names."""
        tested = next((outcome.network for outcome in self._alone if outcome.network), "-")
        return str(self.setting("model", "name") or tested)

    @property
    def frames(self) -> int | None:
        """Frames of a clip, T."""
        return self.setting("model", "num_frames")

    @property
    def parameters(self) -> int | None:
        """Of the network, or of an ensemble all; None before its first test."""
        return next((outcome.parameters for outcome in self._alone if outcome.parameters), None)

    @property
    def _alone(self) -> list[Outcome]:
        """Its tests, without those of ensembles where it has others."""
        return [outcome for outcome in self.outcomes if not outcome.members] or self.outcomes

    @property
    def epochs(self) -> tuple[int, int | None]:
        """How many were done, and how many the recipe asks for."""
        asked = self.setting("optim", "epochs")
        return len(self.log), asked if isinstance(asked, int) else None

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return "finished" in self.facts

    @property
    def state(self) -> str:
        """How far training came, where it did not come to its end."""
        done, asked = self.epochs
        return "" if self.finished or not self.trained else f"unfinished, {done} of {asked or '?'} epochs"

    @property
    def seconds(self) -> float | None:
        """Of its training steps, without validation and breaks; None before the first epoch's end."""
        return sum(row.get("seconds", 0.0) for row in self.log) if self.log else None

    @property
    def title(self) -> str:
        """Network, frames, size and data set: `teinet_resnet50, 8 frames, 30.4 M parameters, something_v1`."""
        parts = [self.network]
        parts += [f"{self.frames} frames"] if self.frames is not None else []
        parts += [f"{self.parameters / 1e6:.1f} M parameters"] if self.parameters else []
        parts += [self.facts["format"]] if "format" in self.facts else []
        return printable(", ".join(parts))


def read_runs(names: Sequence[str | Path]) -> list[Run]:
    """Read all runs in the folders; see `find_runs`."""
    folders = find_runs(names)
    return [_read_run(folder, name) for folder, name in zip(folders, short_names(folders))]


def _read_run(folder: Path, name: str) -> Run:
    """Whatever is damaged is left out, and named."""
    problems: list[str] = []
    trained = any((folder / file).is_file() for file in (RECIPE, FACTS))
    recipe = read(folder / RECIPE, run_files.recipe, problems) or {}
    facts = typed(read(folder / FACTS, run_files.json_object, problems) or {}, _KINDS, FACTS, problems)
    if trained:
        problems += [f"{file} is not there" for file in (RECIPE, FACTS) if not (folder / file).is_file()]
    tests = [folder] if is_test(folder) else list(tests_in(folder))
    # What could not be read is listed as soon as it is met; run.json counts it once the run has ended.
    unreadable = read(folder / "unreadable.csv", run_files.count_rows, problems) or facts.get("unreadable", 0)
    run = Run(
        folder=folder,
        name=name,
        trained=trained,
        recipe=recipe,
        facts=facts,
        log=read(folder / LOG, run_files.log, problems) or [],
        outcomes=[o for test in tests if (o := read_outcome(test, problems, recipe)) is not None],
        unreadable=unreadable if trained else 0,
        missing=read(folder / MISSING, run_files.count_rows, problems) or facts.get("missing", 0),
        problems=problems,
    )
    run.warnings.extend(_warnings(run))
    return run


def _warnings(run: Run) -> Iterator[Remark]:
    place = shlex.quote(printable(run.folder))
    if run.state:
        yield Remark(run.state, f"teinet train --resume {place}")
    if not run.outcomes:
        can = (run.folder / LAST).is_file() and not run.state
        yield Remark("not tested", f"teinet test {place}" if can else "")
    if run.unreadable:
        yield Remark(f"{_clips(run.unreadable)} could not be read in training or validation (unreadable.csv)")
    if run.missing:
        yield Remark(f"{_clips(run.missing)} missing and left out (missing.csv)")
    for outcome in run.outcomes:
        if outcome.unreadable:
            yield Remark(f"{outcome.name}: {_clips(outcome.unreadable)} could not be read, counted as wrong")
    yield from _other_weights(run)


def _other_weights(run: Run) -> Iterator[Remark]:
    """Tests whose scores are not those of the run's last weights as they are now."""
    now: dict[Path, str | None] = {}
    for outcome in run.outcomes:
        for of in outcome.weights:
            own = run.trained and not outcome.members
            file = run.folder / Path(of.path).name if own else Path(of.path)  # the run may have been moved since
            if of.sha256 and file.is_file():
                if file not in now:
                    now[file] = read(file, digest, run.problems)
                if now[file] not in (None, of.sha256):
                    what = printable(file.name if own else file)
                    yield Remark(f"{outcome.name}: scores of other weights than {what} holds now; test again")
            if own and file.name != LAST:
                yield Remark(f"{outcome.name}: scores of {printable(file.name)}, not of {LAST}")


def _clips(count: int) -> str:
    return f"{count} clip{'s' if count != 1 else ''}"
