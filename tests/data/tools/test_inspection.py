"""What an inspection says of a list whose faults were put there by hand."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from teinet.data.lists.splits import DataConfig, read_config
from teinet.data.tools.inspection import Facts, chosen_classes, draw_sample, facts, listed, tables, worth_knowing
from teinet.utils.text import number

LIST = """path,label,split,start,end,subject,note
moving left/0.mp4,moving left,train,,,10,a
moving left/1.mp4,moving left,train,,,9,
resting/0.mp4,resting,train,0.0,0.3,9,b
resting/0.mp4,resting,train,0.0,0.3,9,b
resting/0.mp4,resting,val,0.3,0.6,10,b
moving left/0.mp4,moving left,test,,,10,c
moving right/0.mp4,moving right,test,,,10,c
resting/1.mp4,,test,,,10,c
gone.mp4,resting,val,,,10,c
bad.mp4,resting,val,,,10,c
frames,resting,val,,,10,c
"""


@pytest.fixture(scope="module")
def folder(clips, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("inspected") / "set"
    shutil.copytree(clips, root)
    (root / "bad.mp4").write_bytes(b"no video")
    (root / "frames").mkdir()
    for i in range(12):
        Image.new("RGB", (30, 40), (20 * i, 0, 0)).save(root / "frames" / f"{i}.jpg")
    (root / "list.csv").write_text(LIST)
    (root / "names.txt").write_text("resting\nmoving left\nmoving right\nwaving\n")
    return root


@pytest.fixture(scope="module")
def found(folder) -> Facts:
    config = DataConfig(path=str(folder / "list.csv"), labels=str(folder / "names.txt"))
    return facts(read_config(config), found_out=True)


def test_what_the_list_says(found):
    assert (found.format, found.clips, found.files, found.spans) == ("table", 11, 8, 3)
    assert found.splits == {"train": 4, "val": 4, "test": 3}
    assert found.class_names == ["resting", "moving left", "moving right", "waving"] and found.ordered
    assert found.counts == {"train": [2, 2, 0, 0], "val": [4, 0, 0, 0], "test": [0, 1, 1, 0]}
    assert found.empty_classes() == ["waving"] and found.untrained_classes() == ["moving right"]
    assert [found.rows[i].line for i in found.missing] == [10]
    assert [found.rows[i].line for i in found.unlabelled] == [9]
    assert found.repeated == 1
    assert found.columns["subject"] == ["9", "10"]  # numbers in their order
    assert found.mirror == [("moving left", "moving right")]
    train_val, train_test = found.overlaps
    assert (train_val.one, train_val.other, train_val.clips, train_val.files) == ("train", "val", 0, 1)
    assert (train_test.clips, train_test.files) == (1, 1) and train_test.example.endswith("moving left/0.mp4")


def test_a_direction_without_its_opposite_is_refused(tmp_path):
    (tmp_path / "list.csv").write_text("path,label\na.mp4,swipe left\nb.mp4,rest\n")
    found = facts(read_config(DataConfig(path=str(tmp_path / "list.csv"))), found_out=False)
    assert "swipe right" in found.mirror and not found.found_out and not found.ordered
    assert found.splits == {"": 2} and found.overlaps == [] and found.untrained_classes() == []


def test_the_sample_measures_clips_and_not_their_files(found, folder):
    sample = draw_sample(found.rows, found.missing, 100)
    assert sample.asked == 10 and len(sample.measured) == 9
    ((bad, reason),) = sample.unreadable
    assert bad.path.endswith("bad.mp4") and "text" in reason
    assert sorted(m.num_frames for m in sample.measured) == [3, 3, 3, 6, 6, 6, 6, 6, 12]
    ranges = sample.ranges()
    assert ranges["frames"] == (3, 6, 12) and ranges["seconds"] == pytest.approx((0.3, 0.6, 0.6))
    assert ranges["frames a second"] == (10, 10, 10)
    assert ranges["short side"] == (30, 36, 36) and ranges["long side"] == (40, 48, 48)
    assert dict(sample.sizes()) == {"48x36": 8, "30x40": 1} and dict(sample.codecs()) == {"h264": 8, "jpg": 1}
    assert sample.shorter() == {8: 8, 16: 9}


def test_a_sample_is_the_same_each_time_and_of_what_is_there(found):
    one, two, other = (draw_sample(found.rows, found.missing, 4, seed=seed) for seed in (3, 3, 4))
    assert [m.path for m in one.measured] == [m.path for m in two.measured] != [m.path for m in other.measured]
    assert not any(m.path.endswith("gone.mp4") for m in one.measured) and one.asked == 4
    assert draw_sample(found.rows, range(len(found.rows)), 4).asked == 0


def test_every_fault_is_said_on_a_narrow_terminal(found):
    sample = draw_sample(found.rows, found.missing, 100)
    names = [name for name, _ in worth_knowing(found, sample)]
    assert names == [
        "not there", "unreadable", "without a label", "without clips", "not trained", "overlap", "overlap", "repeated",
        "under 8 frames", "under 16 frames",
    ]  # fmt: skip
    out = io.StringIO()
    console = Console(file=out, width=60)
    for title, table in tables(found, sample):
        console.print(title)
        console.print(table)
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 60
    for word in ("list.csv, line 10", "1 of 11 clips", "moving left - moving right", "waving", "subject"):
        assert word in " ".join(text.split()) or word in "".join(text.split()), word


def test_of_many_classes_those_with_most_and_fewest_clips_are_shown(tmp_path):
    lines = [f"{i}_{k}.mp4,class {i:02}" for i in range(50) for k in range(i + 1)]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(lines))
    found = facts(read_config(DataConfig(path=str(tmp_path / "list.csv"))), found_out=True)
    chosen, which = chosen_classes(found)
    assert chosen == [*range(49, 39, -1), *range(9, -1, -1)] and "of 50" in which


def test_numbers_and_names_are_short():
    assert [number(x) for x in (58.0, 2.9, 30000 / 1001, 100.0)] == ["58", "2.9", "29.97", "100"]
    assert listed([str(i) for i in range(10)], 3) == "0, 1, 2, ... 7 more"


def test_names_that_look_like_markup_are_shown_as_they_are(clips, tmp_path):
    shutil.copy(clips / "resting" / "0.mp4", tmp_path / "a.mp4")
    (tmp_path / "list.csv").write_text("path,label\na.mp4,<b>[bold]\n")
    found = facts(read_config(DataConfig(path=str(tmp_path / "list.csv"))), found_out=True)
    out = io.StringIO()
    for _, table in tables(found, draw_sample(found.rows, found.missing, 1)):
        Console(file=out, width=100).print(table)
    assert "<b>[bold]" in out.getvalue()
