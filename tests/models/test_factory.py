"""Names by one rule, backbone weights from a file, a new head, and messages that name what was meant."""

from __future__ import annotations

import logging
import time
from fnmatch import fnmatch
from functools import partial

import pytest
import timm
import timm.data
import torch
from safetensors.torch import save_file

from teinet.errors import CheckpointError, ConfigError
from teinet.layers import MEM, SE, SETIM, TEI, TIM, TSM
from teinet.models import create_model, list_models
from teinet.models.names import FRAMES_ONLY, PREFIXES, TIMM_MODULES, WITHOUT_BRANCH
from teinet.models.systems.table import SYSTEMS
from teinet.utils.text import natural
from tests.networks import weightless

NET = "resnet10t"


def save_backbone(path, num_classes=7):
    state = timm.create_model(NET, num_classes=num_classes).state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    return state


@pytest.mark.parametrize(
    ("prefix", "layer"),
    [("teinet", TEI), ("tim", TIM), ("mem", MEM), ("se_tim", SETIM), ("se", SE), ("tsm", TSM), ("tsn", type(None))],
)
def test_the_prefix_names_the_module(prefix, layer):
    model = create_model(f"{prefix}_{NET}", num_classes=3, num_frames=4)
    assert type(getattr(model.cnn.layer1[0].conv1, "temporal", None)) is layer
    assert model.config["name"] == f"{prefix}_{NET}"
    assert model(torch.zeros(2, 4, 3, 32, 32)).shape == (2, 3)


def test_a_new_head_is_small_and_dropout_stands_before_it():
    model = create_model(f"tsn_{NET}", num_classes=200)
    assert model.head.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert not model.head.bias.any() and model.cnn.drop_rate == 0.5
    assert create_model(f"tsn_{NET}", num_classes=2, dropout=0.8).cnn.drop_rate == 0.8


def test_options_reach_the_module():
    model = create_model(f"teinet_{NET}", num_classes=2, stages=(4, 5), reduction=4, gate="residual", init="identity")
    assert not hasattr(model.cnn.layer1[0].conv1, "temporal")
    tei = model.cnn.layer3[0].conv1.temporal
    assert tei.mem.conv1.out_channels == tei.channels // 4 and tei.mem.gate_form == "residual"
    assert (torch.tensor([0.0, 1.0, 0.0]) == tei.tim.V).all()
    assert model.config["stages"] == [4, 5] and model.config["gate"] == "residual"


def test_a_fresh_residual_teinet_is_nearly_tsm():
    """Its gates begin near one and its kernels at the shift, so it starts from what the backbone knows."""
    clips = torch.randint(0, 256, (2, 4, 3, 64, 64), dtype=torch.uint8)
    tsm = create_model("tsm_mobilenetv2_050", num_classes=3, num_frames=4, dropout=0).train()
    torch.nn.init.normal_(tsm.head.weight)
    teinet = create_model("teinet_mobilenetv2_050", num_classes=3, num_frames=4, gate="residual", dropout=0).train()
    teinet.load_state_dict(tsm.state_dict(), strict=False)
    want = tsm(clips)
    assert (teinet(clips) - want).norm() < 0.05 * want.norm()


