"""What happens when in a long recording: one decoding pass, scores over time, events."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from threading import Event as Flag
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from teinet.data.clock import clock
from teinet.data.play import Place, play
from teinet.data.transforms import test_crops
from teinet.errors import Interrupted
from teinet.inference.events import Event, Events, Rules
from teinet.inference.pace import Pace, spacing_for
from teinet.inference.partial import Kept, Partial, print_of, print_of_file
from teinet.inference.rows import Row, Taken, rows_of
from teinet.inference.strip import Strip, StripMaker

if TYPE_CHECKING:
    from teinet.inference.recognizer import Recognizer

log = logging.getLogger("teinet")


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """Scores and events of one recording.

    Args:
        path: the file.
        class_names: in the order of the scores.
        times: (n,) seconds: the middle of the frames that each row of scores is of, those of a window, or those that a
            stream averages over.
        scores: (n, classes), each row sums to 1.
        events: in the order in which they began.
        spacing: seconds between the frames that the network took.
        lag: seconds from a row's time to its last frame, before which nobody can know it.
        restarts: gaps and times that ran backwards, after which a stream began anew.
        until: the second of the recording's last frame.
        strip: small pictures over its length; None where none were asked for.
    """

    path: str
    class_names: tuple[str, ...]
    times: np.ndarray
    scores: np.ndarray
    events: tuple[Event, ...]
    spacing: float
    lag: float
    restarts: int
    until: float = 0.0
    strip: Strip | None = None

    def to_dict(self) -> dict[str, Any]:
        """The events as JSON values, without the scores."""
        return {
            "path": self.path,
            "spacing": self.spacing,
            "restarts": self.restarts,
            "events": [event.to_dict() for event in self.events],
        }


def timeline(
    recognizer: Recognizer,
    video: str | PathLike,
    *,
    spacing: float | None = None,
    rules: Rules | None = None,
    span: int | None = None,
    hop: int | None = None,
    strip: bool = False,
    partial: str | PathLike | None = None,
    stop: Flag | None = None,
    progress: Callable[[float], object] | None = None,
    threads: int | Literal["auto"] = "auto",
) -> Timeline:
    """Find out what happens when in a video, however long, decoding it once.

    A causal network goes on from frame to frame with what it remembers, some frames at a time; a two-sided one looks at
    overlapping windows of T frames. Either gives what separate steps, or separate windows, give.

    Args:
        recognizer: of any network.
        video: a file.
        spacing: seconds between the frames that the network takes; None takes that of its training.
        rules: when events begin and end.
        span: causal: how many of the last frames a score averages over, at least 1; None takes T.
        hop: two-sided: frames from one window to the next, 1 to T; None takes half of T.
        strip: whether to keep small pictures too.
        partial: a file that keeps what was found so far, written every ten seconds or so and at the end. The same call
            goes on from it, and gives what an undisturbed one gives; what belongs to another recogniser, video or
            setting is not used. Rules may differ. Remove it when the answer is safe.
        stop: once it is set, what was found is kept, and `Interrupted` raised.
        progress: is called with the second reached, for each frame.
        threads: of the decoder.

    Raises:
        ConfigError: a value out of its range, or no spacing that is known.
        VideoError: a file that cannot be read.
        Interrupted: `stop` was set.
        OSError: `partial` cannot be written.
    """
    spacing = spacing_for(recognizer, spacing)
    Events(recognizer.class_names, rules)  # finds a label that does not exist before all the work
    work = _Work(recognizer, spacing, span, hop, strip)
    keeper = None
    if partial is not None:
        settings = {"spacing": spacing, "span": span, "hop": hop, "strip": strip}
        keeper = Partial(partial, {**settings, "recognizer": print_of(recognizer), "video": print_of_file(video)})
        kept = keeper.load()
        if kept is not None:
            work.restore(kept)
            if not work.done:
                log.info("%s: goes on at %s", fspath(video), clock(work.second))

    def wanted(second: float) -> bool:
        if progress is not None:
            progress(second)
        return work.wants(second)

    if not work.done:
        for second, picture in play(video, wanted, after=work.place, threads=threads):
            work.take(second, picture)
            stopped = stop is not None and stop.is_set()
            if keeper is not None and (stopped or keeper.due):
                keeper.save(*work.kept())
            if stopped:
                raise Interrupted(f"{fspath(video)}: stopped at {second:.1f} s")
        work.finish()
        if keeper is not None:
            keeper.save(*work.kept())
    return Timeline(
        path=fspath(video),
        class_names=recognizer.class_names,
        times=np.array([row.second for row in work.found]),
        scores=_stacked(work.found, len(recognizer.class_names)),
        events=_events(work.found, recognizer.class_names, rules),
        spacing=spacing,
        lag=((recognizer.num_frames if span is None else span) - 1) / 2 * spacing,
        restarts=work.pace.restarts,
        until=work.second,
        strip=None if work.strip is None else work.strip.strip,
    )


def _events(rows: Sequence[Row], class_names: Sequence[str], rules: Rules | None) -> tuple[Event, ...]:
    events, changes = Events(class_names, rules), []
    for second, scores, begins in rows:
        if begins:
            changes += events.finish()
        changes += events.feed(second, scores)
    changes += events.finish()
    return tuple(change.event for change in changes if change.what == "end")


def _stacked(rows: Sequence[Row], classes: int) -> np.ndarray:
    return np.array([row.scores for row in rows], dtype=np.float32).reshape(-1, classes)


class _Work:
    """A recording that is being looked through: all that going on with it needs."""

    def __init__(self, recognizer: Recognizer, spacing: float, span: int | None, hop: int | None, strip: bool):
        self.pace = Pace(spacing)
        self.strip = StripMaker() if strip else None
        self.found: list[Row] = []
        self.done = False
        self.second = 0.0  # of the last frame, taken or not
        self._recognizer = recognizer
        self._rows = rows_of(recognizer, span=span, hop=hop)
        self._frames, self._ordered = 0, True
        self._size: tuple[int, int] | None = None
        self._verdict = "restart"

    @property
    def place(self) -> Place | None:
        """Where to go on playing; None for the beginning."""
        return None if self._size is None else Place(self._frames, self.second, self._ordered, self._size)

    def wants(self, second: float) -> bool:
        """Judge the next frame."""
        self._ordered = self._ordered and (not self._frames or second > self.second)
        self._frames, self.second = self._frames + 1, second
        self._verdict = self.pace.judge(second)
        return self._verdict != "skip"

    def take(self, second: float, picture: np.ndarray) -> None:
        """The picture (H, W, 3) of a frame that is wanted, cut as in a test."""
        begins = self._size is None or self._verdict == "restart"
        self._size = picture.shape[:2]
        if self.strip is not None:
            self.strip.feed(second, picture)
        cut = test_crops(torch.from_numpy(picture)[None], self._recognizer.preprocessing)[0, 0]
        self._add(self._rows.feed(Taken(second, cut, begins)))

    def finish(self) -> None:
        """The recording has ended."""
        self._add(self._rows.finish())
        self.done = True

    def _add(self, rows: list[Row]) -> None:
        # the numbers that a file keeps, so that an interruption changes no event
        self.found += [row._replace(scores=row.scores.astype(np.float32)) for row in rows]

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which `restore` goes on."""
        tensors = {
            "times": torch.tensor([row.second for row in self.found], dtype=torch.float64),
            "begins": torch.tensor([row.begins for row in self.found], dtype=torch.bool),
            "scores": torch.from_numpy(_stacked(self.found, len(self._recognizer.class_names))),
        }
        facts: dict[str, Any] = {"done": self.done, "pace": json.dumps(asdict(self.pace))}
        facts["place"] = None if self.place is None else asdict(self.place)
        if self.strip is not None:
            strip, facts["apart"] = self.strip.strip, self.strip.apart
            tensors["strip.seconds"] = torch.from_numpy(strip.seconds)
            tensors["strip.pictures"] = torch.from_numpy(strip.pictures)
        if not self.done:
            tensors |= {f"rows.{name}": tensor for name, tensor in self._rows.tensors().items()}
        return tensors, facts

    def restore(self, kept: Kept) -> None:
        """Go on from what `kept` gave."""
        tensors, facts = kept
        columns = tensors["times"].tolist(), tensors["scores"].numpy(), tensors["begins"].tolist()
        self.found = [Row(*each) for each in zip(*columns, strict=True)]
        vars(self.pace).update(json.loads(facts["pace"]))  # also what it remembers between two frames
        place = facts["place"]
        if place is not None:
            self._frames, self.second, self._ordered = place["frames"], place["second"], place["ordered"]
            self._size = tuple(place["size"])
        if self.strip is not None:
            strip = Strip(tensors["strip.seconds"].numpy(), tensors["strip.pictures"].numpy())
            self.strip = StripMaker((strip, facts["apart"]))
        self.done = facts["done"]
        if not self.done:
            self._rows.restore({k.removeprefix("rows."): t for k, t in tensors.items() if k.startswith("rows.")})
