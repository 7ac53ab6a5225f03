"""A list, and the list of its small copies: nothing of others written over, nothing lost by a stop or a full disk."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest

from teinet.data.lists.formats import read_listing
from teinet.data.lists.splits import DataConfig, load_splits, read_config
from teinet.data.tools import shrinking
from teinet.data.tools.shrinking import shrink
from teinet.data.tools.small_copy import Shrinking
from teinet.data.video.reader import VideoReader
from teinet.errors import ConfigError, RunError

SMALL = Shrinking(short_side=64)


@pytest.fixture
def tree(clips, tmp_path) -> Path:
    """A list of clips in a folder of the test's own: files, a broken one, one that is missing, and parts of files."""
    folder = tmp_path / "source"
    for name in ("moving left", "resting"):
        shutil.copytree(clips / name, folder / name)
    (folder / "resting" / "bad.mp4").write_bytes(b"no video")
    lines = ["path,label,split,start,end,who"]
    lines += [f"{p.relative_to(folder)},{p.parent.name},train,,,a" for p in sorted(folder.rglob("[0-2].mp4"))]
    lines += ["resting/3.mp4,resting,val,0.1,0.3,b", "resting/3.mp4,moving left,val,0.3,,b"]
    lines += ["resting/bad.mp4,resting,val,,,b", "resting/gone.mp4,resting,val,,,b"]
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    (folder / "names.txt").write_text("resting\nmoving left\n")
    return folder


def read(tree: Path):
    return read_config(DataConfig(path=str(tree / "list.csv"), labels=str(tree / "names.txt")))


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()
    }


def test_the_list_of_the_copies_trains_as_the_first_one_did(tree, tmp_path):
    before, out = files(tree), tmp_path / "small"
    report = shrink(read(tree), out, Shrinking(short_side=16), workers=0)
    assert files(tree) == before
    assert (report.clips, report.files, len(report.unreadable)) == (8, 7, 2)
    assert report.after == sum(p.stat().st_size for p in out.rglob("*.mp4"))
    first = load_splits(DataConfig(path=str(tree / "list.csv"), labels=str(tree / "names.txt")))
    second = load_splits(DataConfig(path=str(report.list), labels=str(report.labels)))
    for split in ("train", "val"):
        one, other = first[split], second[split]
        keep = [i for i, path in enumerate(one.paths) if path[-7:] not in ("bad.mp4", "one.mp4")]
        assert [os.path.relpath(one.paths[i], tree) for i in keep] == [os.path.relpath(p, out) for p in other.paths]
        assert one.labels[keep].tolist() == other.labels.tolist() and one.class_names == other.class_names
        assert [one.span(i) for i in keep] == [other.span(i) for i in range(len(other))]
    assert read_listing(report.list).rows[-1].columns == {"who": "b"}
    assert VideoReader(second["train"].paths[0]).sample(range).images.shape == (6, 16, 22, 3)
    bad = list(csv.DictReader((out / "unreadable.csv").open()))
    assert [(os.path.basename(r["path"]), r["line"]) for r in bad] == [("bad.mp4", "10"), ("gone.mp4", "11")]
    assert "text" in bad[0]["reason"] and "no such file" in bad[1]["reason"]


def test_the_same_command_goes_on_and_a_changed_source_is_written_again(tree, clips, tmp_path, monkeypatch):
    out, settings = tmp_path / "small", Shrinking(short_side=16)
    shrink(read(tree), out, settings, workers=0)
    done, made = files(out), []
    real = shrinking.shrink_video
    monkeypatch.setattr(shrinking, "shrink_video", lambda *a: made.append(a[0][-12:]) or real(*a))
    assert shrink(read(tree), out, settings, workers=0).resumed == 8 and made == []
    clips_now = {k: v for k, v in files(out).items() if k.endswith(".mp4")}
    assert clips_now == {k: v for k, v in done.items() if k.endswith(".mp4")}
    journal = (out / "shrink.jsonl").read_text()
    (out / "shrink.jsonl").write_text(journal[:-30])  # killed while it wrote the last line
    (out / "resting" / "0.mp4").unlink()
    shutil.copy(clips / "resting" / "1.mp4", tree / "resting" / "bad.mp4")
    report = shrink(read(tree), out, settings, workers=0)
    assert sorted(made) == ["esting/0.mp4", "ting/bad.mp4"]
    assert (report.clips, len(report.unreadable)) == (9, 1)
    made.clear()
    (out / "resting" / "1.mp4").write_bytes((out / "resting" / "1.mp4").read_bytes()[:-10])  # a disk that was full
    shrink(read(tree), out, settings, workers=0)
    assert made == ["esting/1.mp4"]
    shutil.copy(clips / "resting" / "2.mp4", tree / "resting" / "gone.mp4")
    assert not shrink(read(tree), out, settings, workers=0).unreadable and not (out / "unreadable.csv").exists()


