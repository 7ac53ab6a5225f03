"""Segments of long files: read as truth, divided without cutting a file, checked against the files' lengths."""

from __future__ import annotations

import json
import logging
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from teinet.cli.main import main
from teinet.data.lists.annotations import Segment, read_annotations
from teinet.data.lists.splits import DataConfig, load_splits
from teinet.data.video.reader import VideoReader
from teinet.errors import AnnotationError, VideoError
from tests import miniatures

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """A folder with four films of 6 s, ten frames a second."""
    folder = tmp_path_factory.mktemp("films")
    for kind in range(4):
        miniatures.write(folder / f"{kind}.mp4", kind, length=61, rate=10)
    return folder


def listed(folder: Path, *lines: str, columns: str = "path,start,end,label") -> Path:
    path = folder / "annotations.csv"
    path.write_text("\n".join([columns, *lines]) + "\n")
    return path


def test_segments_come_in_order_of_time_and_open_ends_are_the_files_own(films):
    path = listed(films, "0.mp4,3,,b", "0.mp4,,2.5,a", "1.mp4,,,", "0.mp4,2.5,3,c")
    first, second = read_annotations(path, class_names=NAMES)
    assert first.path.endswith("0.mp4") and first.seconds == pytest.approx(6.1)
    found = [(s.label, s.start, s.end) for s in first.segments]
    assert found == [("a", 0, 2.5), ("c", 2.5, 3), ("b", 3, pytest.approx(6.1))]
    assert second.segments == () and second.seconds == pytest.approx(6.1)


def test_labels_that_mean_nothing_make_no_segments_and_rows_can_be_selected(films):
    path = listed(films, "0.mp4,0,1,a,x", "0.mp4,1,2,rest,x", "1.mp4,0,1,b,y", columns="path,start,end,label,part")
    (only,) = read_annotations(path, class_names=NAMES, background=("rest",), selection="part=x")
    assert only.segments == (Segment(label="a", start=0, end=1),)
    for line, reason in (("0.mp4,5,9,rest,x", "end 9 s is after"), ("0.mp4,0.5,2,rest,x", "overlaps 0 to 1 s (a)")):
        path = listed(films, "0.mp4,0,1,a,x", line, columns="path,start,end,label,part")
        with pytest.raises(AnnotationError, match=re.escape(reason)):
            read_annotations(path, class_names=NAMES, background=("rest",))


@pytest.mark.parametrize(("lines", "line", "reason"), [
    (["0.mp4,0,1,a", "0.mp4,3,2,b"], 3, "start 3 and end 2 are invalid"),
    (["0.mp4,0,1,a", "0.mp4,2,6.5,b"], 3, "end 6.5 s is after the end of the video, 6.10 s"),
    (["0.mp4,7,,a"], 2, "start 7 s is after the end of the video, 6.10 s"),
    (["0.mp4,0,2,a", "1.mp4,1,3,a", "0.mp4,1.5,3,b"], 4, "overlaps 0 to 2 s (a) of line 2"),
    (["0.mp4,0,2,a", "0.mp4,2,3,bb"], 3, "label 'bb' is not one of the 3 classes (a, b, c). Did you mean 'b'?"),
    (["0.mp4,0,2,"], 2, "this segment has no label"), (["0.mp4,0,x,a"], 2, "start and end must be numbers"),
])  # fmt: skip
def test_what_cannot_be_true_names_file_and_line(films, lines, line, reason):
    path = listed(films, *lines)
    with pytest.raises(AnnotationError) as caught:
        read_annotations(path, class_names=NAMES)
    assert str(caught.value).startswith(f"{path}, line {line}: ") and reason in str(caught.value)


def test_an_end_marked_by_hand_may_lie_a_little_behind_the_files_own(films):
    ((segment,),) = [r.segments for r in read_annotations(listed(films, "0.mp4,5,6.19,a"))]
    assert segment.end == pytest.approx(6.1)


