"""Lists as their makers distribute them: what each layout says, read from miniature copies."""

from __future__ import annotations

import csv
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from teinet.data.lists.formats import FORMATS, Options, read_listing
from teinet.data.lists.formats.base import image_pattern, split_of
from teinet.data.lists.labels import read_class_names
from teinet.data.lists.splits import DataConfig, load_splits
from teinet.data.video.reader import VideoReader
from teinet.errors import AnnotationError, ConfigError, VideoError
from tests import miniatures


def counts(splits) -> dict[str, int]:
    return {split: len(clips) for split, clips in splits.items()}


def load(path: Path, **config):
    return load_splits(DataConfig(path=str(path), **config))


@pytest.mark.parametrize("name", miniatures.ALL)
def test_every_format_is_found_out_and_can_be_said_and_its_clips_can_be_read(name, tmp_path):
    place = miniatures.ALL[name](tmp_path)
    found = read_listing(place)
    assert found.format == name
    assert read_listing(place, format=name).rows == found.rows
    assert len({row.label for row in found.rows} - {None}) == 3
    assert all(row.line is None or row.line >= 1 for row in found.rows)
    series = {"image_names": "img_{:05d}.jpg"} if name == "tsn" else {}  # and not the flow next to the images
    for clips in load(place, missing="drop", **series).values():
        for index, path in enumerate(clips.paths):
            start, end = clips.span(index)
            assert VideoReader(path).sample(lambda n: [0, n - 1], start=start, end=end).images.shape[1:] == (32, 32, 3)


def test_every_format_has_a_miniature():
    assert set(miniatures.ALL) == set(FORMATS)


def test_something_v1(tmp_path):
    splits = load(miniatures.something_v1(tmp_path))
    assert counts(splits) == {"train": 9, "val": 6, "test": 3}
    assert splits["train"].class_names == list(reversed(miniatures.SOMETHING_V1))  # the makers' order, not the alphabet
    assert splits["train"].labels.tolist() == [2, 2, 2, 1, 1, 1, 0, 0, 0]
    assert splits["test"].labels.tolist() == [-1, -1, -1] and list(splits["test"].names) == ["16", "17", "18"]
    assert len(load(tmp_path, missing="drop")["train"]) == 8


def test_something_v2(tmp_path):
    splits = load(miniatures.something_v2(tmp_path))
    assert counts(splits) == {"train": 9, "val": 6, "test": 3}
    assert splits["train"].class_names[0] == "Putting something similar to other things that are already on the table"
    assert splits["val"].labels.tolist() == [1, 1, 2, 2, 0, 0]
    assert splits["train"].paths[0].endswith("20bn-something-something-v2/100.webm")


def test_something_v2_unpacked_into_images_as_tsm_does(tmp_path):
    miniatures.something_v2(tmp_path)
    for number in range(100, 118):
        miniatures.images(tmp_path / "frames" / str(number), 0, name="{:06d}.jpg")
    splits = load(tmp_path, root=str(tmp_path / "frames"), image_names="{:06d}.jpg")
    assert splits["val"].paths[0] == str(tmp_path / "frames" / "109" / "%06d.jpg")
    assert len(VideoReader(splits["val"].paths[0]).sample(range).indices) == 10


def test_kinetics_counts_what_is_not_to_be_had(tmp_path):
    splits = load(miniatures.kinetics(tmp_path))
    assert counts(splits) == {"train": 10, "val": 5}
    assert len(splits.source.dropped) == 3
    assert any("missing: 3 of 18 clips, left out" in note for note in splits.source.notes)
    assert not np.isfinite(splits["train"].starts).any()
    assert counts(load(tmp_path, missing="keep")) == {"train": 12, "val": 6}
    assert splits["train"].class_names == sorted(miniatures.KINETICS)


def test_kinetics_inside_longer_videos(tmp_path):
    splits = load(miniatures.kinetics(tmp_path, whole=True))
    assert set(splits["val"].starts) == {1.0} and set(splits["val"].ends) == {2.0}
    assert any("whole videos" in note for note in splits.source.notes)
    frames = VideoReader(splits["val"].paths[0]).sample(range, start=1.0, end=2.0)
    assert frames.indices.tolist() == list(range(10, 20))  # ten images a second


def test_kinetics_files_named_by_their_id_that_hold_the_clip_alone(tmp_path):
    miniatures.kinetics(tmp_path)
    for file in list(tmp_path.rglob("*.mp4")):
        file.rename(file.with_name(file.name[: -len("_000010_000020.mp4")] + ".mp4"))
    splits = load(tmp_path)
    assert counts(splits) == {"train": 10, "val": 5} and not np.isfinite(splits["val"].ends).any()


