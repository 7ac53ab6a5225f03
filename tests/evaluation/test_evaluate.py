"""The loop of a test gives each clip the scores that a recognizer alone gives it, in any batches and processes."""

from __future__ import annotations

import csv
import json
import logging
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from teinet.cli.main import main
from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import ClipList, to_clips
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.view_loading import load_views
from teinet.data.views import Views
from teinet.errors import ConfigError
from teinet.evaluation.evaluate import Scoring, ViewClips, evaluate, evaluation_loader
from teinet.evaluation.hardware import Hardware
from teinet.evaluation.scores import Scores
from teinet.models.classifier import as_clips
from teinet.models.factory import create_model
from teinet.recognition import Recognizer
from tests.networks import wake

CPU = Hardware(device="cpu")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    torch.manual_seed(1)
    model = create_model("teinet_resnet10t", num_classes=3, num_frames=2)
    wake(model, head_std=0.2)
    names = ["moving left", "moving right", "resting"]
    size = Preprocessing(size=32, short_side=36, **model.data_config)
    return Recognizer(model, names, preprocessing=size, sampling=Sampling(num_frames=2))


@pytest.fixture
def listed(clips, recognizer) -> ClipList:
    return to_clips(read_listing(clips).rows, recognizer.class_names, source=clips)


def run(recognizer: Recognizer, clips: ClipList, **more) -> Scores:
    settings = {"sampling": recognizer.sampling, "preprocessing": recognizer.preprocessing, "hardware": CPU, **more}
    return evaluate(recognizer.model, clips, **settings)


@pytest.mark.parametrize("averaging", ["probabilities", "logits"])
@pytest.mark.parametrize("views", ["1x1", "2x3/crop"])
def test_the_same_scores_as_a_recogniser_clip_by_clip(recognizer, listed, views, averaging):
    scores = run(recognizer, listed, views=Views.parse(views), averaging=averaging, batch_size=5)
    alone = [recognizer(path, views=views, averaging=averaging).scores for path in listed.paths]
    np.testing.assert_allclose(scores.probabilities, np.stack(alone), atol=1e-5)
    assert scores.meta["views"] == views and scores.meta["averaging"] == averaging
    hits = sum(int(a.argmax() == label) for a, label in zip(alone, listed.labels))
    assert scores.top1 == pytest.approx(hits / 12) and scores.num_unreadable == 0


@pytest.mark.parametrize(("start", "end"), [(0.3, 0.6), (0.2, 0.4)])  # of 0.6 s
def test_spans_of_a_file(recognizer, listed, start, end):
    listed.starts[:], listed.ends[:] = start, end
    scores = run(recognizer, listed)
    alone = [recognizer(path, start=start, end=end).scores for path in listed.paths]
    np.testing.assert_allclose(scores.probabilities, np.stack(alone), atol=1e-5)
    whole = run(recognizer, to_clips(read_listing(Path(listed.source)).rows, source=""))
    assert np.abs(scores.probabilities - whole.probabilities).max() > 1e-3


def test_backwards_plays_each_view_from_its_last_frame_to_its_first(recognizer, listed):
    views = Views.parse("2x1")
    scores = run(recognizer, listed, views=views, backwards=True)
    expected = []
    for path in listed.paths:
        frames = as_clips(load_views(path, recognizer.sampling, recognizer.preprocessing, views).frames)
        with torch.no_grad():
            expected.append(recognizer.model(frames.flip(1)).softmax(1).mean(0).numpy())
    np.testing.assert_allclose(scores.probabilities, np.stack(expected), atol=1e-5)
    assert np.abs(run(recognizer, listed, views=views).probabilities - scores.probabilities).max() > 1e-4


