"""Shards: other readers find the clips in them, ours gives the same frames, and each clip comes once an epoch."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet
import pytest
import webdataset

from teinet.cli.main import main
from teinet.data import remote, shards
from teinet.data.dataset import EpochSampler, TrainingClips, collate
from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.formats import read_listing
from teinet.data.lists.splits import load_splits, read_config
from teinet.data.sampling import Sampling
from teinet.data.tools.sharding import shard
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.errors import AnnotationError, ConfigError, Interrupted, RunError, VideoError
from teinet.training.setup import ResumableLoader
from tests import miniatures
from tests.conftest import CLASSES
from tests.stores import Web, clear_cache


@pytest.fixture
def listed(clips, tmp_path) -> Path:
    """A csv with splits, spans, several labels, names and a column of its own; a file has two clips."""
    rows = [f"{clips}/resting/{n}.mp4,resting,{'test' if n == 3 else 'train'},,,r{n},{n}" for n in range(4)]
    rows += [
        f"{clips}/{CLASSES[0]}/0.mp4,left,train,0.1,0.4,l0,9",
        f"{clips}/{CLASSES[0]}/0.mp4,left|x,train,0.2,,l1,9",
    ]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split,start,end,name,subject", *rows]) + "\n")
    return tmp_path / "list.csv"


def several(path: Path):
    return read_config(DataConfig(path=str(path), multi_label=True))


@pytest.mark.parametrize("container", ["tar", "parquet"])
def test_the_list_and_the_frames_are_those_of_the_files(container, listed, tmp_path):
    done = shard(several(listed), tmp_path / "out", container=container, size=1, workers=0)
    assert (done.shards, done.files, done.clips, done.missing) == (2, 5, 6, [])  # one shard a split
    before, after = several(listed).rows, several(done.index).rows
    assert {r.split: Path(r.path.partition("#")[0]).name for r in after} == {
        "train": f"shard-000000.{container}", "test": f"shard-000001.{container}",
    }  # fmt: skip

    def facts(row):
        return (os.path.basename(row.path), *row[1:6], sorted(row.columns.items()), row.more)

    assert sorted(map(facts, before), key=str) == sorted(map(facts, after), key=str)
    originals = {(os.path.basename(row.path), row.labels[0]): row.path for row in before}
    for row in after:
        local = VideoReader(originals[os.path.basename(row.path), row.labels[0]])
        np.testing.assert_array_equal(VideoReader(row.path).frames_at([0, 5]).images, local.frames_at([0, 5]).images)
        assert shards.shard_part(row.path).length == os.path.getsize(local.path)
    hashes = [
        set(load_splits(DataConfig(path=str(p), multi_label=True))["train"].clip_hashes()) for p in (listed, done.index)
    ]
    assert hashes[0] == hashes[1]  # a test knows the training clips again


def test_webdataset_reads_the_tar_files(clips, tmp_path):
    done = shard(read_listing(clips), tmp_path / "out", size=1, workers=0)
    paths = sorted(str(path) for path in done.index.parent.glob("*.tar"))
    samples = list(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False).decode())
    assert len(samples) == 12 and len({sample["__key__"] for sample in samples}) == 12
    names = sorted(path.name for path in clips.iterdir())
    for sample in samples:
        label, name = names[sample["cls"]], sample["json"]["name"]
        assert sample["json"]["clips"][0]["labels"] == [label]
        assert sample["mp4"] == (clips / label / name).read_bytes()
    raw = Path(paths[0]).read_bytes()
    with tarfile.open(paths[0]) as tar:  # the offsets of the index are those of Python's own reader
        places = {(e.offset_data, e.size) for e in tar if e.name.endswith(".mp4")}
    index = json.loads(done.index.read_text())
    assert places == {(clip[1], clip[2]) for clip in index["clips"] if clip[0] == 0}
    assert all(raw[offset + 4 : offset + 8] == b"ftyp" for offset, _ in places)


def test_pyarrow_reads_the_parquet_files(clips, tmp_path):
    done = shard(read_listing(clips), tmp_path / "out", container="parquet", workers=0)
    table = pyarrow.parquet.read_table(done.index.parent / "shard-000000.parquet").to_pylist()
    assert len(table) == 12
    for row in table:
        label = json.loads(row["json"])["clips"][0]["labels"][0]
        assert row["video"] == (clips / label / row["name"]).read_bytes()
        with av.open(io.BytesIO(row["video"])) as container:
            assert sum(1 for _ in container.decode(video=0)) == 6


def test_an_interrupted_command_continues(clips, tmp_path, monkeypatch):
    from teinet.data.tools import sharding

    monkeypatch.setattr(sharding, "_plan", lambda *args, plan=sharding._plan: plan(args[0], args[1], 12_000))
    work, calls = sharding._work, []

    def stopping(folder, container, plan, beat):
        calls.append(plan.name)
        if len(calls) == 3:
            os.kill(os.getpid(), 2)
        return work(folder, container, plan, beat)

    monkeypatch.setattr(sharding, "_work", stopping)
    with pytest.raises(Interrupted, match=r"stopped after \d of 12 shards .*; run the same command to continue"):
        shard(read_listing(clips), tmp_path / "out", workers=0)
    assert not (tmp_path / "out" / "shards.json").exists()
    first = calls[:]
    done = shard(read_listing(clips), tmp_path / "out", workers=0)
    assert done.resumed >= 2 and done.shards == len(set(calls)) > 3
    assert set(first[:2]).isdisjoint(calls[len(first) :])
    again = shard(read_listing(clips), tmp_path / "out", workers=0)
    assert again.resumed == again.shards == done.shards
    with pytest.raises(ConfigError, match="was started with --container tar, --size 256; use these settings"):
        shard(read_listing(clips), tmp_path / "out", container="parquet", workers=0)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    with pytest.raises(ConfigError, match="was not written by `teinet data shard`; choose a new or empty folder"):
        shard(read_listing(clips), tmp_path / "other", workers=0)


def test_what_is_wrong_is_said(clips, tmp_path, capsys):
    listing = tmp_path / "list.csv"
    listing.write_text(f"path,label\n{clips}/resting/0.mp4,a\n{clips}/gone.mp4,a\n")
    words = ["data", "shard", str(listing), "--output", str(tmp_path / "out"), "--workers", "0"]
    assert main(words) == 1
    assert f"{clips}/gone.mp4: no such file; left out" in capsys.readouterr().out
    path = read_listing(tmp_path / "out").rows[0].path
    whole = (tmp_path / "out" / "shard-000000.tar").read_bytes()
    (tmp_path / "out" / "shard-000000.tar").write_bytes(whole[:1000])
    with pytest.raises(AnnotationError, match="is shorter than it was written; write or copy it again"):
        read_listing(tmp_path / "out")
    with pytest.raises(VideoError, match="the shard has 1000 bytes, fewer than its index says"):
        len(VideoReader(path))
    with pytest.raises(ConfigError, match="is a folder of images; shards hold video files"):
        shard(read_listing(miniatures.jester(tmp_path / "jester")), tmp_path / "images", workers=0)
    listing.write_text(f"path,label\n{clips}/gone.mp4,a\n")
    with pytest.raises(RunError, match="none of its clips exist"):
        shard(read_listing(listing), tmp_path / "none", workers=0)


@pytest.mark.parametrize("world", [1, 3])
def test_each_clip_comes_once_an_epoch_shard_by_shard_and_resumes(world):
    numbers = np.repeat(np.arange(12), 20)  # 240 clips

    def draws(rank, epoch=1, skip=0):
        sampler = EpochSampler(240, seed=3, epoch=epoch, rank=rank, world_size=world, shards=numbers)
        sampler.skip = skip
        return list(sampler)

    every = [draws(rank) for rank in range(world)]
    assert sorted(draw.index for own in every for draw in own) == list(range(240))
    assert every == [draws(rank) for rank in range(world)] != [draws(rank, epoch=2) for rank in range(world)]
    assert draws(0, skip=33) == every[0][33:]
    for own in every:
        order = numbers[[draw.index for draw in own]]
        first = {s: np.flatnonzero(order == s) for s in np.unique(order)}
        assert max(places[-1] - places[0] for places in first.values()) < 20 * shards.WINDOW  # a shard in one stretch
        assert (np.diff(order) != 0).mean() > 0.5  # and yet mixed
        assert len(first) <= 12 / world + shards.WINDOW  # a process reads its own shards


def test_workers_read_each_clip_once_and_a_resumed_loader_the_rest(clips, tmp_path):
    done = shard(read_listing(clips), tmp_path / "out", workers=0)
    listed = load_splits(DataConfig(path=str(done.index), val_share=0.0))["train"]
    data = TrainingClips(listed, Sampling(num_frames=2), Preprocessing(size=16, short_side=18), Augmentation())

    def loader() -> ResumableLoader:
        sampler = EpochSampler(len(data), seed=5, shards=shards.shard_numbers(listed.paths))
        return ResumableLoader(data, sampler=sampler, batch_size=2, num_workers=2, collate_fn=collate)

    whole = [batch.indices.tolist() for batch in loader()]
    assert sorted(index for batch in whole for index in batch) == list(range(12))
    first = loader()
    begun = [batch.indices.tolist() for batch, _ in zip(first, range(2))]
    resumed = loader()
    resumed.load_state_dict({"taken": 2})
    assert begun + [batch.indices.tolist() for batch in resumed] == whole


def test_one_clip_of_a_remote_shard_is_read_alone_and_more_bring_the_shard(clips, tmp_path, monkeypatch):
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path / "own"))
    clear_cache()
    shards._touched.clear()
    shard(read_listing(clips), tmp_path / "out", workers=0)
    size = (tmp_path / "out" / "shard-000000.tar").stat().st_size
    with Web(tmp_path / "out") as web:
        rows = read_listing(f"{web.address}/shards.json").rows
        assert rows[0].path.startswith(f"{web.address}/shard-000000.tar#")
        before = web.sent
        assert len(VideoReader(file_of_list(rows[0].path))) == 6
        assert web.sent - before == shards.shard_part(rows[0].path).length
        before = web.sent
        for row in rows[1:]:
            assert len(VideoReader(file_of_list(row.path))) == 6
        assert web.sent - before == size  # in one request
        shards._touched.clear()
        monkeypatch.setenv(remote.LIMIT, str(2 * size / 1e9))  # the shard is large for this one
        clear_cache()
        before = web.sent
        for row in rows:
            assert len(VideoReader(file_of_list(row.path))) == 6
        assert web.sent - before == sum(shards.shard_part(row.path).length for row in rows)
