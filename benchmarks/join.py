"""Joins labeled clips to long recordings whose every segment is known to the frame:
python -m benchmarks.join LIST.csv FOLDER [--seconds 60] [--gap 0.5-2] [--by subject] [--seed 0]

Between two clips lies a pause in which nothing moves: its first half holds the last frame of the clip before, its
second half the first frame of the clip after. So no cut marks where a segment begins or ends (the cut is in its
middle, where nothing moves), and a network must see the action itself begin: a pause in gray would give every
boundary away. A network that names a class from one still frame finds it in the pauses too, and is wrong.

FOLDER, new or empty, gets 0000.mp4 and so on, and annotations.csv: every clip of the list once, in an order that the
seed draws, never two splits in one file, nor two values of the column --by. The times are exact to the frame, and the
same command gives the same files. All recordings have the size and rate that most clips have; others are fitted in
with black around them, and keep their length in time. Clips that cannot be read are left out and named.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from rich.progress import track

from teinet.data.lists.rows import Row
from teinet.data.lists.splits import DataConfig, read_config
from teinet.data.lists.write_list import paths_from, write_rows
from teinet.data.video.reader import VideoReader
from teinet.data.video.writer import VideoWriter
from teinet.errors import VideoError

AT_ONCE = 32  # frames in memory
Size = tuple[int, int]  # width, height
Value = TypeVar("Value", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip of a list: its size, frames a second, the seconds of its frames from the first one and of its end."""

    row: Row
    size: Size
    rate: Fraction
    times: np.ndarray
    end: float

    @classmethod
    def look_at(cls, row: Row) -> Clip:
        """Count a clip's frames; the last one is decoded, to find out a file that promises more than it holds.

        Raises:
            VideoError: it cannot be read.
        """
        reader = VideoReader(row.path)
        if reader.is_image_folder:
            raise VideoError(row.path, "a folder of images has no clock")
        height, width = reader.sample(lambda n: [n - 1], row.start, row.end).images.shape[1:3]
        shown = reader.frames_shown(row.start, row.end)
        times = reader.times[shown.start : shown.stop] - reader.times[shown.start]
        end = float(times[-1] + reader.durations[shown[-1]])
        return cls(row, (width, height), usual_rate(reader.frame_rate or 25), times, end)

    def shown(self, rate: Fraction) -> np.ndarray:
        """Which frame stands at each moment 0, 1/rate, ... of the clip: the nearest in time, at first the first."""
        count = max(1, round(self.end * rate))
        moments = np.arange(count) / float(rate)
        last = len(self.times) - 1
        after = np.searchsorted(self.times, moments).clip(min(1, last), last)
        before = np.maximum(after - 1, 0)
        nearer = self.times[after] - moments < moments - self.times[before] - 1e-9
        return np.where(nearer, after, before)

    def frames(self, size: Size, rate: Fraction) -> Iterator[np.ndarray]:
        """Its frames (H, W, 3) uint8 at that size and rate, some read at a time."""
        reader, shown = VideoReader(self.row.path), self.shown(rate)
        for begin in range(0, len(shown), AT_ONCE):
            part = shown[begin : begin + AT_ONCE]
            found = reader.sample(lambda n, part=part: part, self.row.start, self.row.end).images
            yield from (fitted(frame, size) for frame in np.asarray(found))


def usual_rate(measured: float) -> Fraction:
    """The rate that a measured number of frames a second stands for: 30, 30000/1001, 12.5."""
    for rate in (Fraction(round(measured)), Fraction(round(measured * 1.001) * 1000, 1001)):
        if rate and abs(measured / rate - 1) < 2e-4:
            return rate
    return Fraction(measured).limit_denominator(1001)


def fitted(frame: np.ndarray, size: Size) -> np.ndarray:
    """A frame (H, W, 3) scaled to fit into `size` as it is, with black at its sides or above and below it."""
    height, width = frame.shape[:2]
    if (width, height) == size:
        return frame
    scale = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    out = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    scaled = Image.fromarray(frame).resize(inner, Image.Resampling.BICUBIC)
    out[top : top + inner[1], left : left + inner[0]] = np.asarray(scaled)
    return out


def hold(writer: VideoWriter, frame: np.ndarray, times: int) -> None:
    for _ in range(times):
        writer.write(frame)


@dataclass(frozen=True)
class Plan:
    """One recording: its clips in order, and the pauses before each and after the last, in frames."""

    clips: list[Clip]
    pauses: list[int]