def test_no_path_of_a_list_leads_out_of_the_folder(clips, tmp_path):
    """Neither by `..` nor by what is a separator elsewhere."""
    for name in ("one/list/a.mp4", "two/b.mp4", "..\\..\\c.mp4", "one/..d.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clips / "resting" / "0.mp4", tmp_path / "in" / name)
    paths = ("a.mp4", "../../two/b.mp4", "../../..\\..\\c.mp4", "../..d.mp4")
    (tmp_path / "in" / "one" / "list" / "list.csv").write_text("path,label\n" + "".join(f"{p},x\n" for p in paths))
    before = files(tmp_path)
    listing = read_config(DataConfig(path=str(tmp_path / "in" / "one" / "list" / "list.csv")))
    assert shrink(listing, tmp_path / "new" / "small", SMALL, workers=0).clips == 4
    made = files(tmp_path).keys() - before.keys()
    assert len(made) == 4 + 3 and all(name.startswith("new/small/") for name in made)


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("place", "error", "copies"),
    [
        ("Journal.add", Killed(), 1),  # a kill before anybody took note of the copy
        ("shrink_video", OSError(errno.ENOSPC, "No space left on device", "small/0.mp4"), 0),
    ],
)
def test_a_kill_or_a_full_disk_ends_the_work_and_the_same_call_goes_on(
    tree, tmp_path, monkeypatch, place, error, copies
):
    monkeypatch.setattr(f"{shrinking.__name__}.{place}", Mock(side_effect=error))
    with pytest.raises(type(error)) as caught:
        shrink(read(tree), tmp_path / "small", SMALL, workers=0)
    assert caught.value is error and len(list((tmp_path / "small").rglob("*.mp4"))) == copies
    monkeypatch.undo()
    assert shrink(read(tree), tmp_path / "small", SMALL, workers=0).clips == 8


def test_nothing_of_others_is_written_over(tree, tmp_path):
    listing = read(tree)
    out = tmp_path / "small"
    for folder in (tree, tree / "new", tree / "resting" / "new", tmp_path, tree / "x" / ".."):
        with pytest.raises(ConfigError, match="is inside a folder of the clips"):
            shrink(listing, folder, SMALL, workers=0)
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="was not written by"):
        shrink(listing, out, SMALL, workers=0)
    (out / "mine.txt").unlink()
    shrink(listing, out, SMALL, workers=0)
    with pytest.raises(ConfigError, match="was started with --short-side 64"):
        shrink(listing, out, Shrinking(short_side=32), workers=0)
    journal = (out / "shrink.jsonl").read_text()
    (out / "shrink.jsonl").write_text(journal.replace('"shift"', '"late"'))
    with pytest.raises(ConfigError, match=r"shrink\.jsonl: was written by another version of teinet"):
        shrink(listing, out, SMALL, workers=0)
    shutil.rmtree(tree / "resting")
    shutil.rmtree(tree / "moving left")
    with pytest.raises(ConfigError, match="none of its clips exist"):
        shrink(listing, tmp_path / "other", SMALL, workers=0)
    assert not (tmp_path / "other").exists()


def test_when_nothing_can_be_read(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.mp4").write_bytes(b"no video")
    (tmp_path / "x" / "list.csv").write_text("path,label\na.mp4,x\n")
    with pytest.raises(RunError, match=r"none of the clips could be read; the first: .*a\.mp4"):
        shrink(read_listing(tmp_path / "x" / "list.csv"), tmp_path / "o", SMALL, workers=0)


def test_clips_that_would_be_one_file_are_refused(tree, tmp_path):
    with (tree / "list.csv").open("a") as file:
        file.write("resting/0.avi,resting,train,,,a\n./resting/0.mp4,resting,train,,,a\n")
    with pytest.raises(ConfigError, match=r"0\.mp4 and .*0\.avi would both be written to resting/0\.mp4"):
        shrink(read(tree), tmp_path / "small", SMALL, workers=0)
    assert not (tmp_path / "small").exists()


def test_seconds_follow_the_frames_where_the_source_begins_later(videos, tmp_path):
    """An .avi with B-frames shows its first frame a frame late; its copy at once."""
    (tmp_path / "s").mkdir()
    assert VideoReader(shutil.copy(videos["mpeg4_b.avi"], tmp_path / "s" / "a.avi")).times[0] > 0
    (tmp_path / "list.csv").write_text("path,label,start,end\ns/a.avi,x,0.5,1\ns/a.avi,x,0,0.02\n")
    listing = read_listing(tmp_path / "list.csv")
    report = shrink(listing, tmp_path / "small", SMALL, workers=0)
    (row,) = read_listing(report.list).rows
    was = VideoReader(listing.rows[0].path).sample(range, start=0.5, end=1.0)
    now = VideoReader(row.path).sample(range, start=row.start, end=row.end)
    assert was.indices.tolist() == now.indices.tolist() and len(now.indices) > 10
    ((_, reason),) = report.unreadable  # before the first frame
    assert "no frames" in reason


def test_the_journal_holds_names_of_any_kind(tmp_path, clips):
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(clips / "resting" / "0.mp4", folder / 'ä, "b" [c] 日本.mp4')
    (folder / "list.csv").write_text('path,label\n"ä, ""b"" [c] 日本.mp4",x\n', encoding="utf-8")
    report = shrink(read_listing(folder / "list.csv"), tmp_path / "small", SMALL, workers=0)
    lines = [json.loads(line) for line in (tmp_path / "small" / "shrink.jsonl").read_text().splitlines()]
    assert lines[-1]["key"] == 'ä, "b" [c] 日本.mp4'
    assert Path(read_listing(report.list).rows[0].path).exists()
