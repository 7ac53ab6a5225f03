"""The paper's parameter counts and the multiply-adds of an exact implementation (ResNet-50, 400 classes, 224x224)."""

from __future__ import annotations

from functools import partial

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from teinet.models import create_model, insert_temporal, set_num_frames
from tests.networks import weightless

FIGURES = {  # network: parameters, GMACs at 8 frames, at 16 frames
    "tsn": (24_327_632, 32.70, 65.41),
    "tsm": (24_327_632, 32.70, 65.41),
    "tim": (24_366_992, 32.84, 65.68),
    "teinet": (30_356_896, 32.88, 65.77),
}


@pytest.mark.parametrize("name", FIGURES)
def test_parameters_and_multiply_adds(name):
    with torch.device("meta"):
        model = create_model(f"{name}_resnet50", num_classes=400).eval()
    parameters, *gmacs = FIGURES[name]
    assert sum(p.numel() for p in model.parameters()) == parameters
    for num_frames, expected in zip((8, 16), gmacs, strict=True):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            set_num_frames(model, num_frames)(torch.zeros(1, num_frames, 3, 224, 224, device="meta"))
        assert round(counter.get_total_flops() / 2e9, 2) == expected


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("resnet50", {}, 16), ("resnet50", {"stages": (4, 5)}, 9),  # the paper, Table 1c: res2-res5, res4-res5
        ("resnet50", {"stages": (2,)}, 3), ("resnet18", {}, 8), ("resnet101", {}, 33),
        ("mobilenetv2_100", {}, 10),  # TSM's own MobileNetV2
        ("tf_efficientnet_lite0", {}, 9), ("tf_efficientnet_lite0", {"shortcut_only": False}, 15),
        ("convnext_tiny", {}, 18), ("regnety_002", {}, 13),  # 3 + 3 + 9 + 3, 1 + 1 + 4 + 7
    ],
)  # fmt: skip
def test_number_of_modules(name, options, count):
    cnn = insert_temporal(weightless(partial(timm.create_model, name)), "tsm", **options)
    assert sum(name.endswith(".temporal") for name, _ in cnn.named_modules()) == count