def test_pixels_are_the_backbones():
    """tf_ networks were trained at mean and std 0.5 with bicubic resizing; torchvision's at ImageNet's, bilinear."""
    with torch.device("meta"):
        lite = create_model("tsn_tf_efficientnet_lite0", num_classes=2)
        tv = create_model("tsn_resnet18.tv_in1k", num_classes=2)
    assert lite.data_config == {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic"}
    assert tv.data_config["interpolation"] == "bilinear" and tv.data_config["mean"] == timm.data.IMAGENET_DEFAULT_MEAN


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_backbone_weights_load_before_insertion_and_the_head_is_replaced(tmp_path, caplog, suffix):
    path = tmp_path / f"backbone{suffix}"
    state = save_backbone(path)
    with caplog.at_level(logging.INFO, logger="teinet"):
        model = create_model(f"teinet_{NET}", num_classes=3, backbone_weights=path)
    own = model.state_dict()
    assert all(torch.equal(own[key], value) for key, value in state.items() if not key.startswith("fc."))
    assert own["fc.weight"].shape == (3, 512) and own["fc.weight"].abs().max() < 0.01
    assert "7" in caplog.text and "new one for 3 classes" in caplog.text


def test_a_head_of_the_same_size_is_kept(tmp_path, caplog):
    path = tmp_path / "backbone.safetensors"
    state = save_backbone(path, num_classes=3)
    with caplog.at_level(logging.INFO, logger="teinet"):
        model = create_model(f"tsm_{NET}", num_classes=3, backbone_weights=path)
    assert torch.equal(model.head.weight, state["fc.weight"]) and "new one" not in caplog.text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"layer1.0.conv1.weight": None}, "missing layer1.0.conv1.weight"),
        ({"layer9.weight": torch.ones(1)}, "unexpected layer9.weight"),
        ({"layer1.0.conv1.temporal.tim.weight": torch.ones(1)}, "whole recognizer"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, named):
    state = timm.create_model(NET, num_classes=7).state_dict() | change
    save_file({key: value for key, value in state.items() if value is not None}, tmp_path / "backbone.safetensors")
    with pytest.raises(CheckpointError, match=named):
        create_model(f"tim_{NET}", num_classes=3, backbone_weights=tmp_path / "backbone.safetensors")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("teinet_resnet5O", "Did you mean 'resnet50'"),
        ("resnet50", "Did you mean 'teinet_resnet50'"),
        ("tei_resnet18", r"Did you mean 'teinet_resnet18'\?"),
        ("my_resnet18", "Register a module of your own first"),
        ("teinet_vgg11", "no known residual branch"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        create_model(name, num_classes=2)


def test_settings_that_do_not_fit_are_refused(tmp_path):
    both = {"pretrained": True, "backbone_weights": tmp_path}
    for options in ({"num_classes": 0}, {"dropout": 1.5}, {"gaet": "paper"}, both):
        with pytest.raises(ConfigError):
            create_model(f"teinet_{NET}", **{"num_classes": 2, **options})


def test_the_list_follows_the_rule():
    names = list_models()
    assert len(names) == len(set(names)) and set(SYSTEMS) <= set(names)
    assert (len(names) - len(SYSTEMS) - 2 * len(FRAMES_ONLY)) % len(PREFIXES) == 0
    assert {"teinet_resnet50", "tsn_resnet50", "tsm_mobilenetv2_100", "se_tim_regnety_002"} <= set(names)
    assert set(list_models("teinet_*resnet50")) >= {"teinet_resnet50", "teinet_seresnet50"}
    assert list_models("nothing*") == []


def test_the_list_is_timms_own():
    listed = sorted((name for module in TIMM_MODULES for name in timm.list_models(module=module)), key=natural)
    wanted = [f"tsn_{n}" for n in listed if not any(map(partial(fnmatch, n), WITHOUT_BRANCH))]
    assert list_models("tsn_*") == [*wanted, "tsn_bninception", "tsn_inception_v3"]


@pytest.mark.parametrize("name", list_models("tim_*")[7::101])
def test_a_listed_name_builds(name):
    model = weightless(partial(create_model, name, num_classes=2))
    assert any(key.endswith(".temporal.weight") for key in model.state_dict())


def test_pretrained_weights_out_of_reach_name_the_other_way_in_within_seconds(monkeypatch):
    began = time.monotonic()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(CheckpointError, match=r"resnet18.* not be downloaded \(.*refused.*--backbone-weights FILE"):
        create_model("tsn_resnet18.fb_ssl_yfcc100m_ft_in1k", num_classes=2, pretrained=True)
    assert time.monotonic() - began < 5

    def no_network(*_, **__):
        raise OSError("no route to the hub")

    monkeypatch.setattr("teinet.models.factory._refuse_without_network", lambda backbone: None)
    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(
        CheckpointError, match=r"resnet10t could not be downloaded \(OSError: no route.*backbone_weights"
    ):
        create_model(f"tsn_{NET}", num_classes=2, pretrained=True)
