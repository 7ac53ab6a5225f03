"""The classifier: what goes in, the average over frames, and a state dict that is the CNN's own."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from teinet.errors import ConfigError
from teinet.models import VideoClassifier, create_model, set_num_frames
from tests.networks import wake

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def small(name: str = "teinet_resnet10t", num_frames: int = 2) -> VideoClassifier:
    torch.manual_seed(0)
    return wake(create_model(name, num_classes=5, num_frames=num_frames)).eval()


def clip(num_frames: int = 2, clips: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (clips, num_frames, 3, 32, 40), dtype=torch.uint8)


def test_logits_are_the_mean_of_the_frames():
    model = small("tsn_resnet10t")
    x = torch.randn(3, 2, 3, 32, 32)
    with torch.no_grad():
        alone = torch.stack([model.cnn(x[:, t]) for t in range(2)], 1)
        torch.testing.assert_close(model.frame_logits(x), alone)
        torch.testing.assert_close(model(x), alone.mean(1))


def test_uint8_is_normalised_inside():
    model = VideoClassifier(timm.create_model("resnet10t", num_classes=5), num_frames=2, mean=MEAN, std=STD).eval()
    x = clip()
    by_hand = (x / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    before = x.clone()
    with torch.no_grad():
        torch.testing.assert_close(model(x), model(by_hand))
    assert torch.equal(x, before)
    assert not {"mean", "std"} & set(model.state_dict())


def test_the_cnn_sees_channels_last():
    model, seen, layout = small(), [], {"memory_format": torch.channels_last}
    model.cnn.register_forward_pre_hook(lambda _m, args: seen.append(args[0].is_contiguous(**layout)))
    with torch.no_grad():
        model(clip()), model(clip().float())
    assert seen == [True, True]


def test_keys_are_timms_own_in_both_directions():
    plain = timm.create_model("resnet10t", num_classes=5)
    model = small("tsn_resnet10t")
    assert list(model.state_dict()) == list(plain.state_dict())
    assert model.load_state_dict(plain.state_dict()).missing_keys == []
    assert torch.equal(model.cnn.conv1[0].weight, plain.conv1[0].weight)
    plain.load_state_dict(small("tsn_resnet10t").state_dict())
    extra = set(small().state_dict()) - set(plain.state_dict())
    assert extra and all(".conv1.temporal." in key for key in extra)


def test_keys_have_no_wrapper_inside_another_module_either():
    class Trainer(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = small()

    trainer, other = Trainer(), Trainer()
    nn.init.normal_(trainer.model.head.weight)
    state = trainer.state_dict()
    assert set(state) == {f"model.{key}" for key in small().state_dict()} and not any("cnn" in key for key in state)
    other.load_state_dict(state)
    assert torch.equal(other.model.head.weight, trainer.model.head.weight)
    incomplete = {key: value for key, value in state.items() if key != "model.fc.weight"} | {"model.x.y": torch.ones(1)}
    result = other.load_state_dict(incomplete, strict=False)
    assert result.missing_keys == ["model.fc.weight"] and result.unexpected_keys == ["model.x.y"]


def test_a_wrong_clip_is_refused():
    model = small()
    with pytest.raises(ConfigError, match=r"T = 2 frames, got 4.*set_num_frames\(model, 4\)"):
        model(clip(4))
    with pytest.raises(ConfigError, match="B, T, 3, H, W"):
        model(torch.randn(4, 3, 32, 32))
    with pytest.raises(ConfigError, match="uint8"):
        model(clip().int())
    assert set_num_frames(model, 4)(clip(4)).shape == (3, 5)
    assert model.num_frames == model.config["num_frames"] == 4


def test_compiles_in_one_graph_and_exports_with_a_free_batch():
    model, x = small("teinet_test_resnet"), clip()
    with torch.no_grad():
        want = model(x)
        torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(x), want)
        program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
        torch.testing.assert_close(program.module()(x), want)
        more = clip(clips=5)
        torch.testing.assert_close(program.module()(more), model(more))


def test_the_head_is_named():
    model = small()
    assert model.head is model.cnn.fc and model.head_name == "fc" and model.num_classes == 5
    assert small("tsn_mobilenetv3_small_050").head_name == "classifier"
