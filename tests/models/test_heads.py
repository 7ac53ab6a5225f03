"""Heads that see motion: in create_model, files, fast forms, live, training."""

from __future__ import annotations

import copy

import pytest
import torch

import teinet
from teinet.errors import ConfigError
from teinet.models.checkpoint import load_weights, save_weights
from teinet.models.classifier import VideoClassifier
from teinet.models.consensus import TemporalHead, in_parts
from teinet.models.insertion import is_causal
from teinet.models.optimized import optimize
from teinet.models.streaming import StreamingClassifier

SIZE = 64


def network(consensus: str, name: str = "tsn_resnet10t", frames: int = 6, **how) -> VideoClassifier:
    torch.manual_seed(0)
    model = teinet.create_model(name, num_classes=3, num_frames=frames, consensus=consensus, **how)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


def clips(count: int = 2, frames: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (count, frames, 3, SIZE, SIZE), dtype=torch.uint8)


@pytest.mark.parametrize(
    "name", ["tsn_resnet10t", "tsn_tf_efficientnet_lite0", "tsn_convnext_atto", "teinet_resnet10t"]
)
def test_the_motion_head_is_a_linear_layer_on_means_and_changes_of_the_last_maps(name):
    model, x = network("motion", name), clips()
    with torch.no_grad():
        maps = model.cnn.forward_features(model._frames(x)).unflatten(0, (2, 6)).double()
        if "convnext" in name:  # which normalizes its maps in the head
            maps = model.cnn.head.norm(maps.float().flatten(0, 1)).unflatten(0, (2, 6)).double()
        means = maps.mean((-2, -1))
        changes = torch.cat([(maps[:, 1:] - maps[:, :-1]).abs().mean((-2, -1)), means.diff(dim=1).abs()], 2)
        changes = torch.cat([changes[:, :1], changes], 1).mean(1)
        features = torch.cat([means.mean(1), changes], 1)
        want = features @ model.head.weight.double().T + model.head.bias.double()
        torch.testing.assert_close(model(x).double(), want, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.features(x).mean(1).double(), features, rtol=1e-4, atol=1e-4)


def test_the_temporal_head_sees_the_order_of_frames_and_the_motion_head_of_a_2d_network_does_not():
    x = clips()
    with torch.no_grad():
        motion, temporal = network("motion"), network("temporal")
        first = motion.features(x)[:, 1:].mean(1) - motion.features(x.flip(1))[:, 1:].mean(1)
        assert first[:, -2 * 512 :].abs().max() < 1e-4
        assert (temporal(x) - temporal(x.flip(1))).abs().max() > 0.1


def test_quarters_of_a_clip():
    features = torch.arange(8.0).view(1, 8, 1)
    assert in_parts(features).tolist() == [[0.5, 2.5, 4.5, 6.5]]
    assert in_parts(features[:, :4]).tolist() == [[0, 1, 2, 3]]
    assert in_parts(features[:, :1]).tolist() == [[0, 0, 0, 0]]
    assert TemporalHead(1, 2)(features[:, :6]).shape == (1, 2)  # six frames: each quarter has two, some of them shared


@pytest.mark.parametrize("name", ["tsn_resnet10t", "teinet_resnet10t"])
def test_difference_heads_see_each_frame_and_its_difference_from_the_one_before(name):
    """Both go through the network as clips of their own, the differences as images around gray."""
    model, x = network("difference", name), clips()
    twin = network("motion", name)
    twin.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("consensus.")}, strict=False)
    pixels = x.float()
    changes = pixels[:, 1:] - pixels[:, :-1] + 127.5
    differences = torch.cat([changes[:, :1], changes], 1).clamp(0, 255)  # float: halves of gray levels
    with torch.no_grad():
        seen = (differences / 255 - model.mean[None]) / model.std[None]
        want = torch.cat([twin.features(x), twin.features(seen)], 2)
        torch.testing.assert_close(model.features(x), want, rtol=1e-4, atol=1e-4)
        logits = want.mean(1) @ model.head.fc.weight.T + model.head.fc.bias
        torch.testing.assert_close(model(x), logits, rtol=1e-4, atol=1e-4)
        ordered = network("temporal_difference", name)
        for one in (ordered, model):
            one.cnn.load_state_dict(twin.cnn.state_dict(), strict=False)
        logits = in_parts(model.features(x)) @ ordered.head.fc.weight.T + ordered.head.fc.bias
        torch.testing.assert_close(ordered(x), logits, rtol=1e-4, atol=1e-4)
        assert (model(x)[:1] - model(x[:1])).abs().max() < 1e-4  # clips of a batch do not mix


