"""Joins labelled clips to long recordings whose every segment is known to the frame.

Between two clips lies a pause in which nothing moves: its first half holds the last picture of the clip before, its
second half the first picture of the clip after. So no cut marks where a segment begins or ends (the cut lies in the
middle of the pause, where nothing happens), and a network must see the action itself begin: a pause in grey would give
every boundary away. A network that names a class from one still picture finds it in the pauses too, and is wrong.
"""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console

from teinet.data.film import Clip, Size, look_at, open_film
from teinet.data.lists.formats import Listing
from teinet.data.lists.rows import Row
from teinet.data.lists.write_list import path_from, refuse_unwritable, write_rows
from teinet.errors import AnnotationError, ConfigError, Interrupted, VideoError, nearest
from teinet.utils.files import replacing
from teinet.utils.progress import Advance, file_progress
from teinet.utils.signals import stop_on_signal

LIST, FACTS = "annotations.csv", "join.json"
Value = TypeVar("Value", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Joining:
    """How clips are joined.

    Args:
        seconds: that a recording lasts at most, above 0; one clip with its pauses may last longer.
        gap: the shortest and the longest pause, seconds, at least 0; there is one before the first clip and one after
            the last.
        seed: of order and pauses.
        by: a column whose values are never mixed in one recording, such as subject; splits never are.
        size: width and height, even; None takes the commonest of the clips. Others are fitted in, black around them.
        rate: frames a second, above 0; None takes the commonest of the clips.
        quality: x264's rate factor, 0 (best) to 51.

    Raises:
        ConfigError: a value out of its range.
    """

    seconds: float = 60.0
    gap: tuple[float, float] = (0.5, 2.0)
    seed: int = 0
    by: str | None = None
    size: Size | None = None
    rate: Fraction | None = None
    quality: int = 18

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise ConfigError(f"a recording must last more than 0 s, got {self.seconds:g}")
        if not (0 <= self.gap[0] <= self.gap[1] and math.isfinite(self.gap[1])):
            raise ConfigError(f"a pause lasts from one time to a longer one, at least 0 s; got {self.gap}")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")
        if self.size is not None and not all(side >= 16 and side % 2 == 0 for side in self.size):
            raise ConfigError(f"width and height must be even and at least 16, got {self.size[0]}x{self.size[1]}")
        if self.rate is not None and not 0 < self.rate <= 1000:
            raise ConfigError(f"the rate must be above 0 and at most 1000 frames a second, got {self.rate}")
        if not 0 <= self.quality <= 51:
            raise ConfigError(f"quality is 0 (best) to 51, got {self.quality}")


@dataclass(kw_only=True)
class Joined:
    """What was written: the annotations, how many recordings of how many clips, and the clips that cannot be read."""

    annotations: Path
    size: Size
    rate: Fraction
    recordings: int = 0
    clips: int = 0
    seconds: float = 0.0
    unreadable: list[tuple[Row, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "annotations": str(self.annotations),
            "recordings": self.recordings,
            "clips": self.clips,
            "seconds": round(self.seconds, 3),
            "size": list(self.size),
            "rate": round(float(self.rate), 6),
            "unreadable": [
                {"path": r.path, "reason": why, "list": r.file, "line": r.line} for r, why in self.unreadable
            ],
        }


def join(listing: Listing, folder: Path, settings: Joining | None = None, *, console: Console | None = None) -> Joined:
    """Write recordings of a list's clips into `folder`, and `annotations.csv` beside them.

    Every clip of the list stands in one recording, once, in an order drawn by the seed. The annotations have a row for
    each clip: path, label, split, start and end (seconds, exact to the frame), the list's own columns, and `clip`, the
    file that it is from, with `clip_start` and `clip_end` where it was a part of one. The same list and settings give
    the same files. Clips that cannot be read are left out and reported.

    Args:
        listing: the clips; they are not changed.
        folder: a new or empty folder.
        settings: how; None takes the defaults of `Joining`.
        console: where progress is shown.

    Raises:
        ConfigError: `folder` holds files, a column does not exist, or pictures without a clock and no rate.
        AnnotationError: a clip without a label.
        VideoError: no clip can be read.
        Interrupted: Ctrl-C or SIGTERM; nothing is left of what was written.
    """
    settings, console = settings or Joining(), console or Console(quiet=True)
    groups = _groups(listing.rows, settings.by, listing.source)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is there already; recordings are written into a new or an empty folder")
    refuse_unwritable([_annotated(row, folder / "0000.mp4", 0.0, 1.0, folder) for row in listing.rows], folder)
    unreadable: list[tuple[Row, str]] = []
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    written: list[Path] = []
    with stop_on_signal() as stop:
        try:
            with file_progress(console, "looking at clips", len(listing.rows), unit="clips") as advance:
                seen = [_look(rows, unreadable, stop, advance) for rows in groups]
            clips = [clip for group in seen for clip in group]
            if not clips:
                row, reason = unreadable[0]
                raise VideoError(row.path, f"{reason}; none of the {len(listing.rows)} clips can be read")
            size = settings.size or _even(_commonest([clip.size for clip in clips]))
            rates = [clip.rate for clip in clips if clip.rate is not None]
            if settings.rate is None and not rates:
                raise ConfigError(f"{listing.source}: folders of pictures have no clock; say the rate (--rate 12)")
            done = Joined(
                annotations=folder / LIST, size=size, rate=settings.rate or _commonest(rates), unreadable=unreadable
            )
            folder.mkdir(parents=True, exist_ok=True)
            rows: list[Row] = []
            with file_progress(console, "joining", len(clips), unit="clips") as advance:
                for number, group in enumerate(seen):
                    rng = np.random.default_rng([settings.seed, number])
                    for plan in _plans(group, settings, done.rate, rng):
                        path = folder / f"{done.recordings:04d}.mp4"
                        written.append(path)
                        if found := _write(path, plan, done, settings.quality, stop, advance):
                            rows += [_annotated(row, path, start, end, folder) for row, start, end in found]
                            done.recordings += 1
            if not rows:
                raise VideoError(*_first(unreadable))
            done.clips = len(rows)
            written += [folder / LIST, folder / FACTS]
            write_rows(folder / LIST, rows)
            _write_facts(folder / FACTS, listing, settings, done)
        except BaseException as error:
            for path in written:
                path.unlink(missing_ok=True)
            for place in new:
                with suppress(OSError):  # not made yet, or somebody else has put something there
                    place.rmdir()
            if isinstance(error, KeyboardInterrupt):
                raise _interrupted() from None
            raise
    return done


@dataclass(frozen=True)
class _Plan:
    """One recording: its clips in order, and the pauses before each and after the last, in frames."""

    clips: list[Clip]
    pauses: list[int]


def _plans(clips: Sequence[Clip], settings: Joining, rate: Fraction, rng: np.random.Generator) -> list[_Plan]:
    """Fill one recording after the other with a group's clips."""
    most = math.floor(settings.seconds * rate)
    plans: list[_Plan] = []
    length = 0

    def pause() -> int:
        return round(float(rng.uniform(*settings.gap)) * rate)

    for place in rng.permutation(len(clips)):
        clip, after = clips[place], pause()
        more = len(clip.shown(rate)) + after
        if not plans or length + more > most:
            before = pause()
            plans.append(_Plan([], [before]))
            length = before
        plans[-1].clips.append(clip)
        plans[-1].pauses.append(after)
        length += more
    return plans


def _write(
    path: Path, plan: _Plan, done: Joined, quality: int, stop: threading.Event, advance: Advance
) -> list[tuple[Row, float, float]]:
    """Write one recording; returns its segments, none where not one clip could be read."""
    clips, pauses, told = list(plan.clips), list(plan.pauses), 0
    while clips:
        segments: list[tuple[Row, float, float]] = []
        broken: int | None = None
        try:
            with open_film(path, done.rate, quality=quality) as film:
                last = None
                for number, (clip, pause) in enumerate(zip(clips, pauses)):
                    if stop.is_set():
                        raise _interrupted()
                    broken = number
                    pictures = clip.pictures(done.size, done.rate)
                    picture = next(pictures)
                    held = 0 if last is None else pause // 2
                    if last is not None:
                        film.add(last, held)
                    film.add(picture, pause - held)
                    start = film.frames
                    film.add(picture)
                    for picture in pictures:
                        film.add(picture)
                    last = picture
                    segments.append((clip.row, float(start / done.rate), float(film.frames / done.rate)))
                    if number >= told:
                        told += 1
                        advance("")
                film.add(last, pauses[-1])
            done.seconds += float(film.frames / done.rate)
            return segments
        except VideoError as error:  # of the clip under way: the recording is written anew without it
            assert broken is not None
            done.unreadable.append((clips[broken].row, error.reason))
            del clips[broken], pauses[broken]
    return []


def _look(
    rows: Sequence[Row], unreadable: list[tuple[Row, str]], stop: threading.Event, advance: Advance
) -> list[Clip]:
    found = []
    for row in rows:
        if stop.is_set():
            raise _interrupted()
        try:
            found.append(look_at(row))
        except VideoError as error:
            unreadable.append((row, error.reason))
        advance("")
    return found


def _groups(rows: Sequence[Row], by: str | None, source: object) -> list[list[Row]]:
    """Rows that may stand in one recording, by split and by the column's value."""
    if by is not None:
        known = sorted({name for row in rows for name in row.fields()})
        if by not in known:
            raise ConfigError(f"{source} has no column {by!r}.{nearest(by, known)} It has: {', '.join(known)}.")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.label is None:
            raise AnnotationError(row.file or source, f"{row.path} has no label, so it makes no segment", row.line)
        value = row.fields().get(by, "") if by is not None else ""
        groups.setdefault((row.split, value), []).append(row)
    return list(groups.values())


def _annotated(row: Row, path: Path, start: float, end: float, folder: Path) -> Row:
    """The row of the annotations that stands for a clip."""
    columns = {**row.columns, "clip": path_from(row.path, folder)}
    if row.start is not None or row.end is not None:
        columns["clip_start"] = "" if row.start is None else repr(row.start)
        columns["clip_end"] = "" if row.end is None else repr(row.end)
    return Row(path=str(path), label=row.label, split=row.split, start=start, end=end, columns=columns)


def _write_facts(path: Path, listing: Listing, settings: Joining, done: Joined) -> None:
    facts = {
        "joined": str(listing.source.name),
        "seconds": settings.seconds,
        "gap": list(settings.gap),
        "seed": settings.seed,
        "by": settings.by,
        "quality": settings.quality,
        "size": list(done.size),
        "rate": str(done.rate),
        "recordings": done.recordings,
        "clips": done.clips,
        "unreadable": len(done.unreadable),
    }
    with replacing(path) as part:
        part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _commonest(values: Sequence[Value]) -> Value:
    """The value that occurs most often; of several, the largest."""
    return max(Counter(values).items(), key=lambda pair: (pair[1], pair[0]))[0]


def _even(size: Size) -> Size:
    width, height = (max(16, side - side % 2) for side in size)
    return width, height


def _first(unreadable: Sequence[tuple[Row, str]]) -> tuple[str, str]:
    row, reason = unreadable[0]
    return row.path, f"{reason}; not one clip can be read"


def _interrupted() -> Interrupted:
    return Interrupted("stopped; no recording is kept, the same command begins anew")
