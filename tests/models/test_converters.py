"""A converted network answers as the foreign one does; what is not supported is refused in one line that says why."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from teinet.errors import CheckpointError, ConfigError
from teinet.models import load_weights, save_weights
from teinet.models.checkpoint_keys import find_resnet
from teinet.models.converters import contradictions, convert_checkpoint, frames_in_name
from tests.models.foreign import FILES, build, randomize, tsm_file

T = 4
NAMES = ["wave", "clap", "jump", "rest", "walk"]


@torch.no_grad()
def same(ours: nn.Module, theirs: nn.Module) -> None:
    x = torch.randn(1, T, 3, 48, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = ours.double().eval()(x), theirs.double().eval()(x)
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert a.std() > 1e-3  # not the same because both are nothing


@pytest.mark.parametrize(
    ("format", "backbone", "shift", "legacy"),
    [
        ("tsm", "resnet18", True, False), ("tsm", "resnet50", True, True), ("tsm", "mobilenetv2_100", True, False),
        ("tsm", "resnet18", False, True), ("mmaction", "resnet18", True, True), ("mmaction", "resnet50", False, False),
        ("mmaction", "mobilenetv2_100", True, True),
    ],
)  # fmt: skip
def test_the_answers_stay(tmp_path, format, backbone, shift, legacy):
    net = randomize(build(format, backbone, 5, T, shift=shift))
    path = tmp_path / "net.pth.tar"
    torch.save(FILES[format](net), path, _use_new_zipfile_serialization=not legacy)
    done = convert_checkpoint(path, class_names=NAMES, num_frames=T)
    assert done.format == format and done.interpolation == "bilinear" and "optimizer" in done.left_out
    save_weights(tmp_path / "ours.safetensors", done.model, {"class_names": NAMES})
    ours, header = load_weights(tmp_path / "ours.safetensors")
    assert header["architecture"]["name"] == f"{'tsm' if shift else 'tsn'}_{backbone}"
    assert header["class_names"] == NAMES and ours.num_frames == T
    same(ours, net)


def test_another_division_of_channels_is_kept(tmp_path):
    net = randomize(build("tsm", "resnet18", 5, T, shift=True, div=4))
    torch.save(tsm_file(net), tmp_path / "a.pth")
    done = convert_checkpoint(tmp_path / "a.pth", class_names=NAMES, num_frames=T, n_div=4)
    save_weights(tmp_path / "a.safetensors", done.model)
    same(load_weights(tmp_path / "a.safetensors")[0], net)


class PerFrame(nn.Module):
    def __init__(self, cnn: nn.Module):
        super().__init__()
        self.cnn = cnn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cnn(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)


@pytest.mark.parametrize("kind", ["torchvision", "timm, named", "timm, by its file", "safetensors"])
def test_plain_networks_become_tsn(tmp_path, kind):
    name = {"timm, named": "tf_efficientnet_lite0", "timm, by its file": "seresnet18"}.get(kind, "resnet18")
    make = torchvision.models.get_model if kind == "torchvision" else timm.create_model
    net = randomize(make(name, num_classes=5))
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    if kind == "safetensors":
        save_file(net.state_dict(), path, {"format": "pt"})
    elif kind == "timm, by its file":
        torch.save({"epoch": 3, "arch": name, "state_dict": net.state_dict(), "state_dict_ema": net.state_dict()}, path)
    else:
        torch.save({"model": net.state_dict(), "epoch": 1} if kind == "torchvision" else net.state_dict(), path)
    named = "tf_efficientnet_lite0" if kind == "timm, named" else None
    done = convert_checkpoint(path, class_names=NAMES, num_frames=T, backbone=named)
    assert done.format == "timm" and done.model.config["name"] == f"tsn_{name}"
    assert done.interpolation == ("bilinear" if name == "resnet18" else "bicubic")
    left_out = {"torchvision": {"epoch"}, "timm, by its file": {"epoch", "arch", "state_dict_ema"}}
    assert set(done.left_out) == left_out.get(kind, set())
    same(done.model, PerFrame(net))
    assert done.model.data_config["mean"] == ((0.5,) * 3 if named else (0.485, 0.456, 0.406))


@pytest.mark.parametrize(
    ("format", "backbone", "keys"),
    [
        ("tsm", "resnet50", "base_model.layer1.0.conv1.net base_model.layer1.0.bn1 new_fc"),
        ("tsm", "mobilenetv2_100", "base_model.features.3.conv.0.net base_model.features.1.conv.0"),
        ("mmaction", "resnet50", "backbone.layer1.0.conv1.conv.net backbone.layer1.0.downsample.conv"),
        ("mmaction", "mobilenetv2_100", "backbone.layer2.1.conv.0.net.conv backbone.conv2.conv"),
    ],
)
def test_the_networks_of_these_tests_have_the_projects_keys(format, backbone, keys):
    own = build(format, backbone, 5, T, shift=True).weights()
    assert {f"{key}.weight" for key in keys.split()} <= set(own)
    shifted = sum(".net." in key and key.endswith("weight") and own[key].dim() == 4 for key in own)
    assert shifted == (10 if backbone == "mobilenetv2_100" else 16)


# What is refused.


def blank(*args, **options) -> nn.Module:
    """A project's network whose weights are zeros and take no room in a file."""
    net = build(*args, **options)
    net.load_state_dict({k: torch.zeros(()).expand(v.shape) for k, v in net.state_dict().items()}, assign=True)
    return net