@pytest.mark.parametrize("consensus", ["motion", "temporal", "difference", "temporal_difference"])
def test_a_file_holds_it_and_folding_keeps_its_answers(consensus, tmp_path):
    model, x = network(consensus, "teinet_resnet10t"), clips()
    save_weights(tmp_path / "w.safetensors", model, {"class_names": ["a", "b", "c"]})
    again, header = load_weights(tmp_path / "w.safetensors")
    assert header["architecture"]["consensus"] == consensus
    with torch.no_grad():
        want = model(x)
        assert torch.equal(again(x), want) and torch.equal(copy.deepcopy(model)(x), want)
        torch.testing.assert_close(optimize(model, precision="fp32")(x), want, rtol=1e-4, atol=1e-4)
        bf16 = optimize(model, precision="bf16")(x)
        assert (bf16 - want).abs().max() < 0.05 * want.abs().max()


@pytest.mark.parametrize("consensus", ["motion", "difference"])
@pytest.mark.parametrize("name", ["tsn_resnet10t", "teinet_resnet10t"])
def test_live_a_causal_head_that_sees_motion_gives_the_logits_of_a_clip(name, consensus):
    model, x = network(consensus, name, causal=True), clips()
    assert is_causal(model)
    assert not is_causal(network(consensus, name, frames=2)) and not is_causal(network("temporal", name, frames=2))
    with torch.no_grad():
        want = model.frame_logits(x)
        for size in (1, 3):
            stream = StreamingClassifier(model)
            state = stream.init_state(x[:, 0])
            found = []
            for first in range(0, 6, size):
                logits, state = stream(x[:, first : first + size], state)
                found.append(logits)
            torch.testing.assert_close(torch.cat(found, 1), want, rtol=1e-4, atol=1e-4)


def test_dropout_is_the_heads_own_and_gradients_reach_the_backbone():
    for consensus in ("motion", "temporal", "difference", "temporal_difference"):
        model = network(consensus, dropout=0.5).train()
        assert getattr(model.cnn, "drop_rate", 0) == 0
        model(clips()).sum().backward()
        first = next(model.cnn.parameters())
        assert first.grad is not None and first.grad.abs().max() > 0


@pytest.mark.parametrize("consensus", ["motion", "difference", "temporal_difference"])
def test_another_number_of_frames(consensus):
    model = network(consensus)
    still = clips(1, 1).expand(1, 6, 3, SIZE, SIZE)
    with torch.no_grad():
        six = model(still)
        torch.testing.assert_close(teinet.set_num_frames(model, 3)(still[:, :3]), six, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(teinet.set_num_frames(model, 1)(still[:, :1]), six, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "how", "says"),
    [
        ("trn_resnet10t", {"consensus": "motion"}, "has the consensus relation"),
        ("tsn_resnet10t", {"consensus": "temporal", "causal": True}, "temporal has no causal form"),
        ("tsn_vit_tiny_patch16_224", {"consensus": "motion"}, "take another network, or consensus average"),
        (
            "tsn_resnet10t",
            {"consensus": "motions"},
            "must be one of average, motion, temporal, difference, temporal_difference",
        ),
        ("tsn_resnet10t", {"consensus": "temporal_difference", "causal": True}, "temporal_difference has no causal"),
    ],
)
def test_what_does_not_fit_is_said(name, how, says):
    with pytest.raises(ConfigError, match=says):
        teinet.create_model(name, num_classes=2, **how)
