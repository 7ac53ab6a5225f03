"""A pipeline answers as transformers' documentation says of its own, by hand, and agrees with the recognizer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import teinet
from teinet.errors import ConfigError, VideoError
from tests import miniatures
from tests.conftest import CLASSES
from tests.networks import small_recognizer, wake

FRAMES = miniatures.frames(0)


@pytest.fixture(scope="module")
def recognizer() -> teinet.Recognizer:
    made = small_recognizer("tsm_test_resnet")
    wake(made.model)
    return made


@pytest.fixture
def classify(recognizer):
    return teinet.pipeline("video-classification", model=recognizer)


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("videos")
    return [str(miniatures.write(folder / f"{kind}.mp4", kind)) for kind in range(3)]


def test_one_video_gives_a_list_of_scores_and_labels(classify, recognizer, paths):
    """transformers: "a list of `top_k` dictionaries", "label (str)", "score", best first; all classes if fewer."""
    found = classify(paths[0])
    assert type(found) is list and [set(each) for each in found] == [{"score", "label"}] * 3
    assert all(type(each["score"]) is float and type(each["label"]) is str for each in found)
    assert sorted(each["label"] for each in found) == sorted(CLASSES)
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1, abs=1e-6)
    with torch.inference_mode():  # softmax of the logits of the frames that the recognizer chose
        prediction = recognizer(paths[0])
        images = torch.from_numpy(np.stack([miniatures.decoded(paths[0])[i] for i in prediction.frame_indices[0]]))
        logits = recognizer.model(images.permute(0, 3, 1, 2)[None])[0]
    by_hand = dict(zip(CLASSES, logits.softmax(0).tolist()))
    assert {each["label"]: each["score"] for each in found} == pytest.approx(by_hand, abs=1e-5)


def test_several_videos_give_a_list_of_lists(classify, paths):
    """transformers: "if the input is a list of several videos, will return a list of list of `top_k` dictionaries"."""
    alone = [classify(path) for path in paths]
    assert classify(paths) == alone and classify(tuple(paths)) == alone
    assert classify(paths[:1]) == alone[:1] and classify([]) == []
    batched = classify(paths, batch_size=2, num_workers=1)
    for one, other in zip(batched, alone):
        assert [each["label"] for each in one] == [each["label"] for each in other]
        assert [each["score"] for each in one] == pytest.approx([each["score"] for each in other], abs=1e-5)


def test_a_generator_is_answered_one_by_one(classify, paths):
    taken = []

    def videos():
        for path in paths:
            taken.append(path)
            yield path

    found = classify(videos(), num_workers=1)
    assert iter(found) is found
    assert list(found) == classify(paths) and taken == paths


def test_frames_are_one_video_and_lists_of_frames_several(classify):
    images = [Image.fromarray(frame) for frame in FRAMES]
    one = classify(FRAMES)
    assert classify(images) == classify(list(FRAMES)) == classify(torch.from_numpy(FRAMES)) == one
    assert classify([images, images]) == classify([FRAMES, images]) == [one, one]
    assert classify(np.stack([FRAMES, FRAMES])) == [one, one]


def test_top_k_is_of_the_pipeline_or_of_a_call(recognizer):
    classify = teinet.pipeline("video-classification", recognizer, top_k=1)
    assert len(classify(FRAMES)) == 1 and len(classify(FRAMES, top_k=2)) == 2 and len(classify(FRAMES, top_k=99)) == 3
    assert len(classify([FRAMES], top_k=2)[0]) == 2 and len(classify(FRAMES, top_k=None)) == 1


def test_what_agrees_with_the_recognizer_passes(classify):
    assert classify(FRAMES, num_frames=2, function_to_apply="softmax", frame_sampling_rate=None) == classify(FRAMES)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_frames": 16}, r"looks at 2 frames; to change that, call pipeline\.recognizer\.set_num_frames\(16\)"),
        ({"frame_sampling_rate": 4}, "frames are chosen as in training; leave it out"),
        ({"function_to_apply": "none"}, r"for logits call pipeline\.recognizer\.model"),
        ({"function_to_apply": "sigmoid"}, "the softmax over classes that exclude each other"),
        ({"topk": 3}, "no option 'topk'. Did you mean 'top_k'"),
        ({"top_k": 0}, "top_k must be at least 1"),
    ],
)
def test_what_has_no_meaning_is_an_error_that_says_what_to_do(recognizer, classify, options, says):
    with pytest.raises(ConfigError, match=says):
        classify(FRAMES, **options)
    with pytest.raises(ConfigError, match=says):
        teinet.pipeline("video-classification", model=recognizer, **options)(FRAMES)


def test_the_function_takes_transformers_arguments(recognizer, tmp_path):
    recognizer.save(tmp_path / "net.safetensors")
    for model in (str(tmp_path / "net.safetensors"), tmp_path / "net.safetensors", recognizer):
        classify = teinet.pipeline(model=model, device=-1, dtype="auto", framework="pt", trust_remote_code=False)
        assert classify.recognizer.device.type == "cpu"
        assert [each["label"] for each in classify(FRAMES)] == [name for name, _ in recognizer(FRAMES).labels]
    for options, says in (
        ({"task": "image-classification"}, "does 'video-classification'"),
        ({}, "name a model"),
        ({"model": recognizer, "torch_dtype": torch.float16}, "optimize"),
        ({"model": recognizer, "image_processor": "x"}, "the recognizer's file holds it"),
        ({"model": recognizer, "trust_remote_code": True}, "no code is ever loaded"),
    ):
        with pytest.raises(ConfigError, match=says):
            teinet.pipeline(**options)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="cuda"):
            teinet.pipeline(model=tmp_path / "net.safetensors", device=0)


def test_what_is_no_video_is_refused(classify, paths, tmp_path):
    with pytest.raises(ConfigError, match="is an address, not a file"):
        classify("ftp://127.0.0.1/clip.mp4")
    with pytest.raises(VideoError, match=r"missing\.mp4"):
        classify([paths[0], str(tmp_path / "missing.mp4")])
    with pytest.raises(VideoError, match=r"video 1: .*expected uint8"):
        classify([FRAMES, FRAMES.astype(np.float32)])
    with pytest.raises(ConfigError, match="the pipeline needs a video"):
        classify(None)