def test_a_resnet101_of_tsm_shifts_every_second_block_and_no_other(tmp_path):
    torch.save(tsm_file(blank("tsm", "resnet101", 5, T, shift=True, every=2)), tmp_path / "a.pth")
    done = convert_checkpoint(tmp_path / "a.pth", class_names=NAMES, num_frames=T)
    assert done.model.config["name"] == "tsm_resnet101" and done.model.config["every"] == 2
    torch.save(tsm_file(blank("tsm", "resnet101", 5, T, shift=True)), tmp_path / "a.pth")
    message = r"a\.pth: has 33 temporal shifts .*resnet101 has 18 .extra before layer1\.1\.conv1"
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint(tmp_path / "a.pth", class_names=NAMES, num_frames=T)


KERNEL = torch.ones(64, 15, 7, 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_model.conv1.weight": KERNEL}, "15 channels .*RGB"),
        ({"base_model.layer2.0.nl.g.weight": KERNEL}, "non-local blocks"),
        ({"base_model.layer2.0.net.conv1.weight": KERNEL}, "shifts whole blocks"),
        ({"base_model.layer2.0.tam.G.0.weight": KERNEL}, "TANet"),
        ({"base_model.extra.weight": KERNEL}, r"tsm_resnet18.*unexpected extra\.weight"),
        ({"base_model.layer2.1.conv2.net.weight": KERNEL}, "extra before .*conv2"),
        ({"base_model.layer1.0.bn1.weight": None}, r"missing layer1\.0\.bn1\.weight"),
        ({"new_fc.weight": None}, "has no classification layer"),
        ({"new_fc.weight": torch.ones(6, 512)}, "6 classes, but 5 class names"),
        ({"base_model.layer1.0.conv1.temporal.x": KERNEL}, "teinet recognizer already"),
        ({"base_model.conv1.weight": torch.ones(64, 3, 1, 7, 7)}, "3-D"),
        ({"backbone.conv1.conv.weight": torch.ones(64, 3, 1, 7, 7)}, "MMAction2.*fit none of i3d_resnet50_mmaction"),
        ({"backbone.extra.weight": KERNEL}, r"unexpected backbone\.extra\.weight"),
        ({"backbone.layer1.0.conv3.conv.weight": KERNEL}, "none of the supported networks.*MobileNetV2"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path, changes, message):
    format = "mmaction" if next(iter(changes)).startswith("backbone") else "tsm"
    torch.save(FILES[format](blank(format, "resnet18", 5, T, shift=True), **changes), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=rf"a\.pth: .*{message}"):
        convert_checkpoint(tmp_path / "a.pth", class_names=NAMES, num_frames=T)


def test_settings_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save(tsm_file(blank("tsm", "resnet18", 5, T, shift=True)), path)
    for options, error, message in (
        ({"num_frames": None}, ConfigError, "its tsm_resnet18: give --frames T"),
        ({"format": "mmaction"}, CheckpointError, "not those of MMAction2.*format tsm"),
        ({"format": "tms"}, ConfigError, "unknown format 'tms'.*'tsm'"),
        ({"backbone": "resnet18"}, ConfigError, "leave out backbone"),
        ({"class_names": ["a"] * 5}, ConfigError, "twice"),
    ):
        with pytest.raises(error, match=message):
            convert_checkpoint(path, **{"class_names": NAMES, "num_frames": T, **options})
    with pytest.raises(CheckpointError, match="no such file"):
        convert_checkpoint(tmp_path / "absent.pth", class_names=NAMES)


def test_networks_that_no_key_names_ask_for_their_name(tmp_path):
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), tmp_path / "a.pth")
    for backbone, error, message in (
        (None, CheckpointError, "--backbone NAME"),
        ("test_resnet.x", ConfigError, r"no weights .x. for test_resnet"),
        ("test_resnett", ConfigError, "Did you mean"),
    ):
        with pytest.raises(error, match=message):
            convert_checkpoint(tmp_path / "a.pth", class_names=NAMES, backbone=backbone)
    assert convert_checkpoint(tmp_path / "a.pth", class_names=NAMES, backbone="test_resnet").model.num_frames == 8


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("TSM_something_RGB_resnet50_shift8_blockres_avg_segment16_e45.pth", 16),
        ("tsm_r50_dense_1x1x8_100e_kinetics400_rgb.pth", 8),
        ("i3d_r50_32x2x1_100e.pth", None),
    ],
)
def test_names_give_hints(name, frames):
    assert frames_in_name(f"/models/segment3/{name}") == frames


def test_names_that_say_otherwise_are_noted():
    settings = {"num_frames": 8, "n_div": 8, "strategy": "sparse"}
    assert contradictions("TSM_x_shift8_blockres_avg_segment8_e45.pth", **settings) == []
    notes = contradictions("TSM_x_shift4_blockres_avg_segment16_e100_dense.pth", **settings)
    assert [word in note for word, note in zip(("16 frames", "shift4", "dense"), notes, strict=True)] == [True] * 3


def test_a_tsn_is_given_eight_frames_unless_its_name_says_something(tmp_path):
    torch.save(torchvision.models.resnet18(num_classes=5).state_dict(), tmp_path / "segment5.pth")
    with pytest.raises(ConfigError, match="The file's name says 5"):
        convert_checkpoint(tmp_path / "segment5.pth", class_names=NAMES)
    (tmp_path / "segment5.pth").rename(tmp_path / "a.pth")
    assert convert_checkpoint(tmp_path / "a.pth", class_names=NAMES).model.num_frames == 8


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d"]
)
def test_plain_resnets_are_known_by_their_keys_and_shapes(name):
    with torch.device("meta"):
        state = getattr(torchvision.models, name)().state_dict()
    assert find_resnet(state) == (name if name.startswith("resnet") else None)