def test_an_unreadable_clip_counts_as_wrong(recognizer, listed, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    listed = replace(listed, paths=[*listed.paths[:4], str(tmp_path / "bad.mp4"), *listed.paths[5:]])
    scores = run(recognizer, listed)
    assert scores.num_unreadable == 1 and scores.reasons[4] and scores.predictions[4] == -1
    hits = [recognizer(p).scores.argmax() == y for i, (p, y) in enumerate(zip(listed.paths, listed.labels)) if i != 4]
    assert scores.top1 == pytest.approx(sum(hits) / 12)


@pytest.mark.parametrize(("length", "world"), [(7, 2), (8, 3), (1, 2)])
def test_no_clip_twice_and_none_forgotten(recognizer, listed, length, world):
    clips = to_clips(read_listing(Path(listed.source)).rows[:length], recognizer.class_names, source="")
    data = ViewClips(clips, recognizer.sampling, recognizer.preprocessing, None)
    loaders = [evaluation_loader(data, batch_size=2, workers=0, rank=r, world_size=world) for r in range(world)]
    shares = [list(loader.sampler) for loader in loaders]
    assert sorted(i for share in shares for i in share) == list(range(length))


def test_a_network_is_left_as_it_was(recognizer, listed):
    recognizer.model.train()
    before = {k: v.clone() for k, v in recognizer.model.state_dict().items()}
    run(recognizer, listed)
    assert all(torch.equal(before[k], v) for k, v in recognizer.model.state_dict().items())
    recognizer.model.eval()


def test_hardware_that_is_not_there():
    for settings, says in (
        ({"device": "cuuda"}, "must be auto, cpu, cuda, cuda:N or mps. Did you mean 'cuda'"),
        ({"precision": "16"}, "one of auto, fp32, bf16, fp16. Did you mean 'fp16'"),
        ({"device": "cpu", "precision": "fp16"}, "a CPU takes bf16"),
        ({"device": "cuda:99"}, "torch finds"),
        ({"device": "cuda:0", "devices": 2}, "a single GPU"),
        ({"devices": 0}, "at least 1"),
        ({"device": "cuda", "devices": 1000}, "torch finds"),
    ):
        with pytest.raises(ConfigError, match=says):
            Hardware(**settings)


def test_two_processes_give_the_scores_of_one(clips, recognizer, tmp_path, teinet, capsys):
    recognizer.save(tmp_path / "net.safetensors")
    rows = read_listing(clips).rows[:11]  # an odd number
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    lines = [f"{row.path},{row.label}" for row in rows]
    lines[4] = "bad.mp4,resting"
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    words = ["test", tmp_path / "net.safetensors", "--data", tmp_path / "list.csv", "--device", "cpu"]
    words += ["--workers", 0, "--batch-size", 2, "--json"]
    two = teinet(*words, "--devices", 2, "--output", tmp_path / "two")
    assert two.returncode == 1, two.stderr  # one clip was unreadable
    assert "Traceback" not in two.stderr
    numbers = json.loads(two.stdout)  # once, not once a process
    assert main([str(word) for word in [*words, "--output", tmp_path / "one"]]) == 1
    alone = json.loads(capsys.readouterr().out)
    assert alone | {"command": numbers["command"]} == numbers and numbers["num_clips"] == 11
    one, both = Scores.load(tmp_path / "one"), Scores.load(tmp_path / "two")
    np.testing.assert_allclose(one.probabilities, both.probabilities, atol=1e-6)
    assert one.paths == both.paths and both.num_unreadable == 1 and both.reasons[4] == one.reasons[4] != ""
    assert len(list(csv.DictReader((tmp_path / "two" / "clips.csv").open()))) == 11


@pytest.mark.parametrize(("views", "batch_size", "videos"), [("3x3", 8, 1), ("2x1", 8, 4)])
def test_a_step_holds_as_many_views_as_the_batch_size_says(recognizer, listed, monkeypatch, views, batch_size, videos):
    seen, step = [], Scoring.validation_step

    def noted(self, batch, number):
        seen.append(batch.frames.shape[:2])
        return step(self, batch, number)

    monkeypatch.setattr(Scoring, "validation_step", noted)
    parsed = Views.parse(views)
    assert len(run(recognizer, listed, views=parsed, batch_size=batch_size)) == 12
    assert seen[0] == (videos, len(parsed)) and sum(videos for videos, _ in seen) == 12


def test_the_callers_warnings_and_log_levels_are_left_alone(recognizer, listed):
    logger = logging.getLogger("lightning.pytorch")
    level, filters = logger.level, list(warnings.filters)
    logger.setLevel(logging.DEBUG)
    try:
        run(recognizer, listed)
        assert logger.level == logging.DEBUG and warnings.filters == filters
    finally:
        logger.setLevel(level)
