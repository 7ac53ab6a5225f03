"""Joined recordings: every segment is its clip, to the frame."""

from __future__ import annotations

import csv
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.join import Clip, join
from teinet.data.lists.annotations import read_annotations
from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import Row
from teinet.data.video.writer import VideoWriter, write_video
from tests.miniatures import decoded


def gray_clip(path: Path, first: int, count: int, size: tuple[int, int] = (48, 32), rate: int = 10) -> None:
    """Each frame is plain and 8 gray levels brighter than the one before, so that it says which one it is."""
    levels = first + 8 * np.arange(count, dtype=np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (count, size[1], size[0], 3))
    write_video(path, np.ascontiguousarray(frames), rate, quantizer=4)


@pytest.fixture
def listed(tmp_path) -> Path:
    """Eight clips of 5 to 12 frames, four people, two labels; one clip is a part of a file."""
    rows = ["path,label,who,start,end"]
    for number in range(8):
        gray_clip(tmp_path / f"{number}.mp4", 16 + 10 * number, 5 + number)
        part = "0.2,0.9" if number == 7 else ","
        rows.append(f"{number}.mp4,{'ab'[number % 2]},{number // 2},{part}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "clips.csv"


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "annotations.csv").open()))


def test_a_segment_is_its_clip_to_the_frame_and_nothing_moves_between(listed, tmp_path):
    found, unreadable = join(read_listing(listed).rows, tmp_path / "out", seconds=4, gap=(0.3, 0.6))
    rows = rows_of(tmp_path / "out")
    assert sorted(Path(row["clip"]).name for row in rows) == [f"{n}.mp4" for n in range(8)]
    assert (len(found), unreadable) == (8, []) and len({row["path"] for row in rows}) > 1
    for name in {row["path"] for row in rows}:
        levels = decoded(tmp_path / "out" / name).mean((1, 2, 3))
        assert len(levels) <= 40
        own = [row for row in rows if row["path"] == name]
        ends = [0, *(round(float(row["end"]) * 10) for row in own)]
        for row, before in zip(own, ends):
            start, end = (round(float(row[key]) * 10) for key in ("start", "end"))
            number = int(Path(row["clip"]).stem)
            source = decoded(tmp_path / f"{number}.mp4").mean((1, 2, 3))
            source = source[2:9] if number == 7 else source
            assert end - start == len(source)
            assert np.abs(levels[start:end] - source).max() < 2  # 8 levels lie between two frames
            pause = levels[before:start]
            assert 3 <= len(pause) <= 6
            held = 0 if before == 0 else len(pause) // 2
            assert np.abs(pause[held:] - source[0]).max(initial=0) < 2
            if held:
                assert np.abs(pause[:held] - levels[before - 1]).max() < 2
        assert 3 <= len(levels) - ends[-1] <= 6 and np.abs(np.diff(levels[ends[-1] - 1 :])).max() < 2
    assert sum(len(r.segments) for r in read_annotations(tmp_path / "out" / "annotations.csv")) == 8
    (part,) = [row for row in rows if row["clip"].endswith("7.mp4")]
    assert (part["clip_start"], part["clip_end"]) == ("0.2", "0.9")


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_order(listed, tmp_path):
    def bytes_of(name: str, seed: int) -> dict[str, bytes]:
        join(read_listing(listed).rows, tmp_path / name, seconds=5, seed=seed)
        return {path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())}

    first = bytes_of("one", 0)
    assert first == bytes_of("two", 0)
    assert first["annotations.csv"] != bytes_of("three", 1)["annotations.csv"]


def test_values_of_a_column_and_splits_are_never_mixed(listed, tmp_path):
    join(read_listing(listed).rows, tmp_path / "out", by="who", gap=(0, 0))
    rows = rows_of(tmp_path / "out")
    people = {}
    for row in rows:
        people.setdefault(row["path"], set()).add(row["who"])
    assert len(people) == 4 and all(len(who) == 1 for who in people.values())
    for name in people:  # without pauses segments touch
        own = [row for row in rows if row["path"] == name]
        assert own[0]["start"] == "0.0" and all(a["end"] == b["start"] for a, b in pairwise(own))
    lines = listed.read_text().splitlines()
    divided = [lines[0] + ",split", *(f"{line},{('train', 'test')[i % 2]}" for i, line in enumerate(lines[1:]))]
    listed.write_text("\n".join(divided) + "\n")
    join(read_listing(listed).rows, tmp_path / "divided")
    splits = {(row["path"], row["split"]) for row in rows_of(tmp_path / "divided")}
    assert sorted(split for _, split in splits) == ["test", "train"]


@pytest.mark.parametrize(("source", "rate"), [(60, 30), (120, 30), (25, 30), (24, 24), (10, 30)])
def test_the_first_frame_shown_is_the_clips_first(source, rate):
    clip = Clip(Row("x"), (2, 2), Fraction(source), np.arange(source) / source, 1.0)
    shown = clip.shown(Fraction(rate))
    assert shown[0] == 0 and len(shown) == rate and (np.diff(shown) >= 0).all() and shown[-1] < source
    asked = np.minimum(np.arange(rate) / rate, (source - 1) / source)  # the last image stays until the end
    assert np.abs(shown / source - asked).max() <= 0.5 / source + 1e-9


def test_the_last_frame_lasts_as_long_as_it_is_shown(tmp_path):
    """Not the mean of the others, which may come at any distance."""
    with VideoWriter(tmp_path / "a.mp4", 10, time_base=Fraction(1, 10)) as video:
        for tick, ticks in ((0, 1), (1, 1), (2, 8)):
            video.write(np.zeros((32, 32, 3), np.uint8), ticks=tick, duration=ticks)
    clip = Clip.look_at(Row(str(tmp_path / "a.mp4")))
    assert clip.end == pytest.approx(1) and clip.shown(Fraction(10)).tolist() == [0, 1] + 8 * [2]
