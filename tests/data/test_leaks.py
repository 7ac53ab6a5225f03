"""Reading for hours: a worker opens its own readers, and gives back every file handle and all memory."""

from __future__ import annotations

import gc
import os
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from av.container import Container
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from teinet.data.dataset import Draw, ReadWatch, TrainingClips, Unreadable
from teinet.data.lists.rows import Row, to_clips
from teinet.data.sampling import Sampling
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.evaluation.evaluate import ViewClips, evaluation_loader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
READS = 250


def handles() -> list[str]:
    """What this process has open."""
    found = []
    for handle in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{handle}"))
        except FileNotFoundError:  # the listing's own
            pass
    return found


class Measured(Dataset):
    """Reads a clip for training; returns what the worker had open before and after, and its peak memory in KiB."""

    def __init__(self, clips: TrainingClips):
        self.clips = clips

    def __len__(self) -> int:
        return READS

    def __getitem__(self, i: int) -> tuple[list[str], list[str], int, bool]:
        before = handles()
        sample = self.clips[Draw(i % len(self.clips), i)]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return before, handles(), memory, isinstance(sample, Unreadable)


@pytest.fixture
def listed(clips, tmp_path) -> TrainingClips:
    """Sound clips, a folder of images, and files that fail early, late and in the middle."""
    good = sorted(clips.rglob("*.mp4"))
    (tmp_path / "text.mp4").write_text("no video" * 100)
    whole = good[0].read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    middle = whole.index(b"mdat") + 8
    damaged[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    (tmp_path / "damaged.mp4").write_bytes(damaged)
    (tmp_path / "images").mkdir()
    for number in range(4):
        Image.new("RGB", (48, 36)).save(tmp_path / "images" / f"{number}.jpg")
    paths = [*good, *(tmp_path / name for name in ("text.mp4", "cut.mp4", "damaged.mp4", "images", "nowhere.mp4"))]
    rows = [Row(str(path), "a") for path in paths]
    size = Preprocessing(size=32, short_side=36)
    return TrainingClips(to_clips(rows, source=""), Sampling(num_frames=2), size, Augmentation())


def test_a_worker_gives_back_handles_and_memory(listed):
    gc.collect()
    assert not [o for o in gc.get_objects() if issubclass(type(o), Container)], "open before the worker is forked"
    videos = [str(Path(path).resolve()) for path in listed.clips.paths]
    loader = DataLoader(Measured(listed), batch_size=1, num_workers=1, collate_fn=lambda samples: samples[0])
    before, after, memory, failed = zip(*loader)
    assert 0 < sum(failed) < READS / 3
    for opened in (*before, *after):
        assert not set(opened) & set(videos)
    assert len(after[-1]) <= len(after[50]), set(after[-1]) - set(after[50])
    assert memory[-1] - memory[100] < 8 * 1024, "KiB more after 150 further reads"


def test_loaders_and_their_watch_give_back_handles(listed):
    views = ViewClips(listed.clips, listed.sampling, listed.preprocessing, "1x1")
    counts = []
    for _ in range(3):
        watch = ReadWatch(60)
        with watch.guard():
            batches = list(evaluation_loader(views, batch_size=4, workers=1, watch=watch))
        assert sum(len(b.indices) for b in batches) + sum(len(b.unreadable) for b in batches) == len(views)
        del batches, watch
        gc.collect()
        counts.append(len(handles()))
    assert counts[-1] <= counts[1], "open handles after each of three tests"
    assert torch.multiprocessing.active_children() == []