def test_ucf101_has_three_divisions_that_share_no_test_clip(tmp_path):
    miniatures.ucf101(tmp_path)
    tested = []
    for split in (1, 2, 3):
        splits = load(tmp_path, official_split=split)
        assert counts(splits) == {"train": 12, "test": 6} and splits["test"].class_names == list(miniatures.UCF)
        tested += splits["test"].paths
        assert Counter(splits["test"].labels.tolist()) == {0: 2, 1: 2, 2: 2}
    assert len(set(tested)) == 18
    with pytest.raises(ConfigError, match="no official split 4 of UCF101"):
        load(tmp_path, official_split=4)
    assert counts(load(tmp_path / "ucfTrainTestlist", official_split=2)) == {"train": 12, "test": 6}


def test_hmdb51_leaves_out_what_is_not_used(tmp_path):
    miniatures.hmdb51(tmp_path)
    for split in (1, 2, 3):
        splits = load(tmp_path, official_split=split)
        assert counts(splits) == {"train": 9, "test": 6} and splits["test"].class_names == list(miniatures.HMDB)
    assert Path(splits["test"].paths[0]).name.startswith("(Movie)_s_#")


def test_tsn_lists_and_the_images_that_are_meant(tmp_path):
    splits = load(miniatures.tsn(tmp_path), image_names="img_{:05d}.jpg")
    assert counts(splits) == {"train": 9, "val": 6} and splits["train"].class_names == ["clap", "nod", "wave"]
    path = splits["train"].paths[0]
    frames = VideoReader(path).sample(range)
    alone = miniatures.frames(0)  # and not the flow next to them
    assert path.endswith("clip 0/img_%05d.jpg") and len(frames.indices) == 10
    assert np.abs(frames.images.astype(int) - alone).mean() < 12
    with pytest.raises(VideoError, match=r"flow_x_00001\.jpg and img_00001\.jpg have the same number.*img_%05d\.jpg"):
        VideoReader(os.path.dirname(path)).sample(range)


def test_lists_one_by_one(tmp_path):
    miniatures.mmaction(tmp_path)
    train, val = (tmp_path / f"tiny_{split}_list_videos.txt" for split in ("train", "val"))
    assert counts(load(train, val_path=str(val))) == {"train": 9, "val": 6}
    (tmp_path / "label_map.txt").unlink()
    splits = load(train, val_path=str(val))
    assert splits["val"].class_names == ["0", "1", "2"] and "no names" in " ".join(splits.source.notes)
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    assert load(train, val_path=str(val), labels=str(tmp_path / "names.txt"))["val"].class_names == list("abcd")
    known = load_splits(DataConfig(path=str(val), val_share=0), ["x", "y", "z"])  # a trained network's
    assert known["val"].labels.tolist() == [0, 0, 1, 1, 2, 2] and "are used as indices" in " ".join(known.source.notes)


@pytest.mark.parametrize("separator", [" ", ",", "\t"])
def test_slowfast(tmp_path, separator):
    assert counts(load(miniatures.slowfast(tmp_path, separator))) == {"train": 9, "val": 6, "test": 6}


def test_json_lines_and_columns(tmp_path):
    place = miniatures.json_lines(tmp_path)
    assert load(place)["train"].class_names == ["clap, loud", 'say "hi"', "wave"]
    assert counts(load(place, train="camera=0", val="camera=1")) == {"train": 6, "val": 6}


@pytest.mark.parametrize(("split", "names"), [
    ("train", ["train_videofolder.txt"]),
    ("val", ["something-something-v2-validation.json", "kinetics400_val_list_videos.txt"]),
    ("test", ["testlist02.txt"]),
    ("", ["jester-v1-labels.csv", "trainval.csv", "training_and_validation.csv", "contest.csv"]),
])  # fmt: skip
def test_splits_by_the_names_of_files(split, names):
    assert {split_of(name) for name in names} == {split}


def test_patterns_of_images():
    assert image_pattern("img_{:05d}.jpg") == image_pattern("img_%05d.jpg") == "img_%05d.jpg"
    assert image_pattern("{}.png") == "%d.png" and image_pattern(None) is None
    assert image_pattern("cam{:d}_{:05}.png") == "cam%d_%05d.png"  # MMAction2's form
    with pytest.raises(ConfigError, match="has no number; write it as img_"):
        image_pattern("*.jpg")