def sound_first(path: Path) -> None:
    """Five seconds of sound; the images begin after two of them."""
    with av.open(str(path), "w") as out:
        sound, stream = out.add_stream("pcm_s16le", rate=8000), out.add_stream("libx264", rate=10)
        sound.layout = "mono"
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 40000), np.int16), layout="mono")
        silence.sample_rate, silence.pts = 8000, 0
        out.mux(sound.encode(silence))
        for number, image in enumerate(miniatures.frames(3, 30)):
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            shown.pts, shown.time_base = 20 + number, Fraction(1, 10)
            out.mux(stream.encode(shown))
        out.mux(stream.encode())
        out.mux(sound.encode())


def test_images_that_begin_behind_the_sound_end_by_the_files_clock(tmp_path):
    sound_first(tmp_path / "late.mkv")
    video = VideoReader(tmp_path / "late.mkv")
    assert (video.duration, video.end_time) == (pytest.approx(3), pytest.approx(5))
    assert video.frames_shown(4.0, 5.0) == range(20, 30)
    (found,) = read_annotations(listed(tmp_path, "late.mkv,2.5,4,a", "late.mkv,4.2,,b"))
    assert found.seconds == pytest.approx(5)
    assert [(s.label, s.start, s.end) for s in found.segments] == [("a", 2.5, 4), ("b", 4.2, pytest.approx(5))]
    with pytest.raises(AnnotationError, match=r"after the end of the video, 5\.00 s"):
        read_annotations(listed(tmp_path, "late.mkv,5.5,,a"))


def test_a_file_that_is_written_in_two_ways_is_one(films):
    (films / "other.mp4").symlink_to("0.mp4")
    lines = ["0.mp4,0,1,a", f"{films}/./0.mp4,1,2,b", "other.mp4,2,3,c"]
    (only,) = read_annotations(listed(films, *lines))
    assert only.path.endswith("0.mp4") and [s.label for s in only.segments] == ["a", "b", "c"]
    with pytest.raises(AnnotationError, match=r"overlaps 0 to 1 s \(a\) of line 2"):
        read_annotations(listed(films, *lines, "./0.mp4,0.5,0.9,b"))


def test_a_folder_of_images_has_no_segments_in_seconds(films):
    miniatures.images(films / "images", 0)
    with pytest.raises(VideoError, match="has no timestamps"):
        read_annotations(listed(films, "images,,,a"))


def test_a_division_can_keep_a_recording_whole_and_says_where_it_does_not(films, caplog):
    lines = [f"{film}.mp4,{start},{start + 1},{'ab'[start % 2]}" for film in range(4) for start in range(6)]
    path = str(listed(films, *lines))
    with caplog.at_level(logging.WARNING):
        splits = load_splits(DataConfig(path=path, group="path", val_share=0.25))
    assert not set(splits["train"].paths) & set(splits["val"].paths) and len(splits["val"]) == 6
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        load_splits(DataConfig(path=path, val_share=0.25))
    assert "data.group path keeps a file's segments together" in caplog.text


def test_segments_are_inspected_and_checked(films, tmp_path, monkeypatch, capsys):
    lines = [f"{film}.mp4,{s},{s + 1},{'ab'[s % 2]},{film}" for film in range(4) for s in range(6)]
    path = listed(films, *lines, columns="path,start,end,label,film")
    monkeypatch.chdir(tmp_path)
    assert main(["data", "inspect", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["clips"], facts["files"], facts["spans"]) == (24, 4, 24)
    assert main(["data", "check", str(path), "--workers", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] == 4
    listed(films, *lines, "2.mp4,5,9,a,2", columns="path,start,end,label,film")
    assert main(["data", "check", str(path), "--workers", "0", "--json"]) == 1
    (bad,) = json.loads(capsys.readouterr().out)["bad"]
    assert bad["line"] == 26 and "end 9 s is after the end" in bad["reason"]
