"""Joined recordings: every segment is its clip, to the frame; ffmpeg's own program is the judge."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from teinet.cli.main import main
from teinet.data.film import Clip, fitted, look_at, usual_rate
from teinet.data.join import Joining, join
from teinet.data.lists.annotations import read_annotations
from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import Row
from teinet.data.video.writer import write_video
from teinet.errors import AnnotationError, ConfigError, Interrupted
from teinet.utils.signals import stop_on_signal
from tests import miniatures


def grey_clip(path: Path, first: int, count: int, size: tuple[int, int] = (48, 32), rate: int = 10) -> None:
    """Each frame is plain and 8 grey levels brighter than the one before, so that it says which one it is."""
    levels = first + 8 * np.arange(count, dtype=np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (count, size[1], size[0], 3))
    write_video(path, np.ascontiguousarray(frames), rate, quantiser=4)


@pytest.fixture
def listed(tmp_path) -> Path:
    """Eight clips of 5 to 12 frames, four people, two labels; one clip is a part of a file."""
    rows = ["path,label,who,start,end"]
    for number in range(8):
        grey_clip(tmp_path / f"{number}.mp4", 16 + 10 * number, 5 + number)
        part = "0.2,0.9" if number == 7 else ","
        rows.append(f"{number}.mp4,{'ab'[number % 2]},{number // 2},{part}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "clips.csv"


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "annotations.csv").open()))


def test_a_segment_is_its_clip_to_the_frame_and_nothing_moves_between(listed, tmp_path, truth):
    done = join(read_listing(listed), tmp_path / "out", Joining(seconds=4, gap=(0.3, 0.6)))
    rows = rows_of(tmp_path / "out")
    assert sorted(Path(row["clip"]).name for row in rows) == [f"{n}.mp4" for n in range(8)]
    assert done.clips == 8 and done.recordings == len({row["path"] for row in rows}) > 1
    for name in {row["path"] for row in rows}:
        levels = truth(tmp_path / "out" / name, 32, 48).mean((1, 2, 3))
        assert len(levels) <= 40
        own = [row for row in rows if row["path"] == name]
        ends = [0, *(round(float(row["end"]) * 10) for row in own)]
        for row, before in zip(own, ends):
            start, end = (round(float(row[key]) * 10) for key in ("start", "end"))
            number = int(Path(row["clip"]).stem)
            source = truth(tmp_path / f"{number}.mp4", 32, 48).mean((1, 2, 3))
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
        join(read_listing(listed), tmp_path / name, Joining(seconds=5, seed=seed))
        return {path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())}

    first = bytes_of("one", 0)
    assert first == bytes_of("two", 0)
    assert first["annotations.csv"] != bytes_of("three", 1)["annotations.csv"]


def test_values_of_a_column_and_splits_are_never_mixed(listed, tmp_path):
    join(read_listing(listed), tmp_path / "out", Joining(by="who", gap=(0, 0)))
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
    join(read_listing(listed), tmp_path / "divided")
    splits = {(row["path"], row["split"]) for row in rows_of(tmp_path / "divided")}
    assert sorted(split for _, split in splits) == ["test", "train"]


def test_other_sizes_are_fitted_and_other_rates_keep_their_time(tmp_path, truth):
    for number, (size, rate) in enumerate([((48, 32), 10), ((48, 32), 10), ((64, 64), 20), ((32, 32), 5)]):
        grey_clip(tmp_path / f"{number}.mp4", 60, 10, size, rate)
    (tmp_path / "clips.csv").write_text("path,label\n" + "".join(f"{n}.mp4,a\n" for n in range(4)))
    done = join(read_listing(tmp_path / "clips.csv"), tmp_path / "out", Joining(gap=(0, 0)))
    assert (done.size, done.rate, done.recordings) == ((48, 32), 10, 1)
    pictures = truth(tmp_path / "out" / "0000.mp4", 32, 48)
    for row in rows_of(tmp_path / "out"):
        number, start, end = int(Path(row["clip"]).stem), float(row["start"]), float(row["end"])
        assert end - start == pytest.approx([1, 1, 0.5, 2][number])
        shown = pictures[round(start * 10) : round(end * 10)]
        inner = shown[:, :, 8:40] if number > 1 else shown
        levels = (inner.mean((1, 2, 3)) - 60) / 8
        want = {2: [0, 2, 4, 6, 8], 3: [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]}
        assert np.abs(levels - want.get(number, list(range(10)))).max() < 0.3
        if number > 1:
            assert shown[:, :, :7].max() < 12 and shown[:, :, 41:].max() < 12


@pytest.mark.parametrize(("source", "rate"), [(60, 30), (120, 30), (25, 30), (24, 24), (10, 30)])
def test_the_first_frame_shown_is_the_clips_first(source, rate):
    clip = Clip(Row("x"), (2, 2), Fraction(source), np.arange(source) / source, source)
    shown = clip.shown(Fraction(rate))
    assert shown[0] == 0 and len(shown) == rate and (np.diff(shown) >= 0).all() and shown[-1] < source
    asked = np.minimum(np.arange(rate) / rate, (source - 1) / source)  # the last picture stays until the end
    assert np.abs(shown / source - asked).max() <= 0.5 / source + 1e-9


def test_times_rounded_to_milliseconds_still_give_each_frame_once():
    clip = Clip(Row("x"), (2, 2), Fraction(30), np.round(np.arange(90) / 30, 3), 90)
    assert clip.shown(Fraction(30)).tolist() == list(range(90))


@pytest.mark.parametrize(
    ("measured", "rate"),
    [(29.97, Fraction(30000, 1001)), (29.9999, 30), (23.976, Fraction(24000, 1001)), (12.5, Fraction(25, 2)), (25, 25)],
)
def test_usual_rates(measured, rate):
    assert usual_rate(measured) == rate


def test_a_picture_is_fitted_as_it_is():
    assert fitted(np.full((10, 40, 3), 200, np.uint8), (20, 20))[:, 0, 0].tolist() == [0] * 7 + [200] * 5 + [0] * 8


def test_folders_of_pictures_need_a_rate(tmp_path):
    miniatures.pictures(tmp_path / "clips" / "a" / "1", 0, 6)
    listing = read_listing(tmp_path / "clips")
    with pytest.raises(ConfigError, match="say the rate"):
        join(listing, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert look_at(listing.rows[0]).rate is None
    join(listing, tmp_path / "out", Joining(rate=Fraction(12), gap=(0, 0)))
    assert rows_of(tmp_path / "out")[0]["end"] == "0.5"


def test_what_cannot_be_read_is_left_out_and_said(listed, tmp_path, capsys, monkeypatch):
    (tmp_path / "3.mp4").write_bytes((tmp_path / "3.mp4").read_bytes()[:300])
    assert main(["data", "join", str(listed), str(tmp_path / "out"), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["clips"] == 7 and [Path(bad["path"]).name for bad in said["unreadable"]] == ["3.mp4"]
    # a clip that fails only while it is joined: its recording is written without it
    whole = Clip.pictures

    def failing(self, size, rate):
        if self.row.path.endswith("5.mp4"):
            yield next(whole(self, size, rate))
            from teinet.errors import VideoError

            raise VideoError(self.row.path, "damaged")
        yield from whole(self, size, rate)

    monkeypatch.setattr(Clip, "pictures", failing)
    done = join(read_listing(listed), tmp_path / "again")
    assert done.clips == 6 and {Path(row.path).name for row, _ in done.unreadable} == {"3.mp4", "5.mp4"}
    assert not any("5.mp4" in row["clip"] for row in rows_of(tmp_path / "again"))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--by", "whom"], "no column 'whom'. Did you mean 'who'?"),
        (["--gap", "2-1"], "a pause lasts from one time to a longer one"),
        (["--gap", "short"], "no span of seconds; write 1 or 0.5-2"),
        (["--seconds", "0"], "more than 0 s"),
        (["--size", "33x32"], "must be even"),
        (["--size", "big"], "write 320x240"),
        (["--rate", "0"], "the rate must be above 0"),
        (["--rate", "1e400"], "at most 1000 frames a second"),
        (["--rate", "x"], "write 25 or 30000/1001"),
        (["--quality", "60"], "quality is 0 (best) to 51"),
        (["--seed", "-1"], "seed must be at least 0"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(listed, tmp_path, capsys, words, line):
    assert main(["data", "join", str(listed), str(tmp_path / "out"), *words]) == 2
    said = capsys.readouterr().err
    assert line in said and "Traceback" not in said and not (tmp_path / "out").exists()


def test_what_is_there_is_not_written_over(listed, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        join(read_listing(listed), tmp_path / "out")
    with pytest.raises(ConfigError, match="is there already"):
        join(read_listing(listed), tmp_path / "out" / "mine.txt")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_clip_without_a_label_makes_no_segment(tmp_path):
    grey_clip(tmp_path / "0.mp4", 16, 5)
    (tmp_path / "clips.csv").write_text("path,label\n0.mp4,\n")
    with pytest.raises(AnnotationError, match=r"line 2: .*0.mp4 has no label"):
        join(read_listing(tmp_path / "clips.csv"), tmp_path / "out")


def test_ctrl_c_leaves_nothing(listed, tmp_path, monkeypatch):
    import teinet.data.join as joining

    real = joining._look

    def stopping(rows, unreadable, stop, advance):
        found = real(rows, unreadable, stop, advance)
        stop.set()
        return found

    monkeypatch.setattr(joining, "_look", stopping)
    with pytest.raises(Interrupted, match="no recording is kept"):
        join(read_listing(listed), tmp_path / "some" / "where" / "out")
    assert not (tmp_path / "some").exists()
    with stop_on_signal() as stop:
        assert not stop.is_set()
