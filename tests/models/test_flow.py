"""Networks of optical flow: their first kernel, their size, and files and checkpoints that hold one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from teinet import create_model
from teinet.errors import CheckpointError, ConfigError
from teinet.models import load_weights, save_weights
from teinet.models.checkpoint import load_matching
from teinet.models.classifier import multiply_adds, parameters
from teinet.models.converters import convert_checkpoint
from teinet.models.freeze import layers_up_to
from teinet.models.optimized import optimize
from teinet.training.optim import parameter_groups
from teinet.training.recipe import OptimConfig
from tests.models.foreign import build, randomize, tsm_file
from tests.networks import weightless


def test_tsms_flow_network_has_the_size_that_its_authors_code_has():
    """mit-han-lab/temporal-shift-module, ResNet-50, 174 classes: 64 x 7 x 7 x 7 weights more than for RGB."""
    flow = weightless(lambda: create_model("tsm_resnet50", num_classes=174, modality="flow"))
    assert parameters(flow) == 23_886_510 == 23_864_558 + 64 * 7 * 49
    assert multiply_adds(flow, 224) / 1e9 == pytest.approx(34.90, abs=0.005)


def test_the_first_kernel_is_the_mean_over_rgb_ten_times(tmp_path):
    rgb = create_model("tsn_resnet18", num_classes=3)
    torch.save(rgb.state_dict(), tmp_path / "backbone.pth")
    flow = create_model("tsn_resnet18", num_classes=3, backbone_weights=tmp_path / "backbone.pth", modality="flow")
    red, green, blue = rgb.cnn.conv1.weight.unbind(1)
    for channel in flow.cnn.conv1.weight.unbind(1):
        torch.testing.assert_close(channel, (red + green + blue) / 3)
    assert flow.cnn.conv1.weight.shape == (64, 10, 7, 7)
    assert torch.equal(flow.cnn.layer1[0].conv1.weight, rgb.cnn.layer1[0].conv1.weight)


def test_flow_is_normalized_as_tsm_does():
    """TSM's models.py: mean 0.5, std the mean of 0.229, 0.224 and 0.225."""
    flow = create_model("tsm_resnet10t", num_classes=3, num_frames=2, modality="flow")
    clip = torch.full((1, 2, 10, 8, 8), 128, dtype=torch.uint8)
    torch.testing.assert_close(flow._frames(clip), torch.full((2, 10, 8, 8), (128 / 255 - 0.5) / 0.226))
    with pytest.raises(ConfigError, match=r"clips must be \(B, T, 10, H, W\), got \(1, 2, 3, 8, 8\)"):
        flow(clip[:, :, :3])
    with pytest.raises(ConfigError, match="mean has 3 numbers for images of 10 channels"):
        flow.set_pixels((0.5,) * 3, (0.5,) * 3)


def test_a_file_says_that_its_network_sees_flow(tmp_path):
    torch.manual_seed(0)
    flow = create_model("teinet_resnet10t", num_classes=3, num_frames=2, modality="flow").eval()
    save_weights(tmp_path / "a.safetensors", flow)
    again, header = load_weights(tmp_path / "a.safetensors")
    clip = torch.randint(0, 256, (1, 2, 10, 32, 32), dtype=torch.uint8)
    assert header["architecture"]["modality"] == "flow"
    assert torch.equal(again(clip), flow(clip))
    torch.testing.assert_close(optimize(flow, precision="fp32")(clip), flow(clip), rtol=1e-4, atol=1e-5)
    assert layers_up_to(flow, 1, size=(64, 64))[0] is flow.cnn.conv1[0]
    rgb = create_model("teinet_resnet10t", num_classes=3, num_frames=2)
    assert "modality" not in rgb.config
    with pytest.raises(CheckpointError, match="its network is of modality flow, and cannot start one of modality rgb"):
        load_matching(rgb, tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("tsm_resnet10t", {"modality": "depth"}, "modality is 'depth'; it must be rgb or flow"),
        ("tsm_resnet10t", {"modality": "flow", "causal": True}, "the causal form is for live video"),
        ("s3d", {"modality": "flow"}, "s3d takes RGB frames; .*such as tsm_resnet50"),
    ],
)
def test_what_has_no_flow_is_refused(name, options, says):
    with pytest.raises(ConfigError, match=says):
        create_model(name, num_classes=3, **options)


def test_the_first_kernel_learns_five_times_as_fast():
    flow = create_model("tsm_resnet18", num_classes=3, num_frames=2, modality="flow")
    groups = {group["name"]: group for group in parameter_groups(flow, flow.head, OptimConfig(), 0.01)}
    assert groups["first weight"]["lr"] == pytest.approx(0.05) and groups["weights"]["lr"] == 0.01
    assert [id(p) for p in groups["first weight"]["params"]] == [id(flow.cnn.conv1.weight)]
    rgb = create_model("tsm_resnet18", num_classes=3, num_frames=2)
    assert "first weight" not in {group["name"] for group in parameter_groups(rgb, rgb.head, OptimConfig(), 0.01)}


@torch.no_grad()
def test_a_checkpoint_of_tsms_flow_network_answers_as_before(tmp_path):
    theirs = build("tsm", "resnet18", 3, 4, shift=True)
    theirs.cnn.conv1 = nn.Conv2d(10, 64, 7, stride=2, padding=3, bias=False, device="meta")
    torch.save(tsm_file(randomize(theirs)), tmp_path / "flow.pth.tar")
    done = convert_checkpoint(tmp_path / "flow.pth.tar", class_names=["a", "b", "c"], num_frames=4)
    assert done.model.config["modality"] == "flow"
    x = torch.randn(1, 4, 10, 48, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, wanted = done.model.double()(x), theirs.double()(x)
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9)
    assert wanted.std() > 1e-3
