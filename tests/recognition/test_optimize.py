"""An optimized recognizer names the same actions, on real video too."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from teinet import Recognizer, create_model
from teinet.cli.main import main
from teinet.data.transforms import Preprocessing
from teinet.errors import ConfigError
from teinet.models.optimized import native_precision
from tests.conftest import CLASSES
from tests.networks import small_recognizer, wake


@pytest.fixture(scope="module")
def imagenet(shared) -> Recognizer:
    """ImageNet's classes by the real weights, with modules that change nothing yet; they see real images."""
    weights = shared / "weights" / "tf_efficientnet_lite0.in1k.safetensors"
    torch.manual_seed(0)
    options = {"backbone_weights": weights, "gate": "residual", "init": "identity"}
    model = create_model("teinet_tf_efficientnet_lite0", num_classes=1000, num_frames=4, **options)
    preprocessing = Preprocessing(size=224, short_side=256, **model.data_config)
    return Recognizer(model, [str(i) for i in range(1000)], preprocessing=preprocessing)


def test_labels_on_real_clips_are_equal(imagenet, shared):
    clips = sorted(p for p in (shared / "data" / "clips").iterdir() if p.suffix in (".avi", ".mp4"))
    videos = [*clips[:2], min((shared / "data" / "fights").rglob("*.mp4"))]
    fast = imagenet.optimize(engine="folded", precision="fp32")
    half = imagenet.optimize(engine="folded", precision="bf16")
    agree = 0
    for video in videos:
        want = imagenet(video, top_k=1)
        got = fast(video, top_k=1)
        assert got.labels[0][0] == want.labels[0][0], video
        assert np.abs(got.scores - want.scores).max() < 1e-5
        got = half(video, top_k=1)
        assert np.abs(got.scores - want.scores).max() < 0.05
        agree += got.labels[0][0] == want.labels[0][0]
    assert agree >= len(videos) - 1  # two classes of ImageNet may lie closer than bfloat16 tells apart


def test_it_says_what_it_is_and_cannot_be_saved(tmp_path):
    recognizer = small_recognizer("tsn_resnet10t", num_frames=4)
    fast = recognizer.optimize(engine="folded", precision="fp32")
    assert "folded, fp32" in repr(fast) and "folded" not in repr(recognizer)
    with pytest.raises(ConfigError, match="cannot be saved"):
        fast.save(tmp_path / "fast.safetensors")
    recognizer.save(tmp_path / "plain.safetensors")
    assert fast.class_names == CLASSES and fast.num_frames == 4


def test_the_commands_take_it(tmp_path, clips, capsys):
    recognizer, weights = small_recognizer("teinet_resnet10t", num_frames=4), tmp_path / "weights.safetensors"
    wake(recognizer.model)
    recognizer.save(weights)
    folder = clips / recognizer.class_names[0]
    want = [Recognizer.load(weights)(video).labels[0][0] for video in sorted(folder.iterdir())]
    capsys.readouterr()
    assert main(["predict", str(weights), str(folder), "--json", "--engine", "folded", "--precision", "fp32"]) == 0
    assert [answer["labels"][0]["name"] for answer in json.loads(capsys.readouterr().out)] == want
    words = ["--data", str(clips), "--json", "--workers", "0", "--engine", "folded", "--output", str(tmp_path / "t")]
    assert main(["test", str(weights), *words]) == 0
    form = f"folded, {native_precision(torch.device('cpu'))}"
    assert json.loads((tmp_path / "t" / "metrics.json").read_text())["optimized"] == form
    capsys.readouterr()
    assert main(["predict", str(weights), str(folder), "--json", "--precision", "bf16"]) == 0  # folded, in bf16
    rough, fine = json.loads(capsys.readouterr().out)[0], Recognizer.load(weights)(sorted(folder.iterdir())[0])
    score = rough["labels"][0]["score"]
    assert score == pytest.approx(fine.labels[0][1], abs=0.02) and score != fine.labels[0][1]
