"""The look inside a prediction: maps that add up, gates and kernels as they were set, a page with all of it."""

from __future__ import annotations

import base64
import io
import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

import teinet
from teinet.cli.main import main
from teinet.data.transforms import Preprocessing
from teinet.errors import ConfigError
from teinet.layers import MEM, TIM
from teinet.pages.explained import frame_names
from teinet.recognition.explanation import look_inside
from tests import miniatures
from tests.networks import wake

NAMES = ("left", "right", "still")


def recognizer(name: str = "teinet_test_resnet", *, size=64, **options) -> teinet.Recognizer:
    torch.manual_seed(0)
    model = teinet.create_model(name, num_classes=3, num_frames=4, pretrained=False, shortcut_only=False, **options)
    wake(model)
    pixels = Preprocessing(size=size, short_side=64, fit="crop" if size == 64 else "squash", **model.data_config)
    return teinet.Recognizer(model, NAMES, preprocessing=pixels)


@pytest.fixture
def clip(tmp_path):
    return miniatures.write(tmp_path / "clip.mp4", 0, length=12)


@pytest.mark.parametrize("name", ["teinet_test_resnet", "teinet_test_efficientnet"])
def test_maps_and_bias_add_up_to_each_frames_score(clip, name):
    net = recognizer(name)
    inside = look_inside(net, clip, label="right")
    weight, bias = net.model.head.weight[1], net.model.head.bias[1]
    sums = inside.maps.reshape(4, -1).sum(1) + float(bias.detach())
    np.testing.assert_allclose(sums, inside.frame_logits, rtol=1e-3, atol=1e-5)
    # the classic map: the class's weights times the features, over the number of places
    frames = net.model._frames(torch.from_numpy(inside.frames).permute(0, 3, 1, 2)[None])
    with torch.no_grad():
        features = net.model.cnn.forward_features(frames)
        classic = torch.einsum("c,tchw->thw", weight, features) / features[0, 0].numel()
    np.testing.assert_allclose(inside.maps, classic.numpy(), rtol=1e-4, atol=1e-6)


def test_the_scores_are_those_of_the_recogniser(clip):
    net = recognizer()
    answer, inside = net(str(clip), top_k=3), look_inside(net, clip)
    assert [name for name, _ in inside.labels] == [name for name, _ in answer.labels]
    np.testing.assert_allclose([s for _, s in inside.labels], [s for _, s in answer.labels], atol=1e-5)
    assert inside.label == answer.label
    np.testing.assert_array_equal(inside.indices, answer.frame_indices[0])
    np.testing.assert_allclose(inside.times, answer.times[0])


@pytest.mark.parametrize(
    ("name", "gate", "factor", "causal"),
    [
        ("teinet_test_resnet", "paper", 0.9, False),
        ("teinet_test_resnet", "residual", 1.4, True),
        ("mem_test_resnet", "paper", 0.9, True),
    ],
)
def test_gates_are_what_the_module_multiplies_by(clip, name, gate, factor, causal):
    net = recognizer(name, gate=gate, causal=causal)
    for module in net.model.modules():
        if isinstance(module, MEM):  # a sigmoid of 0.9 whatever it sees
            torch.nn.init.zeros_(module.conv3.weight)
            torch.nn.init.constant_(module.conv3.bias, math.log(9))
    blocks = look_inside(net, clip).blocks
    free = 0 if causal else 3  # the frame without a neighbor to compare with
    assert blocks and all(block.gates.shape == (4, block.channels) for block in blocks)
    for block in blocks:
        assert (block.residual, block.causal) == (gate == "residual", causal)
        assert np.isnan(block.gates[free]).all()
        np.testing.assert_allclose(np.delete(block.gates, free, axis=0), factor, atol=1e-5)


@pytest.mark.parametrize(("gate", "causal"), [("paper", False), ("residual", True)])
def test_the_page_speaks_of_this_network(clip, tmp_path, monkeypatch, gate, causal):
    monkeypatch.chdir(tmp_path)
    recognizer(gate=gate, causal=causal).save("net.safetensors")
    assert main(["explain", "net.safetensors", str(clip)]) == 0
    page = " ".join((tmp_path / "net-clip-explained.html").read_text().split())
    assert f"between {'0.5 and 1.5' if gate == 'residual' else '0 and 1'}." in page
    assert f"all gates are near {'one.' if gate == 'residual' else 'one half.'}" in page
    assert f"compares each frame with the {'previous' if causal else 'next'} one" in page
    assert f"The {'first' if causal else 'last'} frame has none" in page
    assert ("this frame and the two before" in page) == causal


@pytest.mark.parametrize("init", ["shift", "identity"])
def test_movement_is_counted_from_where_the_kernels_began(clip, init):
    net = recognizer("tim_test_resnet", init=init)
    assert all(block.moved == 0 and block.gates is None for block in look_inside(net, clip).blocks)
    for module in net.model.modules():
        if isinstance(module, TIM):
            module.weight.data += 0.25
    assert {round(block.moved, 6) for block in look_inside(net, clip).blocks} == {0.25}


