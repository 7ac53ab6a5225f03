"""A sample of a list's clips, measured: how long, how large, in which codec, and which cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from teinet.data.lists.rows import Row
from teinet.data.video.reader import count_frames, probe
from teinet.errors import VideoError
from teinet.utils.progress import file_progress

_SHORT = (8, 16)  # frames that networks look at


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One clip: its frames, and the facts of its file. A folder of pictures has no seconds and no rate."""

    row: Row
    frames: int
    seconds: float | None
    frame_rate: float | None
    width: int
    height: int
    codec: str


@dataclass(frozen=True)
class Sample:
    """Clips drawn from a list, `asked` of those that are there; some could not be read."""

    asked: int
    measured: list[Measured]
    unreadable: list[tuple[Row, str]]

    def ranges(self) -> dict[str, tuple[float, float, float]]:
        """Smallest, median and largest of each quantity that clips have."""
        quantities = {
            "frames": [m.frames for m in self.measured],
            "seconds": [m.seconds for m in self.measured if m.seconds is not None],
            "frames a second": [m.frame_rate for m in self.measured if m.frame_rate is not None],
            "short side": [min(m.width, m.height) for m in self.measured],
            "long side": [max(m.width, m.height) for m in self.measured],
        }
        found = {}
        for name, values in quantities.items():
            if values:
                found[name] = (float(min(values)), float(np.median(values)), float(max(values)))
        return found

    def sizes(self) -> list[tuple[str, int]]:
        """Width x height, the commonest first."""
        return Counter(f"{m.width}x{m.height}" for m in self.measured).most_common()

    def codecs(self) -> list[tuple[str, int]]:
        """The commonest first."""
        return Counter(m.codec for m in self.measured).most_common()

    def shorter(self) -> dict[int, int]:
        """How many clips have fewer frames than networks look at."""
        return {limit: sum(m.frames < limit for m in self.measured) for limit in _SHORT}

    def to_dict(self) -> dict[str, object]:
        """All of it, for JSON."""
        return {
            "asked": self.asked,
            "measured": len(self.measured),
            "ranges": {name: dict(zip(("min", "median", "max"), values)) for name, values in self.ranges().items()},
            "sizes": dict(self.sizes()),
            "codecs": dict(self.codecs()),
            "shorter": self.shorter(),
            "unreadable": [{"path": row.path, "reason": reason} for row, reason in self.unreadable],
        }


def draw_sample(
    rows: Sequence[Row], missing: Sequence[int], count: int, *, seed: int = 0, console: Console | None = None
) -> Sample:
    """Draw `count` of the rows that are there, the same ones each time, and measure them."""
    gone = set(missing)
    there = [i for i in range(len(rows)) if i not in gone]
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.choice(there, min(count, len(there)), replace=False).tolist()) if there else []
    sample = Sample(len(chosen), [], [])
    with file_progress(console or Console(quiet=True), "measuring", len(chosen)) as advance:
        for i in chosen:
            try:
                sample.measured.append(_measure(rows[i]))
            except VideoError as error:
                sample.unreadable.append((rows[i], error.reason))
            advance("")
    return sample


def _measure(row: Row) -> Measured:
    info = probe(row.path)
    frames, seconds = count_frames(row.path, start=row.start, end=row.end), info.duration
    if frames != info.num_frames and info.frame_rate:
        seconds = frames / info.frame_rate
    return Measured(
        row=row,
        frames=frames,
        seconds=seconds,
        frame_rate=info.frame_rate,
        width=info.width,
        height=info.height,
        codec=info.codec,
    )
