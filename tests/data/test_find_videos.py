"""Files, folders and patterns: which videos a user means, in which order."""

from __future__ import annotations

import glob
import os

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
    assert found(folder, "frames/img_%05d.jpg") == ["frames/img_%05d.jpg"]  # and so is a series of them
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
        ("-", "-"), ("/dev/video7", "/dev/video7"),
    ],
)  # fmt: skip
def test_live_video_is_for_another_command(folder, monkeypatch, name, shown):
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match=rf"{shown} is live video.*; use teinet watch WEIGHTS {shown}$"):
        find_videos([name])
    (folder / "0").touch()
    assert find_videos(["0"])  # a file of that name goes first


def test_a_file_at_an_address_is_to_be_downloaded():
    with pytest.raises(ConfigError, match=r"^ftp://host/a\.mp4 is an address, not a file; download it first"):
        find_videos(["ftp://me:secret@host/a.mp4"])


@pytest.mark.parametrize(("name", "said"), [
    ("*.mov", "no file matches"), ("empty", "no videos"), ("not*", "1 name, but no video"),
    ("~nobody-of-this-name/*.mov", "no file"),
])  # fmt: skip
def test_a_name_that_stands_for_no_video_is_an_error(folder, name, said):
    (folder / "empty").mkdir()
    with pytest.raises(ConfigError, match=said):
        find_videos([folder / "clip2.mp4", name if name[0] == "~" else folder / name])


def test_what_is_no_video_is_said(folder, caplog):
    found(folder, "")
    names = ", ".join(f"{folder}/{name}" for name in ("camera.dat", "deep/cover_1.jpg", "notes.txt"))
    assert caplog.messages == [f"{folder}: ignored (3 other files: {names}), no videos"]
    caplog.clear()
    found(folder, "deep/*")
    assert caplog.messages == [f"{folder}/deep/*: ignored (1 other file: {folder}/deep/cover_1.jpg), no videos"]
    (folder / "x").mkdir()
    (folder / "x" / "x.dav").touch()
    with pytest.raises(ConfigError, match=r"no videos in this folder \(1 other file: .*x\.dav\)"):
        found(folder, "x")


def test_links_that_lead_back_up_are_not_followed(folder):
    """With two of them below `**`, glob goes through them 40 levels deep: 2 to the power of 40 paths."""
    inside = folder / "inside"
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "a" / "b" / "1.mp4").touch()
    for place in ("up", "also", "a/back", "a/b/round"):
        (inside / place).symlink_to(inside)
    (inside / "a" / "out").symlink_to(folder)
    (inside / "self.mp4").symlink_to("self.mp4")
    for name in ("inside", "inside/**/*.mp4", "inside/**/b/**/*.mp4", "inside/**/[0-9].*", "inside/*"):
        assert [path for path in found(folder, name) if "self" not in path] == ["inside/a/b/1.mp4"], name


def test_links_to_folders_elsewhere_are_followed_once(folder):
    (folder / "set" / "x").mkdir(parents=True)
    for name in ("wave", "again"):
        (folder / "set" / name).symlink_to(folder / "deep")
    (folder / "deep" / "mutual").symlink_to(folder / "set")
    expected = ["set/again/b.mkv", "set/again/er/a.avi"]
    assert found(folder, "set") == expected
    assert found(folder, "set/**/*.[ma]*") == expected
    (folder / "set" / "x" / "link.mp4").symlink_to(folder / "clip2.mp4")  # a link to a file is a name of its own
    assert found(folder, "set/x", "clip2.mp4") == ["set/x/link.mp4", "clip2.mp4"]


def test_patterns_match_what_glob_matches(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for pattern in (
        "**/*.mp4",
        "*/*.mkv",
        "**/er/*",
        "de**/*.mkv",
        "**/[a-c]*.[ma]*",
        f"{folder}/**/*.mp4",
        "./**/*.webm",
    ):
        listed = {os.path.abspath(name) for name in glob.glob(pattern, recursive=True)}
        assert {str(path.absolute()) for path in find_videos([pattern])} == listed
