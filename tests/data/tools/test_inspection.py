"""What an inspection says of a list whose faults were put there by hand."""

from __future__ import annotations

import io
import itertools
import shutil
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from teinet.data.lists.formats import Listing
from teinet.data.lists.rows import absent
from teinet.data.lists.splits import DataConfig, load_splits, read_config
from teinet.data.tools import inspection
from teinet.data.tools.inspection import Facts, chosen_classes, draw_sample, listed, problems, tables
from teinet.errors import AnnotationError
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
resting/2.mp4,restng,train,,,10,c
"""


@pytest.fixture(scope="module")
def folder(clips, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("inspected") / "set"
    shutil.copytree(clips, root)
    (root / "bad.mp4").write_bytes(b"no video")
    (root / "frames").mkdir()
    for i in range(12):
        Image.new("RGB", (30, 40), (20 * i, 0, 0)).save(root / "frames" / f"{i}.jpg")
    (root / "frames" / "cover.png").touch()
    (root / "list.csv").write_text(LIST)
    (root / "names.txt").write_text("resting\nmoving left\nmoving right\nwaving\n")
    return root


def facts(listing: Listing) -> Facts:
    return inspection.facts(listing, absent(listing.rows), found_out=False)


def listing(folder: Path, text: str) -> Listing:
    (folder / "list.csv").write_text(text)
    return read_config(DataConfig(path=str(folder / "list.csv")))


def printed(found: Facts, sample: Facts, width: int) -> str:
    out = io.StringIO()
    for shown in itertools.chain(*tables(found, sample)):  # titles and tables
        Console(file=out, width=width).print(shown)
    return out.getvalue()


@pytest.fixture(scope="module")
def read(folder) -> Listing:
    return read_config(DataConfig(path=str(folder / "list.csv"), labels=str(folder / "names.txt")))


@pytest.fixture(scope="module")
def found(read) -> Facts:
    return facts(read)


@pytest.fixture(scope="module")
def sample(read) -> Facts:
    return draw_sample(read.rows, absent(read.rows), 100)


def test_what_the_list_says(found):
    assert [found[key] for key in ("format", "clips", "files", "spans")] == ["table", 12, 9, 3]
    assert found["splits"] == {"train": 5, "val": 4, "test": 3}
    assert found["class_names"] == ["resting", "moving left", "moving right", "waving"] and found["ordered"]
    assert found["counts"] == {"train": [2, 2, 0, 0], "val": [4, 0, 0, 0], "test": [0, 1, 1, 0]}
    assert found["empty_classes"] == ["waving"] and found["untrained_classes"] == ["moving right"]
    assert (found["missing"], found["first_missing"]["line"]) == (1, 10)
    assert (found["unlabeled"], found["first_unlabeled"]["line"]) == (1, 9)
    assert (found["unknown"], found["first_unknown"]["line"]) == (1, 13)
    assert found["repeated"] == 1
    assert found["columns"]["subject"] == ["9", "10"]  # numbers in their order
    assert found["hflip"] == [("moving left", "moving right")]
    train_val, train_test = found["overlaps"]
    assert [train_val[key] for key in ("one", "other", "clips", "files")] == ["train", "val", 0, 1]
    assert (train_test["clips"], train_test["files"]) == (1, 1)
    assert train_test["example"].endswith("moving left/0.mp4")


def test_a_direction_without_its_opposite_is_refused(tmp_path):
    found = facts(listing(tmp_path, "path,label\na.mp4,swipe left\nb.mp4,rest\n"))
    assert "swipe right" in found["hflip"] and not found["ordered"]
    assert found["splits"] == {"": 2} and found["overlaps"] == found["untrained_classes"] == []


def test_the_sample_measures_clips_and_not_their_files(sample):
    assert (sample["asked"], sample["measured"]) == (11, 10)
    (bad,) = sample["unreadable"]
    assert bad["path"].endswith("bad.mp4") and "text" in bad["reason"]
    ranges = {name: tuple(values.values()) for name, values in sample["ranges"].items()}
    assert ranges["frames"] == (3, 6, 12) and ranges["seconds"] == pytest.approx((0.3, 0.6, 0.6))
    assert ranges["frames per second"] == (10, 10, 10)
    assert ranges["short side"] == (30, 36, 36) and ranges["long side"] == (40, 48, 48)
    assert sample["sizes"] == {"48x36": 9, "30x40": 1} and sample["codecs"] == {"h264": 9, "jpg": 1}
    assert sample["image_orders"] == {"number": 1}
    assert [Path(path).name for path in sample["not_taken"]] == ["cover.png"]
    assert sample["shorter"] == {8: 9, 16: 10}


def test_a_sample_is_the_same_each_time_and_of_what_is_there(read):
    one, two, other = (draw_sample(read.rows, absent(read.rows), 4, seed=seed) for seed in (3, 3, 7))
    assert one == two != other and one["asked"] == 4
    assert draw_sample(read.rows, range(len(read.rows)), 4)["asked"] == 0


def test_every_fault_is_said_on_a_narrow_terminal(found, sample):
    assert [name for name, _ in problems(found, sample)] == [
        "missing", "unreadable", "not taken", "unlabeled", "unknown label", "empty classes", "untrained", "overlap",
        "overlap", "duplicates", "under 8 frames", "under 16 frames",
    ]  # fmt: skip
    unknown = dict(problems(found, sample))["unknown label"]
    assert (
        "list.csv, line 13: label 'restng' is not one of the 4 classes (" in unknown
        and "Did you mean 'resting'?" in unknown
    )
    text = printed(found, sample, width=60)
    assert max(map(len, text.splitlines())) <= 60
    for word in ("list.csv, line 10", "1 of 12 clips", "moving left - moving right", "waving", "subject"):
        assert word in " ".join(text.split()) or word in "".join(text.split()), word


def test_a_list_without_labels_says_what_training_would(tmp_path):
    (tmp_path / "a.mp4").touch()
    rows = listing(tmp_path, "path\na.mp4\n")
    with pytest.raises(AnnotationError) as error:
        load_splits(DataConfig(path=str(tmp_path / "list.csv")))
    assert error.value.reason in printed(facts(rows), draw_sample(rows.rows, [0], 0), width=200)


def test_of_many_classes_those_with_most_and_fewest_clips_are_shown(tmp_path):
    lines = [f"{i}_{k}.mp4,class {i:02}" for i in range(50) for k in range(i + 1)]
    chosen, which = chosen_classes(facts(listing(tmp_path, "path,label\n" + "\n".join(lines))))
    assert chosen == [*range(49, 39, -1), *range(9, -1, -1)] and "of 50" in which


def test_numbers_and_names_are_short():
    assert [number(x) for x in (58.0, 2.9, 30000 / 1001, 100.0)] == ["58", "2.9", "29.97", "100"]
    assert listed([str(i) for i in range(10)], 3) == "0, 1, 2, ... 7 more"


def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path):
    rows = listing(tmp_path, "path,label\na.mp4,<b>[bold]\n")
    assert "<b>[bold]" in printed(facts(rows), draw_sample(rows.rows, [0], 1), width=100)
