"""Frames are counted once per file and content, also across processes, and everything works without the cache."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import struct
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from teinet.data.video import index
from teinet.data.video.reader import VideoReader


@pytest.fixture
def clip(videos, tmp_path, monkeypatch):
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path / "cache"))
    return shutil.copy(videos["b_frames.mp4"], tmp_path / "clip.mp4")


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The paths whose packets were counted."""
    paths: list[str] = []
    build = index._build
    monkeypatch.setattr(index, "_build", lambda path, *more: paths.append(path) or build(path, *more))
    return paths


def test_counted_once_per_process_and_once_on_disk(clip, counted):
    first = len(VideoReader(clip))
    assert len(VideoReader(clip)) == first and len(counted) == 1
    index.clear_memory()  # as a new process begins
    assert len(VideoReader(clip)) == first and len(counted) == 1
    assert [f for f in os.listdir(index.cache_file().parent) if f.endswith(".sqlite")]


def test_what_the_disk_returns_is_what_was_stored(clip):
    built = index.frame_index(clip)
    index.clear_memory()
    stored = index.frame_index(clip)
    assert stored is not built
    for name in ("times", "pts", "keys"):
        assert (getattr(stored, name) == getattr(built, name)).all()


def test_another_content_of_the_same_size_is_counted_again(clip, videos, counted):
    size, other = os.path.getsize(clip), videos["one_frame.mp4"].read_bytes()
    assert len(VideoReader(clip)) == 75 and len(other) + 8 <= size
    padding = size - len(other)  # a box that players skip
    with open(clip, "wb") as file:
        file.write(other + struct.pack(">I4s", padding, b"free") + bytes(padding - 8))
    assert os.path.getsize(clip) == size
    assert len(VideoReader(clip)) == 1 and len(counted) == 2
    index.clear_memory()  # and on disk
    assert len(VideoReader(clip)) == 1 and len(counted) == 2


def test_a_file_replaced_with_the_same_size_and_time_is_counted_again(clip, videos, counted):
    """As `cp -p` and `rsync --times --inplace` do over a padded recording."""
    assert len(VideoReader(clip)) == 75
    status, other = os.stat(clip), videos["one_frame.mp4"].read_bytes()
    padding = status.st_size - len(other)
    time.sleep(0.02)
    with open(clip, "r+b") as file:
        file.write(other + struct.pack(">I4s", padding, b"free") + bytes(padding - 8))
    os.utime(clip, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (os.stat(clip).st_size, os.stat(clip).st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert len(VideoReader(clip)) == 1 and len(counted) == 2


def test_a_damaged_cache_is_passed_over(clip, counted):
    len(VideoReader(clip))
    with sqlite3.connect(index.cache_file()) as database:
        database.execute("UPDATE frames SET payload = ?", (b"nonsense",))
    index.clear_memory()
    assert len(VideoReader(clip)) == 75 and len(counted) == 2
    index.cache_file().write_bytes(b"this is no database" * 100)
    index.clear_memory()
    assert len(VideoReader(clip)) == 75


def test_works_where_no_cache_can_be_written(clip, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path / "file" / "cache"))
    assert len(VideoReader(clip)) == 75


def test_place_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TEINET_CACHE", "/a")
    assert str(index.cache_file().parent) == os.path.join("/a")
    monkeypatch.delenv("TEINET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert index.cache_file().parent == index.Path("/b/teinet")


def _sum(path: str) -> int:
    # numpy adds up: torch's own threads do not survive a fork, which data loaders know and this pool does not
    return int(VideoReader(path).sample(lambda n: [0, n // 2, n - 1]).images.sum(dtype="int64"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_several_processes_read_at_once(method, clip, videos):
    """Also after the parent has decoded, which must leave nothing behind that a forked child would trip over."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{method} does not exist on this system")
    paths = [clip, str(videos["vp9.webm"]), str(videos["mpeg4_b.avi"])] * 3
    expected = [_sum(path) for path in paths]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(_sum_of, paths, timeout=50)) == expected


def _sum_of(path: str) -> int:
    index.clear_memory()
    return _sum(path)
