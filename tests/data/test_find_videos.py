"""Files, folders and patterns: which videos a user means, in which order."""

from __future__ import annotations

import pytest

from teinet.data.find_videos import find_videos
from teinet.errors import ConfigError


@pytest.fixture
def folder(tmp_path):
    names = ["clip10.mp4", "clip2.mp4", "Clip1.webm", "notes.txt", ".hidden.mp4", "._clip2.mp4"]
    names += ["deep/er/a.avi", "frames/img_00001.jpg", "frames/img_00002.jpg", "deep/cover_1.jpg", "deep/b.mkv"]
    names += ["odd[1].mp4", "camera.dat"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(folder, *names):
    return [str(path.relative_to(folder)) for path in find_videos([folder / name for name in names])]


def test_a_folder_is_searched_to_the_bottom_in_natural_order(folder):
    everything = ["Clip1.webm", "clip2.mp4", "clip10.mp4", "deep/b.mkv", "deep/er/a.avi", "frames", "odd[1].mp4"]
    assert found(folder, "") == everything


def test_names_stand_for_themselves_once_in_the_order_named(folder):
    assert found(folder, "frames") == ["frames"]  # numbered images are one video
    assert found(folder, "odd[1].mp4", "notes.txt", "gone.mp4") == ["odd[1].mp4", "notes.txt", "gone.mp4"]
    assert found(folder, "clip10.mp4", "*.mp4", "clip2.mp4") == ["clip10.mp4", "clip2.mp4", "odd[1].mp4"]


def test_patterns(folder):
    assert found(folder, "*.mp4") == ["clip2.mp4", "clip10.mp4", "odd[1].mp4"]
    assert found(folder, "**/*.avi") == ["deep/er/a.avi"]
    assert found(folder, "clip?.mp4") == ["clip2.mp4"]
    assert found(folder, "de*") == ["deep/b.mkv", "deep/er/a.avi"]
    assert "notes.txt" not in found(folder, "*")
    assert found(folder, "*.dat") == ["camera.dat"]  # asked for by its suffix


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("0", "camera:0"), ("camera", "camera"), ("rtsp://me:secret@host/live", "rtsp://host/live"),
        ("http://host/a.mp4", "http://host/a.mp4"), ("-", "-"), ("/dev/video7", "/dev/video7"),
    ],
)  # fmt: skip
def test_live_video_is_for_another_command(folder, monkeypatch, name, shown):
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match=rf"{shown} is live video.*; use teinet watch WEIGHTS {shown}$"):
        find_videos([name])
    (folder / "0").touch()
    assert find_videos(["0"])  # a file of that name goes first


@pytest.mark.parametrize(
    ("name", "said"), [("*.mov", "no file matches"), ("empty", "no videos"), ("not*", "1 names, but no video")]
)
def test_a_name_that_stands_for_no_video_is_an_error(folder, name, said):
    (folder / "empty").mkdir()
    with pytest.raises(ConfigError, match=said):
        find_videos([folder / "clip2.mp4", folder / name])
