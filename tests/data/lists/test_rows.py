"""Lists of clips: what is read from folders and csv files, and that a wrong one is refused by file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import Row, select, to_clips
from teinet.data.lists.splits import DataConfig, load_splits
from teinet.errors import AnnotationError, ConfigError
from tests import miniatures

LIST = "path,label,start,end,subject\na.mp4,wave,,,1\nb/b.mp4,clap,0.5,2,2\nc.mp4,wave,1.25,,3\n"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def listed(tmp_path) -> Path:
    touch(tmp_path, "a.mp4", "b/b.mp4", "c.mp4")
    (tmp_path / "clips.csv").write_text(LIST)
    return tmp_path / "clips.csv"


def test_csv(listed):
    rows = read_listing(listed).rows
    clips = to_clips(rows, source=listed)
    assert clips.class_names == ["clap", "wave"] and clips.labels.tolist() == [1, 0, 1]
    assert [clips.span(i) for i in range(3)] == [(None, None), (0.5, 2.0), (1.25, None)]
    assert Path(clips.paths[1]) == listed.parent / "b" / "b.mp4"
    assert [row.line for row in rows] == [2, 3, 4] and rows[2].columns["subject"] == "3"


@pytest.mark.parametrize("text", [
    "\ufeff" + LIST,  # as Excel writes it
    LIST.replace("\n", "\r\n"), LIST.replace(",", ", "), LIST + "\n\n",
    "subject,path,label,start,end\n1,a.mp4,wave,,\n2,b/b.mp4,clap,0.5,2\n3,c.mp4,wave,1.25,\n",
], ids=["mark", "crlf", "spaces", "empty lines", "order"])  # fmt: skip
def test_csv_however_it_is_written(listed, text):
    plain = to_clips(read_listing(listed).rows, source="").fingerprint()
    listed.write_bytes(text.encode())
    assert to_clips(read_listing(listed).rows, source="").fingerprint() == plain


def test_root_and_absolute_paths(listed, tmp_path):
    elsewhere = touch(tmp_path / "videos", "a.mp4")
    listed.write_text("path,label\na.mp4,x\n")
    assert read_listing(listed, root=elsewhere).rows[0].path == str(elsewhere / "a.mp4")
    listed.write_text(f"path,label\n{elsewhere / 'a.mp4'},x\n")
    assert read_listing(listed).rows[0].path == str(elsewhere / "a.mp4")


@pytest.mark.parametrize(("text", "line", "says"), [
    ("file,label\na.mp4,x\n", 1, "`path`"), ("path;label\na.mp4;x\n", 1, "commas"), ("", 1, "an empty line"),
    ("path,label\n", None, "no clips"), ("path,label\na.mp4,x\nc.mp4\n", 3, "number of fields"),
    ("path,label\na.mp4,x\nc.mp4,y,z\n", 3, "number of fields"), ("path,label\na.mp4,x\n,y\n", 3, "no path"),
    ("path,label,path\na.mp4,x,y\n", 1, "twice"), ("path,label,start\na.mp4,x,soon\n", 2, "numbers"),
    ("path,label,start,end\na.mp4,x,3,2\n", 2, "start 3 and end 2"),
    ("path,label,start,end\na.mp4,x,nan,2\n", 2, "start nan"), ("path,label,start,end\na.mp4,x,-1,2\n", 2, "start -1"),
    ("path,label\nnowhere.mp4,x\n", 2, "none of its clips exist"),
    ('path,label\n"a.mp4","two\nlines"\nc.mp4\n', 4, "number of fields"),  # as an editor counts
])  # fmt: skip
def test_a_bad_csv_is_refused_with_its_line(listed, text, line, says):
    listed.write_text(text)
    with pytest.raises(AnnotationError, match=says) as caught:
        load_splits(DataConfig(path=str(listed)))
    assert caught.value.line == line and str(caught.value).startswith(str(listed))


@pytest.mark.parametrize("content", [b"\x00\x00\x00\x18ftypmp42\xff\xfe\x9c", b"path,label\nx\x00y,z\n"])
def test_a_binary_file_is_no_csv(listed, content):
    listed.write_bytes(content)
    with pytest.raises(AnnotationError, match=r"csv|path"):
        read_listing(listed)


def test_labels_and_a_wrong_one_is_named_with_its_line_and_the_nearest_class(listed):
    rows = read_listing(listed).rows
    with pytest.raises(AnnotationError, match=r"clips\.csv, line 3.*'clap'.*Did you mean 'clapp'"):
        to_clips(rows, ["wave", "clapp"], source=listed)
    assert to_clips(rows, ["wave", "clap", "nod"], source="").labels.tolist() == [0, 1, 0]
    with pytest.raises(ConfigError, match="twice: wave"):
        to_clips(rows, ["wave", "clap", "wave"], source="")
    listed.write_text("path,label\na.mp4,\nc.mp4,x\n")
    assert to_clips(read_listing(listed).rows, source="").labels.tolist() == [-1, 0]


def test_without_labels_there_is_nothing_to_train_on(listed):
    listed.write_text("path\na.mp4\nc.mp4\n")
    with pytest.raises(AnnotationError, match="label"):
        load_splits(DataConfig(path=str(listed)))
    assert load_splits(DataConfig(path=str(listed), val_share=0), ["x"])["train"].labels.tolist() == [-1, -1]
    listed.write_text("path,label\na.mp4,x\nc.mp4,\n")
    with pytest.raises(AnnotationError, match=r"line 3.*no label"):
        load_splits(DataConfig(path=str(listed)))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            "wave/2.mp4 wave/1.avi clap/x.webm clap/notes.txt clap/.hidden.mp4 .git/a.mp4 read.me",
            [("x.webm", "clap", ""), ("1.avi", "wave", ""), ("2.mp4", "wave", "")],
        ),
        ("wave/1/0001.jpg wave/1/0002.jpg clap/2/0001.png", [("2", "clap", ""), ("1", "wave", "")]),
        (
            "train/a/1.mp4 train/b/2.mp4 validation/a/3.mp4 Test/b/4.mp4",
            [("4.mp4", "b", "test"), ("1.mp4", "a", "train"), ("2.mp4", "b", "train"), ("3.mp4", "a", "val")],
        ),
    ],
    ids=["classes", "folders of frames", "splits"],
)
def test_folders(tmp_path, files, found):
    rows = read_listing(touch(tmp_path, *files.split())).rows
    assert [(Path(r.path).name, r.label, r.split) for r in rows] == found


@pytest.mark.parametrize("names", [("test", "walk"), ("train", "bus"), ("train", "test")])
def test_a_class_may_be_called_like_a_split(tmp_path, names):
    touch(tmp_path, *(f"{name}/1.mp4" for name in names))
    rows = read_listing(tmp_path).rows
    assert {r.label for r in rows} == set(names) and not any(r.columns for r in rows)


def test_folders_that_cannot_be_meant(tmp_path):
    with pytest.raises(AnnotationError, match="no videos found"):
        read_listing(tmp_path)
    with pytest.raises(AnnotationError, match="no such file"):
        read_listing(tmp_path / "nowhere")
    touch(tmp_path, "a.mp4")
    with pytest.raises(AnnotationError, match="not in class folders"):
        read_listing(tmp_path)
    touch(tmp_path, "wave/1.mp4", "clap/notes.txt")
    with pytest.raises(AnnotationError, match=r"clap: this class folder has no videos"):
        read_listing(tmp_path)


def test_selections(listed):
    rows = read_listing(listed).rows

    def chosen(text: str) -> list[int]:
        return [row.line for row in select(rows, text, source=listed)]

    assert chosen("subject=1,3") == [2, 4] and chosen("label=wave; subject = 3") == [4]
    for text, says in (
        ("subjct=1", "Did you mean 'subject'"), ("subject", "column=value"), ("subject=", "column=value"),
        ("subject=1,7", "has no value '7'; choose from 1, 2, 3"), ("label=clap;subject=1", "no clip matches"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=says):
            chosen(text)


def test_the_fingerprint_depends_on_the_list_and_not_on_its_place(tmp_path):
    here = touch(tmp_path / "here", "wave/1.mp4", "clap/2.mp4")
    there = tmp_path / "far" / "there"
    shutil.copytree(here, there)

    def fingerprint(root: Path) -> dict:
        return to_clips(read_listing(root).rows, source=root).fingerprint()

    first = fingerprint(here)
    assert first == fingerprint(there) and first["clips"] == 2 and first["classes"] == 2
    (there / "wave" / "1.mp4").rename(there / "wave" / "3.mp4")
    assert fingerprint(there)["sha256"] != first["sha256"]
    rows = read_listing(here).rows
    assert to_clips(rows[::-1], source="").fingerprint() != first  # the order decides which clip is drawn when
    other = to_clips(rows, ["wave", "clap"], source="")
    assert other.fingerprint() == first and not np.array_equal(other.labels, to_clips(rows, source="").labels)


def test_what_a_folder_holds_besides_clips_is_said(tmp_path):
    touch(tmp_path, "a/e0.mp4", "a/day1/2.mp4", "a/day1/3.mp4", "a/thumbs/1.jpg", "b/1.mp4", "b/x.dav", "b/.hidden.mp4")
    listing = read_listing(tmp_path)
    assert [(Path(row.path).name, row.label) for row in listing.rows] == [("e0.mp4", "a"), ("1.mp4", "b")]
    names = ", ".join(f"{tmp_path}/{name}" for name in ("a/day1/2.mp4", "a/day1/3.mp4", "a/thumbs"))
    (note,) = listing.notes
    assert note == f"ignored (4 other files: {names}, ...): clips are the videos directly inside a class folder"
    touch(tmp_path, "c/deep/1.mp4")
    with pytest.raises(AnnotationError, match=r"no videos \(1 other file: .*c/deep/1\.mp4\); add some"):
        read_listing(tmp_path)


def test_folders_of_images_are_clips_where_there_are_no_videos(tmp_path):
    touch(tmp_path, "a/1/1.jpg", "a/1/2.jpg", "a/2/1.jpg", "b/1.mp4")
    assert [Path(row.path).name for row in read_listing(tmp_path).rows] == ["1", "2", "1.mp4"]
    assert not read_listing(tmp_path).notes


def test_clips_of_images_have_hashes_of_their_own_also_by_a_pattern(tmp_path):
    for number in "12":
        miniatures.images(tmp_path / number, 0, name="img_{:05d}.jpg")
    rows = [Row(str(tmp_path / number), "wave") for number in "12"]
    folders = to_clips(rows, source="x").clip_hashes()
    by_pattern = to_clips([row._replace(path=f"{row.path}/img_%05d.jpg") for row in rows], source="x").clip_hashes()
    assert by_pattern == folders and len(set(folders)) == 2
