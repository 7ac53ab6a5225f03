"""Lists that contradict themselves or the disk: each contradiction is said once, with file and line."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from teinet.data.lists.formats import read_listing
from teinet.data.lists.labels import labels_alike
from teinet.data.lists.rows import absent, conflicts
from teinet.data.lists.splits import DataConfig, load_splits, read_config
from teinet.data.tools.checking import check
from teinet.data.tools.inspection import draw_sample, facts, problems
from teinet.data.video.reader import VideoReader
from teinet.errors import AnnotationError, VideoError
from teinet.utils.files import other_spelling

NFC = unicodedata.normalize("NFC", "señal.mp4")
NFD = unicodedata.normalize("NFD", NFC)


def write(folder: Path, text: str, name: str = "clips.csv") -> Path:
    for clip in ("a", "b", "c", "d"):
        (folder / f"{clip}.mp4").touch()
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (["a", "b"], r'the label is \["a", "b"\]; expected a text .*several labels'),
        (["a"], r'the label is \["a"\]'),
        ({"id": 3}, r'the label is \{"id": 3\}'),
        (True, "the label is true"),
        (3.0, "the label is 3.0"),
        (float("nan"), "the label is NaN"),
        ("['a', 'b']", "is a list or an object"),  # as pandas writes a column of lists
        ('{"id": 3}', "is a list or an object"),
    ],
)
def test_a_label_of_json_that_is_no_text_is_refused(value, says, tmp_path):
    lines = [{"path": "a.mp4", "label": "a"}, {"path": "b.mp4", "label": value}]
    path = write(tmp_path, "\n".join(map(json.dumps, lines)), "clips.jsonl")
    with pytest.raises(AnnotationError, match=says) as error:
        read_listing(path)
    assert error.value.line == 2


@pytest.mark.parametrize("line", ['{"path": "a.mp4", "split": ["val"]}', '{"path": "a.mp4", "start": true}'])
def test_other_columns_of_ours_likewise(line, tmp_path):
    with pytest.raises(AnnotationError, match=r"line 1: the (split|start) is "):
        read_listing(write(tmp_path, line, "clips.jsonl"))


def test_numbers_texts_and_null_are_values_of_json(tmp_path):
    line = {"path": "a.mp4", "label": 3, "start": 1.5, "end": "2", "name": 7, "split": None, "x": True, "y": [1]}
    (row,) = read_listing(write(tmp_path, json.dumps(line), "clips.jsonl")).rows
    assert (row.label, row.start, row.end, row.name, row.split) == ("3", 1.5, 2.0, "7", "")
    assert row.columns == {"x": "true", "y": "[1]"}
    write(tmp_path, '{"path": "a.mp4", "label": null}', "clips.jsonl")
    assert read_listing(tmp_path / "clips.jsonl").rows[0].label is None


def test_a_key_given_twice_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"line 1: .*it has 'label' twice"):
        read_listing(write(tmp_path, '{"path": "a.mp4", "label": "a", "label": "b"}', "clips.jsonl"))


@pytest.mark.parametrize("label", ["\"['a', 'b']\"", '"[""a"", ""b""]"', "\"('a', 'b')\"", "{}", "[]"])
def test_a_label_of_a_csv_that_is_a_list_is_refused(label, tmp_path):
    with pytest.raises(AnnotationError, match=r"line 3: .*several labels"):
        read_listing(write(tmp_path, f"path,label\na.mp4,a\nb.mp4,{label}\n"))


def test_names_in_brackets_are_labels(tmp_path):
    names = ["[Something] falling", "(walk)", "[a] to [b]", "True", "null", "3.0"]
    rows = read_listing(write(tmp_path, "path,label\n" + "".join(f"a.mp4,{name}\n" for name in names))).rows
    assert [row.label for row in rows] == names


def test_templates_of_something_v2_are_texts(tmp_path):
    for entry in ('{"id": "1", "template": ["a"]}', '{"id": true, "template": "a"}', '{"id": 1.5, "template": "a"}'):
        with pytest.raises(AnnotationError, match="line 1: "):
            read_listing(write(tmp_path, f"[{entry}]", "train.json"), format="something_v2")


def test_a_clip_with_two_labels_is_said(tmp_path, caplog):
    path = write(tmp_path, "path,label\na.mp4,x\n./a.mp4,y\nb.mp4,y\nb.mp4,y\nc.mp4,x\nd.mp4,x\n")
    load_splits(DataConfig(path=str(path), val_share=0.5))
    said = f"two labels of 1 clip, each is trained on: {tmp_path}/a.mp4 is 'x' (line 2) and 'y' (line 3)"
    assert [record.getMessage() for record in caplog.records if "two labels" in record.getMessage()] == [
        f"{path}: {said}"
    ]
    listing = read_config(DataConfig(path=str(path)))
    found = facts(listing, [], found_out=True)
    assert found["repeated"] == 2 and [conflict["same"] for conflict in found["conflicts"]] == [True]
    said = dict(problems(found, draw_sample(listing.rows, [], 0)))
    assert said["two labels"] == f"1 clips; the first: {tmp_path}/a.mp4 is 'x' (line 2) and 'y' (line 3)"


def test_parts_that_overlap_with_two_labels_are_said(tmp_path):
    lines = ["a.mp4,x,0,2", "a.mp4,y,2,3", "b.mp4,x,0,2", "b.mp4,y,1.5,", "c.mp4,x,1,2", "c.mp4,x,1.5,3", "c.mp4,,0,9"]
    rows = read_listing(write(tmp_path, "path,label,start,end\n" + "\n".join(lines))).rows
    (found,) = conflicts(rows)
    assert not found.same
    assert str(found) == f"{tmp_path}/b.mp4 is from 0 to 2 s 'x' (line 4) and 1.5 to the end 'y' (line 5)"


def test_conflicts_of_a_long_recording_are_found_in_linear_time(tmp_path):
    lines = [f"a.mp4,{'xy'[i % 2]},{i},{i + 1}" for i in range(20_000)]  # each second another label: no overlap
    assert not conflicts(read_listing(write(tmp_path, "path,label,start,end\n" + "\n".join(lines))).rows)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Wave", "clap", "wave"], "'Wave' and 'wave' are two classes"),
        (["a  b", "a b"], "'a  b' and 'a b'"),
        ([NFC, NFD], "(of other Unicode forms) are two classes"),
        (["3", "3.0", "03"], "'3' and '3.0' (and 1 more pairs)"),
        (["10", "100", "wave 1", "wave 10", "0", "00a"], ""),
    ],
)
def test_labels_that_differ_by_their_spelling_only(names, said, tmp_path, caplog):
    assert said in labels_alike(names) and bool(said) == bool(labels_alike(names))
    path = write(tmp_path, "path,label\n" + "".join(f"a.mp4,{name}\nb.mp4,{name}\n" for name in names))
    load_splits(DataConfig(path=str(path)))
    assert caplog.text.count("are two classes") == bool(said)
    listing = read_config(DataConfig(path=str(path)))
    said_by = dict(problems(facts(listing, [], found_out=True), draw_sample([], [], 0)))
    assert ("alike" in said_by) == bool(said)


def test_one_class_is_said(tmp_path):
    listing = read_config(DataConfig(path=str(write(tmp_path, "path,label\na.mp4,x\nb.mp4,x\n"))))
    said = dict(problems(facts(listing, [], found_out=True), draw_sample([], [], 0)))
    assert said["one class"].startswith("x alone gives a network nothing to tell apart")


@pytest.mark.parametrize(
    ("listed", "stored", "says"),
    [
        ("v\\a\\1.mp4", "v/a/1.mp4", "the path is one of Windows (a backslash or a drive's letter)"),
        ("C:\\data\\1.mp4", "1.mp4", "the path is one of Windows"),
        ("D:/data/1.mp4", "1.mp4", "the path is one of Windows"),
        ("v/Clip.MP4", "v/clip.mp4", "v has 'clip.mp4', of another case or Unicode form"),
        ("V/clip.mp4", "v/clip.mp4", " has 'v', of another case or Unicode form"),
        (NFC, NFD, f" has {NFD!r}, of another Unicode form"),
        (NFD, NFC, f" has {NFC!r}, of another Unicode form"),
        ("gone.mp4", "clip.mp4", ""),
    ],
)
def test_a_missing_clip_that_is_spelled_otherwise_on_disk(listed, stored, says, tmp_path):
    (tmp_path / stored).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / stored).touch()
    (tmp_path / "list.csv").write_text(f"path,label\n{listed},a\n")
    if (tmp_path / listed).exists():
        pytest.skip("this file system does not tell these names apart")
    with pytest.raises(AnnotationError) as error:
        load_splits(DataConfig(path=str(tmp_path / "list.csv")))
    assert says in str(error.value) and ("data.root" in str(error.value)) == (not says) and error.value.line == 2
    with pytest.raises(VideoError) as unread:
        len(VideoReader(tmp_path / listed))
    assert unread.value.reason == "no such file or folder" + (f"; {other_spelling(tmp_path / listed)}" if says else "")
    listing = read_config(DataConfig(path=str(tmp_path / "list.csv")))
    said = dict(problems(facts(listing, absent(listing.rows), found_out=True), draw_sample([], [], 0)))
    assert says in said["missing"]
    (finding,) = check(listing.rows, tmp_path / "check.csv", workers=0).findings
    assert finding.status == "missing" and says in finding.reason


def test_some_missing_clips_that_are_spelled_otherwise_are_noted(tmp_path):
    path = write(tmp_path, "path,label\na.mp4,x\ngone.mp4,x\nB.mp4,x\n")
    (note,) = load_splits(DataConfig(path=str(path))).source.notes
    assert note.endswith(f"line 3: {tmp_path}/gone.mp4 ({tmp_path} has 'b.mp4', of another case or Unicode form)")