def test_a_pattern_holds_in_every_format(tmp_path):
    for folder in ("wave/1", "clap/1"):
        for series in ("img", "flow_x"):
            miniatures.images(tmp_path / folder, 0, name=f"{series}_{{:05d}}.jpg")
    miniatures.write(tmp_path / "clap/2.mp4", 1)
    (tmp_path / "list.csv").write_text("path,label\nwave/1,wave\nclap/1,clap\nclap/2.mp4,clap\n")
    for place in (tmp_path, tmp_path / "list.csv"):
        rows = read_listing(place, options=Options(image_names="img_{:05d}.jpg")).rows
        paths = sorted(os.path.relpath(row.path, tmp_path) for row in rows)
        assert paths == ["clap/1/img_%05d.jpg", "clap/2.mp4", "wave/1/img_%05d.jpg"]


def test_a_line_of_two_meanings_is_read_by_what_exists(tmp_path):
    for folder in ("clip", "clip 10", "walk 1", "walk 2", "nod"):
        miniatures.images(tmp_path / folder, 0, name="{:05d}.jpg")
    miniatures.write(tmp_path / "a.mp4", 0)
    (tmp_path / "list.txt").write_text("clip 10 3\nwalk 1 4\nwalk 2 0\na.mp4 10 1\nclip 9 2\n")  # each has 10 frames
    rows = read_listing(tmp_path / "list.txt").rows
    named = [(os.path.relpath(row.path, tmp_path), row.label) for row in rows]
    assert named == [("clip", "3"), ("walk 1", "4"), ("walk 2", "0"), ("a.mp4", "1"), ("clip", "2")]
    for line, said in {
        "clip 12 3": None,
        "clip 10 1": None,
        "a.mp4 1 3": "a.mp4 has 10 frames, not 1; .*several labels",
        "nod 10 3 5": "'nod' exists, but 3 numbers follow it; .*several labels",
        "nod 0 10 3": "'nod' exists, but 3 numbers",
        "clip 10 3 5": "'clip 10' and 'clip' both exist",
        "a.mp4 3 5 7": "'a.mp4' exists, but 3 numbers follow it",
    }.items():
        (tmp_path / "list.txt").write_text(line + "\n")
        if said:
            with pytest.raises(AnnotationError, match=f"line 1: .*{said}"):
                read_listing(tmp_path / "list.txt")
        else:
            assert read_listing(tmp_path / "list.txt").rows[0].path == str(tmp_path / "clip")
    miniatures.images(tmp_path / "clip 12", 0, name="{:05d}.jpg")
    (tmp_path / "list.txt").write_text("clip 12 3\n")
    with pytest.raises(AnnotationError, match="line 1: 'clip 12' and 'clip' both exist"):
        read_listing(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("walk 30 3\nwalk 1 30 3\n")
    (note,) = [note for note in read_listing(tmp_path / "list.txt").notes if "line" in note]
    assert f"list.txt, line 2: {tmp_path}/walk 1 has 10 images, not 30; lists' numbers" in note


def test_real_jester_lists(shared):
    listing = read_listing(shared / "data" / "annotations")
    rows = Counter(row.split for row in listing.rows)
    assert listing.format == "jester" and len(listing.class_names) == 27 and listing.class_names[0] == "Swiping Left"
    assert rows["train"] == 2000 and rows["val"] == 14787
    splits = load(shared / "data" / "annotations", root=str(shared / "data" / "clips" / "jester"), missing="drop")
    assert sum(map(len, splits.values())) <= 2


def test_lists_of_the_size_of_kinetics_are_cheap(tmp_path):
    """100,000 rows: seconds, and texts that workers share; the limit leaves room for a slow machine."""
    count = 100_000
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "v0.mp4").write_bytes(b"x")
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        rows.writerows((f"videos/v{i}.mp4", f"class {i % 400}", "train" if i % 10 else "val") for i in range(count))
    began = time.perf_counter()
    splits = load(tmp_path / "clips.csv")
    seconds = time.perf_counter() - began
    assert sum(map(len, splits.values())) == count and len(splits["train"].class_names) == 400
    assert seconds < 12
    assert sum(array.nbytes for array in (splits["train"].labels, splits["train"].starts)) < 4e6


def test_packed_texts_are_a_sequence():
    from teinet.data.lists.rows import PackedTexts

    texts = ["", "a", "ünï", "x" * 1000, os.fsdecode(b"bad\xff")]
    packed = PackedTexts(texts)
    assert packed == texts and list(packed) == texts and len(packed) == 5
    assert packed[-1] == texts[-1] and packed[1:3] == texts[1:3] and packed[0] == ""
    with pytest.raises(IndexError):
        packed[5]
    assert list(PackedTexts([])) == []


def test_answers_next_to_something_v2_are_no_list_of_clips(tmp_path):
    miniatures.something_v2(tmp_path)
    (tmp_path / "labels" / "test-answers.csv").write_text("115;Pulling something from left to right\n")
    assert read_listing(tmp_path).format == "something_v2"


