"""What training draws: the order is a function of seed and epoch, and a draw is the same clip wherever it is made."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from teinet.data.dataset import ClipBatch, Draw, EpochSampler, TrainingClips, Unreadable, collate
from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import PackedTexts, to_clips
from teinet.data.sampling import Sampling
from teinet.data.transforms import Augmentation, Preprocessing
from teinet.data.video.reader import VideoReader
from teinet.errors import ConfigError


def training_clips(root, **augmentation) -> TrainingClips:
    clips = to_clips(read_listing(root).rows, source=root)
    size = Preprocessing(size=32, short_side=36)
    return TrainingClips(clips, Sampling(num_frames=2), size, Augmentation(**augmentation))


@pytest.mark.parametrize(("length", "world"), [(10, 1), (10, 2), (11, 2), (7, 3), (2, 5), (1, 4)])
def test_every_clip_once_an_epoch_over_all_processes(length, world):
    shares = [list(EpochSampler(length, seed=3, epoch=2, rank=r, world_size=world)) for r in range(world)]
    assert {len(share) for share in shares} == {-(-length // world)}
    counts = Counter(draw.index for share in shares for draw in share)
    assert set(counts) == set(range(length))
    assert sum(counts.values()) - length < world, "more than the filling is drawn twice"
    assert len(EpochSampler(length, seed=3, world_size=world)) == len(shares[0])


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    def draws(**where) -> list[Draw]:
        return list(EpochSampler(30, **{"seed": 0, "epoch": 0, **where}))

    sampler = EpochSampler(30, seed=0)
    first = list(sampler)
    assert first == list(sampler) == draws()
    sampler.set_epoch(4)
    assert list(sampler) == draws(epoch=4) != first
    assert draws(seed=1) != first
    order = [[d.index for d in draws(epoch=e)] for e in range(3)]
    assert order[0] != order[1] != order[2]
    # which process draws a clip does not change how it is augmented
    assert set(draws(rank=0, world_size=2)) | set(draws(rank=1, world_size=2)) == set(first)
    assert len({d.seed for e in range(20) for d in draws(epoch=e)}) == 600


def test_a_draw_is_the_same_clip_in_any_worker(clips):
    data = training_clips(clips, hflip=True)
    draws = list(EpochSampler(len(data), seed=0))

    def drawn(workers: int) -> ClipBatch:
        batches = list(DataLoader(data, batch_size=4, sampler=draws, num_workers=workers, collate_fn=collate))
        return ClipBatch(*(torch.cat(parts) for parts in list(zip(*batches))[:3]), [])

    here, there = drawn(0), drawn(2)
    assert all(torch.equal(a, b) for a, b in zip(here[:3], there[:3]))
    again = [data[draw][0] for draw in reversed(draws)]
    assert torch.equal(torch.stack(again[::-1]), here.frames)
    other = torch.stack([data[Draw(draw.index, draw.seed + 1)][0] for draw in draws])
    assert not torch.equal(other, here.frames)


def test_a_count_corrected_on_the_way_does_not_change_the_draw(clips, monkeypatch):
    # where a file's packets promise more frames than decode, the reader asks a second time, with the true number
    data, read = training_clips(clips), VideoReader.sample

    def read_twice(reader, choose, *span, **how):
        return read(reader, lambda n: choose(n + 3)[:0].tolist() + list(choose(n)), *span, **how)

    plain = data[Draw(5, 99)][0]
    monkeypatch.setattr(VideoReader, "sample", read_twice)
    assert torch.equal(data[Draw(5, 99)][0], plain)


def test_mirrored_clips_carry_the_mirrored_label(clips):
    data = training_clips(clips, hflip=True, scales=(1.0,), crop="center")
    plain = training_clips(clips, hflip=False, scales=(1.0,), crop="center")
    names, seen = data.clips.class_names, Counter()
    assert names == ["moving left", "moving right", "resting"]
    for index in range(len(data)):
        for seed in range(8):
            clip, label, _ = data[Draw(index, seed)]
            original = plain[Draw(index, seed)][0]
            flipped = not torch.equal(clip, original)
            if flipped:
                assert torch.equal(clip, original.flip(-1))
            true = int(data.clips.labels[index])
            assert label == ([1, 0, 2][true] if flipped else true)
            seen[flipped] += 1
    assert min(seen.values()) > 20


def test_mirroring_is_refused_before_anything_is_read(clips):
    data = to_clips([row for row in read_listing(clips).rows if row.label != "moving right"], source="")
    with pytest.raises(ConfigError, match="moving right"):
        TrainingClips(data, Sampling(num_frames=2), Preprocessing(size=32, short_side=36), Augmentation(hflip=True))


def test_unreadable_clips_are_left_out_of_the_batch(clips, tmp_path):
    data = training_clips(clips)
    broken = str(tmp_path / "broken.mp4")
    data.clips = replace(data.clips, paths=[data.clips.paths[0], broken, *data.clips.paths[2:]])
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    samples = [data[Draw(i, 0)] for i in range(3)]
    assert isinstance(samples[1], Unreadable)
    batch = collate(samples)
    assert batch.frames.shape == (2, 2, 3, 32, 32) and batch.frames.dtype == torch.uint8
    assert batch.indices.tolist() == [0, 2] and batch.labels.tolist() == data.clips.labels[[0, 2]].tolist()
    ((path, reason),) = batch.unreadable
    assert path.endswith("broken.mp4") and reason
    nothing = collate(samples[1:2])
    assert len(nothing.labels) == 0 and len(nothing.frames) == 0 and len(nothing.unreadable) == 1


def test_spans_are_respected(clips, monkeypatch):
    data, asked = training_clips(clips), []

    def read(reader, choose, start, end, transform):
        asked.append((start, end))
        return SimpleNamespace(images=transform(np.zeros((len(choose(6)), 36, 48, 3), np.uint8)))

    monkeypatch.setattr(VideoReader, "sample", read)
    data.clips.starts[0], data.clips.ends[1] = 1.5, 4.0
    for index in range(3):
        data[Draw(index, 0)]
    assert asked == [(1.5, None), (None, 4.0), (None, None)]


def test_texts_are_sent_to_other_processes_in_memory_that_they_share():
    texts = PackedTexts(["a", "naïve.mp4", "", "b\udcff"])
    sent = pickle.loads(ForkingPickler.dumps(texts))
    assert list(sent) == list(texts) == ["a", "naïve.mp4", "", "b\udcff"] and sent == texts
    again = pickle.loads(ForkingPickler.dumps(texts))
    texts._bytes[0] = ord("z")
    assert texts[0] == sent[0] == again[0] == "z"