def plans(
    clips: Sequence[Clip], rate: Fraction, rng: np.random.Generator, *, seconds: float, gap: tuple[float, float]
) -> list[Plan]:
    """Fill one recording of at most `seconds` after the other; one clip alone may last longer."""
    most, found, length = math.floor(seconds * rate), [], 0

    def pause() -> int:
        return round(float(rng.uniform(*gap)) * rate)

    for place in rng.permutation(len(clips)):
        clip, after = clips[place], pause()
        more = len(clip.shown(rate)) + after
        if not found or length + more > most:
            length = pause()
            found.append(Plan([], [length]))
        found[-1].clips.append(clip)
        found[-1].pauses.append(after)
        length += more
    return found


def write(path: Path, plan: Plan, size: Size, rate: Fraction) -> list[tuple[Row, float, float]]:
    """Write one recording; returns its segments."""
    segments, last = [], None
    with VideoWriter(path, rate, quality=18) as writer:
        for clip, pause in zip(plan.clips, plan.pauses):
            frames = clip.frames(size, rate)
            frame = next(frames)
            held = 0 if last is None else pause // 2
            if last is not None:
                hold(writer, last, held)
            hold(writer, frame, pause - held)
            start = writer.num_frames
            writer.write(frame)
            for frame in frames:
                writer.write(frame)
            last = frame
            segments.append((clip.row, float(start / rate), float(writer.num_frames / rate)))
        hold(writer, last, plan.pauses[-1])
    return segments


def join(
    rows: Sequence[Row],
    folder: Path,
    *,
    seconds: float = 60,
    gap: tuple[float, float] = (0.5, 2),
    by: str | None = None,
    seed: int = 0,
) -> tuple[list[Row], list[VideoError]]:
    """Write the recordings and their annotations; returns these, and why clips could not be read.

    A row of the annotations has path, label, split, start and end, the list's own columns, and `clip`, the file that it
    is from, with `clip_start` and `clip_end` where it was a part of one.

    Raises:
        SystemExit: `folder` holds files, a column does not exist, a clip has no label, or no clip can be read.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder}: holds files; recordings are written into a new or an empty folder")
    if by is not None and not all(by in row.fields() for row in rows):
        raise SystemExit(f"a clip has no column {by!r}")
    groups: dict[tuple[str, str], list[Clip]] = {}
    unreadable = []
    for row in track(rows, description="looking at clips"):
        if row.label is None:
            raise SystemExit(f"{row.path} has no label, so it makes no segment")
        try:
            groups.setdefault((row.split, row.fields()[by] if by else ""), []).append(Clip.look_at(row))
        except VideoError as error:
            unreadable.append(error)
    clips = [clip for group in groups.values() for clip in group]
    if not clips:
        raise SystemExit(f"none of {len(rows)} clips can be read, the first: {unreadable[0]}")
    rate = most_common([clip.rate for clip in clips])
    width, height = most_common([clip.size for clip in clips])
    size = (max(16, width - width % 2), max(16, height - height % 2))
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Row] = []
    numbered = [
        plan
        for number, group in enumerate(groups.values())
        for plan in plans(group, rate, np.random.default_rng([seed, number]), seconds=seconds, gap=gap)
    ]
    for number, plan in enumerate(track(numbered, description="joining")):
        path = folder / f"{number:04d}.mp4"
        found += [annotated(row, path, start, end) for row, start, end in write(path, plan, size, rate)]
    write_rows(folder / "annotations.csv", found)
    return found, unreadable


def annotated(row: Row, path: Path, start: float, end: float) -> Row:
    """The row of the annotations that stands for a clip."""
    columns = {**row.columns, "clip": paths_from(path.parent)(row.path)}
    if row.start is not None or row.end is not None:
        columns["clip_start"] = "" if row.start is None else repr(row.start)
        columns["clip_end"] = "" if row.end is None else repr(row.end)
    return Row(path=str(path), label=row.label, split=row.split, start=start, end=end, columns=columns)


def most_common(values: Sequence[Value]) -> Value:
    """The value that occurs most often; of several, the largest."""
    return max(Counter(values).items(), key=lambda pair: (pair[1], pair[0]))[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", help="a folder of class folders, or a list of clips")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="that a recording lasts at most")
    parser.add_argument("--gap", default="0.5-2", metavar="FROM-TO", help="seconds of a pause (default: 0.5-2)")
    parser.add_argument("--by", metavar="COLUMN", help="whose values are never mixed in one recording")
    parser.add_argument("--seed", type=int, default=0, help="of order and pauses (default: 0)")
    args = parser.parse_args()
    low, _, high = args.gap.partition("-")
    gap, rows = (float(low), float(high or low)), read_config(DataConfig(path=args.list)).rows
    found, unreadable = join(rows, args.folder, seconds=args.seconds, gap=gap, by=args.by, seed=args.seed)
    for error in unreadable:
        print(error)
    recordings = {row.path for row in found}
    print(f"{args.folder / 'annotations.csv'}: {len(recordings)} recordings of {len(found)} clips")
    return int(bool(unreadable))


if __name__ == "__main__":
    raise SystemExit(main())