def test_ids_alone_are_clips_to_predict(tmp_path):
    miniatures.something_v1(tmp_path)
    (tmp_path / "ids.csv").write_text("16\n17\n")
    clips = load_splits(DataConfig(path=str(tmp_path / "ids.csv"), val_share=0.0), ["a", "b"])["train"]
    assert clips.labels.tolist() == [-1, -1] and list(clips.names) == ["16", "17"]


def test_one_long_file_is_enough_to_know_whole_videos(tmp_path):
    miniatures.kinetics(tmp_path, whole=True)
    shortest = sorted(tmp_path.rglob("*.mp4"))[0]
    miniatures.write(shortest, 0, length=10)  # a whole video that ends after a second
    splits = load(tmp_path)
    assert np.isfinite(splits["train"].starts).all()


# Lists that are wrong: one line that names the file and the row.

BAD = {
    "tsn": ("train_videofolder.txt", "train/class 0/clip 0 10 7", 1, "class 7 does not exist; there are"),
    "mmaction": ("tiny_train_list_videos.txt", "videos train/0 0.mp4 0\nclip.mp4 wave", 2, "expected `file label`"),
    "slowfast": ("train.csv", "a.mp4 0\nb.mp4 1,2", 2, "path label"),
    "ucf101": ("ucfTrainTestlist/trainlist01.txt", "ApplyEyeMakeup/a.avi 1\nYoYo", 2, "expected `Class/"),
    "hmdb51": ("testTrainMulti_7030_splits/wave_test_split1.txt", "a.avi 1\nb.avi 7", 2, "0|1|2"),
    "something_v1": ("something-something-v1-train.csv", "1;Pushing\nfour;x", 2, "id;class name"),
    "something_v2": ("labels/train.json", '[{"id": "1", "template": "x"}, {"label": "y"}]', 2, "template"),
    "kinetics": ("val.csv", "label,youtube_id,time_start,time_end\na,b,9,3", 2, "are invalid"),
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


@pytest.mark.parametrize("name", ["tsn", "mmaction", "slowfast"])
def test_a_line_on_which_the_patterns_would_take_hours_is_refused(name, tmp_path):
    file = tmp_path / ("x.csv" if name == "slowfast" else "x.txt")
    file.write_text("a.mp4" + " " * 200_000 + "x 0\n")
    with pytest.raises(AnnotationError, match="found a line of 200008 characters"):
        read_listing(file, format=name)


@pytest.mark.parametrize(("name", "file", "text", "says"), [
    ("kinetics", "train.csv", "youtube_id,time_start,time_end\n" + "a" * 200_000 + ",1,2", "not a csv"),
    ("something_v2", "train.json", '[{"id": "1", "x": ' + "[" * 100_000, "is not valid JSON"),
])  # fmt: skip
def test_a_file_that_its_reader_refuses_is_named(name, file, text, says, tmp_path):
    (tmp_path / file).write_text(text)
    with pytest.raises(AnnotationError, match=f"{file}.*{says}"):
        read_listing(tmp_path, format=name)


@pytest.mark.parametrize(("file", "text"), [
    ("clips.jsonl", '{"path": "a.mp4", "label": "x"}\n{"path": "\\ud800.mp4", "label": "x"}'),
    ("train.json", '[{"id": "1", "template": "x"}, {"id": "2", "template": "\\udfff"}]'),
])  # fmt: skip
def test_half_a_character_that_no_file_could_hold_is_refused(file, text, tmp_path):
    (tmp_path / file).write_text(text)
    with pytest.raises(AnnotationError, match=r"line 2: .* half of a surrogate pair"):
        read_listing(tmp_path / file)
    (tmp_path / "labels.json").write_text('["a", "\\ud83d"]')
    with pytest.raises(AnnotationError, match="half of a surrogate pair"):
        read_class_names(tmp_path / "labels.json")


@pytest.mark.parametrize("label", ["2147483648", "9" * 40])  # without names, so many classes
def test_a_label_that_would_take_all_memory_is_refused(label, tmp_path):
    (tmp_path / "x.txt").write_text(f"a.mp4 0\nb.mp4 {label}\n")
    with pytest.raises(AnnotationError, match=r"line 2: .* is too large for the index of a class"):
        read_listing(tmp_path / "x.txt")


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
    assert "missing: 1 of 18 clips, kept as unreadable" in note and "train.csv, line 2" in note
    with pytest.raises(AnnotationError, match=r"none of its clips exist.*data\.root"):
        load(tmp_path, root=str(tmp_path / "elsewhere"))


def test_formats_and_names_that_do_not_exist(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'something_v1'"):
        read_listing(tmp_path, format="something_1")
    (tmp_path / "list.xml").write_text("<a/>")
    with pytest.raises(AnnotationError, match="not a known list of clips"):
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
