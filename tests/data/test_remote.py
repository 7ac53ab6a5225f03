"""Files at addresses: the same frames and lists as on disk, a bounded cache, ranges, and errors of one line."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import fsspec
import numpy as np
import pytest
from filelock import FileLock
from huggingface_hub import HfFileSystem

from teinet.cli.main import main
from teinet.data import remote
from teinet.data.find_videos import find_videos
from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import absent
from teinet.data.lists.splits import load_splits, read_config
from teinet.data.lists.write_list import convert
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.data.view_loading import load_views
from teinet.errors import AnnotationError, ConfigError, TeinetError, VideoError
from teinet.utils.worker_pool import watched
from tests import miniatures
from tests.conftest import environment
from tests.stores import BUCKET, Web, clear_cache, s3_server


@pytest.fixture(scope="module")
def s3():
    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path / "own-cache"))
    clear_cache()


def used() -> int:
    return sum(path.stat().st_size for path in (Path(os.environ["TEINET_CACHE"]) / "remote").glob("*"))


def read_since(before: tuple[int, int]) -> int:
    return remote.bytes_read()[0] - before[0]


def test_the_package_and_local_work_import_no_store(clips):
    code = (
        "import sys, teinet.cli.main; from teinet import VideoReader; "
        f"VideoReader({str(clips / 'resting' / '0.mp4')!r}).frames_at([0]); "
        "from teinet.data.lists.splits import load_splits, DataConfig; "
        f"load_splits(DataConfig(path={str(clips)!r})); "
        "assert not {'s3fs', 'aiohttp', 'aiobotocore', 'pyarrow', 'webdataset'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("s3://b/a.mp4", "s3://b/a.mp4"),
        (Path("s3://b/a.mp4"), "s3://b/a.mp4"),
        (Path("https://h/a b.mp4?x=1").absolute(), "https://h/a b.mp4?x=1"),
        (remote.RemotePath("gs://b/x") / "y.mp4", "gs://b/x/y.mp4"),
        ("rtsp://h/a", None),
        ("a.mp4", None),
        (Path("/videos/s3/a.mp4"), None),
    ],
)
def test_an_address_is_known_also_where_pathlib_changed_it(path, address):
    assert remote.address_of(path) == address
    if address:
        assert str(remote.RemotePath(path)) == address and not remote.RemotePath(path).is_dir()


def test_the_frames_are_those_of_the_file_and_it_is_read_once(s3, clips):
    local = clips / "resting" / "1.mp4"
    address, before = s3.put(local, "frames/1.mp4"), remote.bytes_read()
    reader = VideoReader(address)
    assert not reader.is_live and reader.path == address
    np.testing.assert_array_equal(reader.frames_at([0, 4]).images, VideoReader(local).frames_at([0, 4]).images)
    assert [frame.time for frame in reader] == [frame.time for frame in VideoReader(local)]
    assert read_since(before) == local.stat().st_size == used()


def test_a_changed_object_is_read_again(s3, clips, monkeypatch):
    key = "changed/x.mp4"
    address = s3.put(clips / "resting" / "0.mp4", key)
    old = VideoReader(address).frames_at([0]).images
    s3.put(clips / "resting" / "3.mp4", key)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)  # for a minute it need not be noticed
    new = VideoReader(address).frames_at([0]).images
    np.testing.assert_array_equal(new, VideoReader(clips / "resting" / "3.mp4").frames_at([0]).images)
    assert (old != new).any()


def test_the_cache_keeps_its_limit_and_what_is_read(s3, clips, tmp_path, monkeypatch):
    content = (clips / "resting" / "0.mp4").read_bytes()
    for number in range(8):
        (tmp_path / f"{number}.bin").write_bytes(content + bytes(number))
    addresses = [s3.put(tmp_path / f"{number}.bin", f"limit/{number}.bin") for number in range(8)]
    monkeypatch.setenv(remote.LIMIT, str(5.5 * len(content) / 1e9))
    with remote.opened(addresses[0]) as held:
        for address in addresses[1:]:
            with remote.opened(address) as path:
                assert path.read_bytes().startswith(content)
            assert used() < 6 * len(content)
        assert held.read_bytes() == content  # the oldest, but in use
    before = remote.bytes_read()
    with remote.opened(addresses[-1]):
        assert read_since(before) == 0  # the newest is there
    with remote.opened(addresses[1]):
        assert read_since(before) == len(content) + 1  # this one made room
    monkeypatch.setenv(remote.LIMIT, "many")
    with pytest.raises(ConfigError, match="TEINET_REMOTE_GB is 'many'; it is the size"), remote.opened(addresses[0]):
        pass


def _read_all(addresses: list[str], times: int) -> None:
    for _ in range(times):
        for address in addresses:
            with remote.opened(address) as path:
                assert len(path.read_bytes()) > 100


def test_several_processes_share_a_cache_that_is_too_small(s3, clips, monkeypatch):
    addresses = [s3.put(path, f"many/{path.parent.name}-{path.name}") for path in sorted(clips.rglob("*.mp4"))]
    monkeypatch.setenv(remote.LIMIT, str(30_000 / 1e9))
    remote.status(addresses[0])  # starts fsspec's thread in this process: forks must live without it
    workers = [multiprocessing.get_context("fork").Process(target=_read_all, args=(addresses, 3)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert not list((Path(os.environ["TEINET_CACHE"]) / "remote").glob(".*.part"))


def test_a_large_file_is_read_by_ranges_and_only_as_far_as_needed(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (120, 128, 192, 3), dtype=np.uint8)
    settings = {"qp": "12", "g": "12", "preset": "ultrafast"}
    miniatures.encode(tmp_path / "long.mp4", noise, "libx264", settings, container={"movflags": "faststart"})
    size = (tmp_path / "long.mp4").stat().st_size
    assert size > 3_000_000
    monkeypatch.setattr(remote, "_BLOCK", 1 << 16)
    with Web(tmp_path) as web:
        address, before = f"{web.address}/long.mp4", remote.bytes_read()
        reader = VideoReader(file_of_list(address))
        first = [frame.image for frame, _ in zip(reader, range(5))]
        assert web.sent == read_since(before) < size / 4 and used() == 0
        local = VideoReader(tmp_path / "long.mp4")
        np.testing.assert_array_equal(first, local.frames_at(range(5)).images)
        monkeypatch.setenv(remote.LIMIT, "0.001")  # now it is too large for the cache
        clear_cache()
        len(reader)  # counting its packets reads all of it, once
        before = web.sent
        np.testing.assert_array_equal(reader.frames_at([60, 61]).images, local.frames_at([60, 61]).images)
        assert web.sent - before < size / 4 and used() == 0


def test_a_store_that_fails_in_the_middle_is_named(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (40, 128, 192, 3), dtype=np.uint8)
    settings = {"qp": "12", "preset": "ultrafast"}
    miniatures.encode(tmp_path / "long.mp4", noise, "libx264", settings, container={"movflags": "faststart"})
    monkeypatch.setattr(remote, "_BLOCK", 1 << 14)
    with Web(tmp_path) as web, pytest.raises(VideoError, match=r"long.mp4: cannot be read \(no such file or folder\)$"):
        for number, _ in enumerate(VideoReader(file_of_list(f"{web.address}/long.mp4"))):
            if number == 3:
                (tmp_path / "long.mp4").unlink()


def test_an_error_of_the_caller_passes(clips):
    with (
        Web(clips) as web,
        pytest.raises(FileNotFoundError, match="other"),
        remote.opened(f"{web.address}/resting/0.mp4"),
    ):
        raise FileNotFoundError("other")


def test_a_server_without_ranges_sends_whole_files(clips):
    local = clips / "resting" / "2.mp4"
    with Web(clips, ranges=False) as web:
        reader = VideoReader(file_of_list(f"{web.address}/resting/2.mp4"))
        assert len(list(reader)) == len(reader) == len(VideoReader(local))


def test_an_address_of_http_is_a_file_in_predictions_and_lists(clips, tmp_path):
    with Web(clips) as web:
        (tmp_path / "list.csv").write_text(f"path,label\n{web.address}/resting/0.mp4,resting\n")
        assert read_listing(tmp_path / "list.csv").rows[0].path == f"{web.address}/resting/0.mp4"
        seen = load_views(f"{web.address}/resting/0.mp4", Sampling(num_frames=2), Preprocessing(size=28, short_side=32))
        local = load_views(clips / "resting" / "0.mp4", Sampling(num_frames=2), Preprocessing(size=28, short_side=32))
        np.testing.assert_array_equal(seen.frames, local.frames)


@pytest.mark.parametrize("command", [["check"], ["shrink", "--output", "small"], ["shard", "--output", "tars"]])
def test_a_slow_download_is_not_stuck(clips, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    free = 1_000_000  # bytes of an empty box at the end
    video = (clips / "resting" / "0.mp4").read_bytes() + free.to_bytes(4, "big") + b"free" + bytes(free - 8)
    (tmp_path / "0.mp4").write_bytes(video)
    with Web(tmp_path, seconds=3) as web:
        (tmp_path / "list.csv").write_text(f"path,label\n{web.address}/0.mp4,resting\n")
        assert main(["data", command[0], "list.csv", *command[1:], "--read-timeout", "1", "--workers", "1"]) == 0


def test_clips_of_a_data_set_of_the_hub(clips, hub):
    """The list, a part of a file, and predictions of a folder."""
    names = sorted(str(path.relative_to(clips)) for path in clips.rglob("*.mp4"))
    for name in names:
        hub.add("datasets/someone/clips", (clips / name).read_bytes(), f"videos/{name}")
    rows = "".join(f"videos/{name},{name.split('/')[0]}\n" for name in names)
    hub.add("datasets/someone/clips", f"path,label\n{rows}".encode(), "clips.csv")
    HfFileSystem.clear_instance_cache()
    address = "hf://datasets/someone/clips"
    splits = load_splits(DataConfig(path=f"{address}/clips.csv", val_share=0.0))
    assert list(splits["train"].paths) == [f"{address}/videos/{name}" for name in names]
    local = load_splits(DataConfig(path=str(clips), val_share=0.0))["train"]
    assert list(splits["train"].labels) == list(local.labels)
    some = Path(names[0]).parent
    found = find_videos([f"{address}/videos/{some}/"])
    assert [str(path).rpartition("/")[2] for path in found] == [Path(n).name for n in names if Path(n).parent == some]
    want, got = (VideoReader(file_of_list(path)) for path in (str(clips / names[0]), f"{address}/videos/{names[0]}"))
    np.testing.assert_array_equal(next(iter(got)).image, next(iter(want)).image)
    with remote.opened(f"{address}/videos/{names[0]}", part=(10, 2500)) as file:
        assert Path(file).read_bytes() == (clips / names[0]).read_bytes()[10:2510]


def test_waiting_for_a_lock_and_parts_that_come_are_work(clips, tmp_path, monkeypatch):
    beats = []
    with watched(lambda: beats.append(1)), Web(clips, seconds=1) as web:
        held = FileLock(tmp_path / "lock", thread_local=False)
        held.acquire()
        threading.Timer(1.5, held.release).start()
        with remote._lock(tmp_path / "lock"):
            assert len(beats) == 1
        monkeypatch.setattr(remote, "_BLOCK", 1000)
        with remote.opened(f"{web.address}/resting/0.mp4", part=(10, 2500)) as file:
            assert Path(file).read_bytes() == (clips / "resting" / "0.mp4").read_bytes()[10:2510]
        assert len(beats) == 4


@pytest.mark.parametrize("name", sorted(set(miniatures.ALL) - {"tsn", "something_v1", "jester", "slowfast", "shards"}))
def test_every_format_is_read_from_a_bucket_as_from_a_folder(name, s3, tmp_path):
    place = miniatures.ALL[name](tmp_path / name)
    local = read_listing(place)
    if place.is_file():
        address = f"{s3.put(place.parent, f'formats/{name}')}/{place.name}"
        below, base = place.parent, f"s3://{BUCKET}/formats/{name}"
    else:
        address = base = s3.put(place, f"formats/{name}")
        below = place
    found = read_listing(address)

    def there(text: str) -> str:
        return text.replace(str(below), base)

    assert str(found.source).startswith(base) and found.format == local.format
    rows = [row._replace(path=there(row.path), file=there(row.file)) for row in local.rows]
    assert found.rows == rows and found.class_names == local.class_names
    if any(row.label for row in rows):
        splits, at_home = (load_splits(DataConfig(path=str(path), missing="drop")) for path in (address, place))
        assert {split: clips.fingerprint() for split, clips in splits.items()} == {
            split: clips.fingerprint() for split, clips in at_home.items()
        }
        assert splits["train"].clip_hashes() == at_home["train"].clip_hashes()  # known again by name and size
        with_path = next(iter(splits.values()))
        assert len(VideoReader(file_of_list(with_path.paths[0]))) > 1


def test_a_local_list_names_files_below_a_root_elsewhere_and_is_converted(s3, clips, tmp_path, monkeypatch):
    address = s3.put(clips, "root")
    (tmp_path / "list.csv").write_text("path,label\nresting/0.mp4,a\nresting/gone.mp4,b\n")
    listing = read_listing(tmp_path / "list.csv", root=address)
    assert [row.path for row in listing.rows] == [f"{address}/resting/0.mp4", f"{address}/resting/gone.mp4"]
    assert absent(listing.rows) == [1]
    convert(listing, tmp_path / "full.csv")
    assert [row.path for row in read_listing(tmp_path / "full.csv").rows] == [row.path for row in listing.rows]
    (tmp_path / "names.txt").write_text("b\na\n")
    config = DataConfig(path=str(tmp_path / "full.csv"), labels=s3.put(tmp_path / "names.txt", "names.txt"))
    assert read_config(config).class_names == ["b", "a"]


def test_folders_of_images_are_refused(s3, tmp_path):
    address = s3.put(miniatures.jester(tmp_path / "jester"), "images")
    with pytest.raises(
        AnnotationError, match=rf"^s3://{BUCKET}/images.* is a folder of images, which is not read from"
    ):
        read_listing(address)


def test_videos_are_found_below_a_prefix_and_by_a_pattern(s3, clips):
    address = s3.put(clips, "find")
    found = find_videos([address])
    assert [path.name for path in found] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"] * 3
    assert all(path.exists() and str(path).startswith(address) for path in found)
    assert [str(path) for path in find_videos([f"{address}/*/2.mp4"])] == [str(p) for p in found if p.name == "2.mp4"]
    with pytest.raises(ConfigError, match=f"^s3://{BUCKET}/find/none: no such file or folder$"):
        find_videos([f"{address}/none"])


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def message(path: str) -> str:
    with pytest.raises(TeinetError) as error:
        read_listing(path)
    return str(error.value)


def test_errors_are_one_line_that_says_what_to_do(s3, clips, monkeypatch):
    assert message(f"s3://{BUCKET}/gone.csv") == f"s3://{BUCKET}/gone.csv: no such file or folder"
    assert "no such file or folder" in message("s3://no-such-bucket/gone.csv")
    with pytest.raises(VideoError, match=f"^s3://{BUCKET}/gone.mp4: no such file or folder$"):
        len(VideoReader(f"s3://{BUCKET}/gone.mp4"))
    with Web(clips) as web:
        assert "access denied; give credentials by a login in the address" in message(f"{web.address}/locked/a.csv")
        said = message(f"{web.address.replace('//', '//me:secret@')}/none.csv?token=abc")
        assert "no such file" in said and "secret" not in said and "abc" not in said
    with Web(clips) as web:
        address = f"{web.address.replace('//', '//me:secret@')}/locked/0.mp4?token=abc"
        with pytest.raises(
            VideoError, match=r"^http://127[^@]*token=\*\*\*: cannot be opened \(access denied"
        ) as error:
            len(VideoReader(file_of_list(address)))
        assert "secret" not in str(error.value)
    assert "no connection to the store; check the network" in message(f"http://127.0.0.1:{closed_port()}/a.csv")
    assert message("gs://bucket/a.csv").endswith("needs the package gcsfs; install it with: pip install gcsfs")
    missing = ModuleNotFoundError("no module", name="s3fs")

    def without_s3fs(*_: object, **__: object) -> None:
        raise ImportError("install s3fs") from missing

    monkeypatch.setattr(fsspec, "filesystem", without_s3fs)
    remote._status.cache_clear()
    assert message("s3://bucket/a.csv").endswith(
        "needs the package s3fs; install it with: pip install 'teinet[remote]'"
    )


def test_a_file_that_gets_its_name_while_room_is_made_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"12345")
    (tmp_path / ".b.part").write_bytes(b"1")
    listed = list(os.scandir(tmp_path))
    monkeypatch.setattr(remote.os, "scandir", lambda folder: nullcontext(listed))
    (tmp_path / ".b.part").rename(tmp_path / "b.mp4")
    monkeypatch.setenv(remote.LIMIT, "1e-9")
    remote._make_room(tmp_path, 1)
    assert os.listdir(tmp_path) == ["b.mp4"]
