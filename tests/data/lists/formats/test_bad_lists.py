"""Lists that are wrong: one line that names the file and the row."""

from __future__ import annotations

from pathlib import Path

import pytest

from teinet.data.lists.formats import read_listing
from teinet.data.lists.formats.base import split_of
from teinet.data.lists.splits import DataConfig, load_splits
from teinet.errors import AnnotationError, ConfigError
from tests import miniatures


def load(path: Path, **config):
    return load_splits(DataConfig(path=str(path), **config))


BAD = {
    "tsn": ("train_videofolder.txt", "train/class 0/clip 0 10 7", 1, "class 7 does not exist: 3 names"),
    "mmaction": ("tiny_train_list_videos.txt", "videos train/0 0.mp4 0\nclip.mp4 wave", 2, "expected `file label`"),
    "slowfast": ("train.csv", "a.mp4 0\nb.mp4 1,2", 2, "path label"),
    "ucf101": ("ucfTrainTestlist/trainlist01.txt", "ApplyEyeMakeup/a.avi 1\nYoYo", 2, "expected `Class/"),
    "hmdb51": ("testTrainMulti_7030_splits/wave_test_split1.txt", "a.avi 1\nb.avi 7", 2, "0|1|2"),
    "something_v1": ("something-something-v1-train.csv", "1;Pushing\nfour;x", 2, "id;class name"),
    "something_v2": ("labels/train.json", '[{"id": "1", "template": "x"}, {"label": "y"}]', 2, "template"),
    "kinetics": ("val.csv", "label,youtube_id,time_start,time_end\na,b,9,3", 2, "no span of time"),
    "table": ("clips.jsonl", '{"path": "a.mp4"}\n{"path": 3}', 2, "path"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named(name, tmp_path):
    place = miniatures.ALL[name](tmp_path)
    file, text, line, says = BAD[name]
    (tmp_path / file).write_text(text)
    with pytest.raises(AnnotationError, match=says.replace("|", r"\|")) as caught:
        load(place)
    assert caught.value.line == line and file in str(caught.value)


@pytest.mark.parametrize(("encoding", "line"), [("latin-1", 5), ("utf-16", 1)])
def test_another_encoding_is_said_with_its_line(tmp_path, encoding, line):
    miniatures.mmaction(tmp_path)
    file = tmp_path / "tiny_train_list_videos.txt"
    lines = file.read_text().split("\n")
    lines[4] = "videos train/señal.mp4 1"
    file.write_bytes("\n".join(lines).encode(encoding))
    with pytest.raises(AnnotationError, match="UTF-8") as caught:
        read_listing(file, format="mmaction")
    assert caught.value.line == line


def test_mixed_formats_are_named(tmp_path):
    miniatures.ucf101(tmp_path)
    miniatures.hmdb51(tmp_path)
    with pytest.raises(AnnotationError, match=r"several formats \(ucf101, hmdb51\).*data\.format"):
        read_listing(tmp_path)
    assert read_listing(tmp_path, format="hmdb51").format == "hmdb51"


def test_two_lists_of_different_formats_are_refused(tmp_path):
    (tmp_path / "b").mkdir()
    train = miniatures.mmaction(tmp_path) / "tiny_train_list_videos.txt"
    val = miniatures.slowfast(tmp_path / "b") / "val.csv"
    with pytest.raises(AnnotationError, match=r"format slowfast, but .* mmaction"):
        load(train, val_path=str(val))


def test_rows_that_point_nowhere(tmp_path):
    miniatures.something_v1(tmp_path)
    note = " ".join(load(tmp_path).source.notes)
    assert "1 of 18 clips are not there and are kept as unreadable" in note and "train.csv, line 2" in note
    with pytest.raises(AnnotationError, match=r"none of its clips exist.*data\.root"):
        load(tmp_path, root=str(tmp_path / "elsewhere"))


def test_formats_and_names_that_do_not_exist(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'something_v1'"):
        read_listing(tmp_path, format="something_1")
    (tmp_path / "list.xml").write_text("<a/>")
    with pytest.raises(AnnotationError, match="no list of clips that is known"):
        read_listing(tmp_path / "list.xml")
    with pytest.raises(AnnotationError, match="no csv of Kinetics"):
        read_listing(tmp_path, format="kinetics")


@pytest.mark.parametrize("name", ["something_v1", "something_v2", "kinetics"])
def test_two_lists_of_one_split_are_named(name, tmp_path):
    place = miniatures.ALL[name](tmp_path)
    first = next(p for p in sorted(place.rglob("*")) if p.suffix in (".csv", ".json") and split_of(p.name) == "val")
    (first.parent / f"other-{first.name}").write_bytes(first.read_bytes())
    with pytest.raises(AnnotationError, match=rf"{first.name} .*both lists of val clips"):
        load(tmp_path)


def test_parts_and_the_whole_of_a_file_in_two_splits(tmp_path, caplog):
    miniatures.write(tmp_path / "a.mp4", 0)
    miniatures.write(tmp_path / "b.mp4", 1)
    rows = ["a.mp4,x,train,,", "a.mp4,x,train,0,0.5", "b.mp4,y,train,,", "a.mp4,x,val,,", "a.mp4,x,val,0,0.5"]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,split,start,end", *rows]))
    load(tmp_path / "clips.csv")
    assert "2 clips are both in train and in val" in caplog.text