def test_frames_without_a_clock_are_numbered():
    inside = look_inside(recognizer(), miniatures.frames(0, 10))
    assert inside.times is None and frame_names(inside) == [str(i) for i in inside.indices]


def test_what_does_not_exist_is_named(clip):
    with pytest.raises(ConfigError, match=r"no class 'rihgt'\. Did you mean 'right'"):
        look_inside(recognizer(), clip, label="rihgt")


def test_the_command_writes_a_page(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net = recognizer(size=(64, 96))
    net.header["license"] = "MIT"
    net.save("net.safetensors")
    assert main(["explain", "net.safetensors", str(clip), "--label", "right"]) == 0
    page = (tmp_path / "net-clip-explained.html").read_text()
    assert "Where the network saw “right”" in page and "license of the weights: MIT" in page
    assert page.count("data:image/png") == 2 * 4 + 3  # frames, their maps, three diagrams
    frame = re.findall(r"data:image/png;base64,([^\"]+)", page)[0]
    assert Image.open(io.BytesIO(base64.b64decode(frame))).size == (96, 64)
    assert "http" not in page.replace("http-equiv", "")
    capsys.readouterr()
    assert main(["explain", "net.safetensors", str(clip), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["frame_logits"]) == 4 and said["blocks"][0]["kernel_movement"] == 0
    assert [value is None for value in said["blocks"][0]["gate"]] == [False, False, False, True]
    assert main(["explain", "net.safetensors", "nothing.mp4"]) == 2


@pytest.mark.parametrize(
    ("name", "times", "consensus"),
    [
        ("r2plus1d_18", 1, None),
        ("i3d_resnet50_8x8", 4, None),
        ("tsn_test_resnet", 8, "relation"),
        ("tsn_test_resnet", 8, "difference"),
    ],
)
def test_a_clips_maps_over_space_and_time_add_up_to_its_score(clip, name, times, consensus):
    """The mean over its frames of a map's sum is the clip's logit, but for the bias (by hand, in a linear head)."""
    torch.manual_seed(0)
    own = {} if name != "tsn_test_resnet" else {"consensus": consensus}
    model = teinet.create_model(name, num_classes=3, num_frames=8, **own)
    pixels = Preprocessing(size=64, short_side=64, **model.data_config)
    net = teinet.Recognizer(model, NAMES, preprocessing=pixels)
    inside = look_inside(net, clip, label="right")
    with torch.no_grad():
        frames = torch.from_numpy(inside.frames).permute(0, 3, 1, 2)[None]
        logits = model(frames)[0]
    assert inside.maps.shape[0] == len(inside.frames) == 8 and inside.blocks == []
    assert len({plane.tobytes() for plane in inside.maps}) == times
    np.testing.assert_allclose(inside.frame_logits.mean(), logits[1], rtol=1e-4, atol=1e-5)
    if not own:
        bias = float(model.cnn.fc.bias[1].detach())
        np.testing.assert_allclose(inside.maps.sum((1, 2)) + bias, inside.frame_logits, rtol=1e-3, atol=1e-5)
        weight = model.cnn.fc.weight[1]
        with torch.no_grad():
            features = model.cnn.feature_map(model._frames(frames).unflatten(0, (1, 8)).transpose(1, 2))
            classic = torch.einsum("c,cthw->thw", weight, features[0]) / features[0, 0, 0].numel()
        np.testing.assert_allclose(inside.maps[:: 8 // times], classic.numpy(), rtol=1e-3, atol=1e-6)


def test_a_long_clip_is_shown_by_some_of_its_frames(clip):
    net = teinet.Recognizer(teinet.create_model("i3d_resnet50_8x8", num_classes=3, num_frames=48), NAMES)
    net.preprocessing = Preprocessing(size=32, short_side=32, **net.model.data_config)
    inside = look_inside(net, clip)
    assert len(inside.frames) == len(inside.maps) == len(inside.times) == len(inside.indices) == 24


def test_a_network_without_a_single_last_map_is_refused(clip):
    net = teinet.Recognizer(teinet.create_model("slowfast_resnet50_4x16", num_classes=3), NAMES)
    with pytest.raises(ConfigError, match="SlowFast has no single last feature map to explain its answers by"):
        look_inside(net, str(clip))


def test_a_network_without_modules_says_so(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recognizer("tsn_test_resnet").save("tsn.safetensors")
    assert main(["explain", "tsn.safetensors", str(clip)]) == 0
    page = (tmp_path / "tsn-clip-explained.html").read_text()
    assert "neither MEM's motion gates nor TIM's temporal kernels" in page and page.count("data:image/png") == 8
