"""Causal networks: no frame's logits hang on a later one, and weights of the bidirectional form can start them."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch

import teinet
from teinet.models import set_num_frames
from teinet.models.checkpoint import convert_kernels, load_matching, save_weights
from teinet.models.insertion import insert_temporal, is_causal, temporal_modules

PREFIXES = ["teinet", "tim", "mem", "se_tim", "se", "tsm", "tsn"]


def network(prefix: str, *, causal: bool = True, **options) -> torch.nn.Module:
    """A small network whose temporal modules count, in float64 and evaluation mode; a copy of its own."""
    model = copy.deepcopy(_network(prefix, causal, **options))
    torch.manual_seed(0)
    return model


@cache
def _network(prefix: str, causal: bool, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    model = teinet.create_model(f"{prefix}_test_resnet", num_classes=3, num_frames=6, causal=causal, **options)
    for name, parameter in model.named_parameters():
        if ".temporal." in name or f".{model.head_name}." in name:
            torch.nn.init.normal_(parameter, std=0.3)
        elif parameter.dim() == 1:  # norms: at the end of a fresh branch they are zero, and hide it
            torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.2)
    for module in model.modules():  # statistics under which features have a size, and logits are no mere biases
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    model.train()(torch.randn(4, 6, 3, 48, 48))
    return model.double().eval()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_first_frames_do_not_know_how_many_follow(prefix):
    model = network(prefix)
    assert is_causal(model) and model.config["causal"]
    clip = torch.randn(2, 6, 3, 48, 48, dtype=torch.float64)
    logits = model.frame_logits(clip)
    for t in (1, 3):
        shorter = set_num_frames(model, t).frame_logits(clip[:, :t])
        torch.testing.assert_close(shorter, logits[:, :t], rtol=1e-10, atol=1e-10)
    clip[:, 0] += 1  # but the second knows the first, where a module looks back at all
    known = (set_num_frames(model, 6).frame_logits(clip) - logits).abs().amax((0, 2)) > 1e-6
    assert known[:2].tolist() == [True, prefix not in ("se", "tsn")]


@pytest.mark.parametrize("prefix", ["teinet", "tim", "mem", "se_tim", "tsm"])
def test_bidirectional_networks_are_not_causal(prefix):
    model = network(prefix, causal=False)
    assert not is_causal(model) and not model.config["causal"]
    clip = torch.randn(1, 6, 3, 48, 48, dtype=torch.float64)
    shorter = set_num_frames(model, 3).frame_logits(clip[:, :3])
    assert (shorter - set_num_frames(model, 6).frame_logits(clip)[:, :3]).abs().max() > 1e-6


def test_kernels_keep_what_they_can():
    bidirectional = {
        "a.temporal.tim.weight": torch.tensor([1.0, 2.0, 4.0]).view(1, 1, 3, 1),
        "b.weight": torch.ones(1, 1, 3, 1),
    }
    causal = convert_kernels(bidirectional, causal=True)
    assert causal["a.temporal.tim.weight"].flatten().tolist() == [0, 1, 6]
    assert causal["b.weight"] is bidirectional["b.weight"]
    back = convert_kernels(causal, causal=False)
    assert back["a.temporal.tim.weight"].flatten().tolist() == [1, 6, 0]


@pytest.mark.parametrize("prefix", ["teinet", "tim", "tsm"])
def test_weights_of_the_bidirectional_form_start_a_causal_network(tmp_path, prefix, caplog):
    source = network(prefix, causal=False).float()
    save_weights(tmp_path / "two.safetensors", source, {"class_names": list("abc")})
    model = network(prefix).float()
    with caplog.at_level("INFO", logger="teinet"):
        load_matching(model, tmp_path / "two.safetensors", class_names=list("abc"))
    assert "converted to the causal form" in caplog.text
    own, theirs = model.state_dict(), source.state_dict()
    for key in own:
        if not key.endswith(("temporal.weight", "tim.weight")):
            assert torch.equal(own[key], theirs[key])


def test_a_callable_of_your_own_is_told():
    seen = []

    def make(channels, *, num_frames, causal=False):
        seen.append(causal)
        return torch.nn.Identity()

    from timm import create_model

    net = insert_temporal(create_model("test_resnet"), make, num_frames=4, causal=True)
    assert seen and all(seen) and not is_causal(net) and temporal_modules(net)
