"""Every supported family, on tiny pictures: a temporal module enters, learns, and leaves the backbone's keys alone."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

from teinet.models import insert_temporal, set_num_frames
from teinet.models.families import BLOCKS
from teinet.models.insertion import find_places

SHORT = {"layers": (1, 1, 1, 1)}  # one block a stage, real widths
FAMILIES = {
    "resnet basic": ("resnet10t", {}),
    "resnet bottleneck": ("resnet14t", {}),
    "resnext": ("resnext50_32x4d", SHORT),
    "wide resnet": ("wide_resnet50_2", SHORT),
    "se-resnet": ("seresnet50", SHORT),
    "regnet x": ("regnetx_002", {}),
    "regnet y": ("regnety_002", {}),
    "mobilenet v2": ("mobilenetv2_035", {}),
    "mobilenet v3": ("mobilenetv3_small_050", {}),
    "mobilenet v4": ("mobilenetv4_conv_small_035", {}),
    "efficientnet": ("tinynet_e", {}),
    "efficientnet v2": ("tf_efficientnetv2_b0", {}),
    "efficientnet lite": ("tf_efficientnet_lite0", {}),
    "convnext": ("convnext_atto", {}),
    "resnet v2": ("resnetv2_50", SHORT),
    "res2net": ("res2net50_26w_4s", SHORT),
    "resnest": ("resnest14d", {}),
    "sknet": ("skresnet18", {}),
    "senet": ("legacy_seresnet18", {}),
    "dla": ("dla46_c", {}),
    "hrnet": ("hrnet_w18_small", {}),
    "cspnet": ("cs3darknet_focus_s", {}),
    "nfnet": ("nf_regnet_b0", {}),
    "rexnet": ("rexnet_100", {}),
    "repvit": ("repvit_m0_9", {}),
    "inception next": ("inception_next_atto", {}),
    "starnet": ("starnet_s1", {}),
    "byobnet": ("gernet_s", {}),
    "hardcorenas": ("hardcorenas_a", {}),
    "tresnet": ("tresnet_m", SHORT),
    "byobnet dark and edge": ("test_byobnet", {}),
    "cspnet bottleneck": ("cspresnext50", {}),
    "cspnet edge": ("cs3edgenet_x", {}),
    "dla basic": ("dla34", {}),
    "dla res2next": ("dla60_res2next", {}),
    "regnet pre-activation": ("regnetv_040", {}),
    "resnet v2 pre-activation": ("resnetv2_18", {}),
    "senet bottleneck": ("legacy_seresnext26_32x4d", {}),
    "sknet bottleneck": ("skresnet50", SHORT),
    "torchvision resnet bottleneck": (torchvision.models.resnet50, {}),
    "torchvision resnet": (torchvision.models.resnet18, {}),
    "torchvision mobilenet v2": (torchvision.models.mobilenet_v2, {"width_mult": 0.35}),
    "torchvision regnet": (torchvision.models.regnet_x_400mf, {}),
    "torchvision convnext": (
        torchvision.models.ConvNeXt,
        {"block_setting": [torchvision.models.convnext.CNBlockConfig(c, 2 * c, 1) for c in (24, 48, 96)]
         + [torchvision.models.convnext.CNBlockConfig(192, None, 1)]},
    ),
}  # fmt: skip


def backbone(family: str) -> nn.Module:
    make, options = FAMILIES[family]
    torch.manual_seed(0)
    if callable(make):
        return make(num_classes=6, **options)
    return timm.create_model(make, num_classes=6, **options)


# Blocks of which the library has no network of its own: variants that a user may build.
WITHOUT_NETWORK = {"timm.models.resnetv2.Bottleneck"}


def test_every_block_that_is_known_is_tried():
    kinds = {cls for family in FAMILIES for module in backbone(family).modules() for cls in type(module).__mro__}
    seen = {f"{cls.__module__}.{cls.__qualname__}" for cls in kinds}
    assert set(BLOCKS) - seen == WITHOUT_NETWORK


@torch.no_grad()
def wake(cnn: nn.Module) -> None:
    """Fresh residual branches are often scaled by 0 or 1e-6: give each scale a size that lets the branch count."""
    for parameter in cnn.parameters():
        if parameter.dim() <= 1 or parameter.abs().max() < 1e-3:
            parameter.uniform_(0.3, 1.0)
    for module in cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # one pass in training mode then sets the statistics to that pass's own


def pictures(num_frames: int, size: int = 32, clips: int = 2) -> torch.Tensor:
    x = torch.randn(clips * num_frames, 3, size, size, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family(family):
    plain = backbone(family)
    before = {key: value.clone() for key, value in plain.state_dict().items()}
    places = {p.name for p in find_places(plain) if p.shortcut and 2 <= p.stage <= 5}
    net = insert_temporal(plain, "tei", num_frames=4)
    after = net.state_dict()

    # The backbone's keys and values are as they were; the new keys lie beside the convolutions that they belong to.
    assert all(torch.equal(after[key], value) for key, value in before.items())
    layer = [f"mem.conv{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")] + ["tim.weight"]
    assert set(after) - set(before) == {f"{place}.temporal.{key}" for place in places for key in layer}

    wake(net)
    net.train()
    net(pictures(4, 64)).square().sum().backward()
    for key, parameter in net.named_parameters():
        if ".temporal." in key:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    assert all(net.get_submodule(p).temporal.tim.weight.grad.any() for p in places)

    net.eval()
    other = insert_temporal(backbone(family), "tei", num_frames=4).eval()
    assert not other.load_state_dict(net.state_dict()).missing_keys
    with torch.no_grad():
        x = pictures(4)
        torch.testing.assert_close(other(x), net(x))
        for num_frames in (1, 4, 8, 16):
            x = pictures(num_frames, clips=1)
            y = set_num_frames(net, num_frames)(x)
            assert y.shape == (num_frames, 6) and y.isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_tim_with_the_shift_kernel_is_tsm_through_the_network(family):
    plain = backbone(family)
    wake(plain)
    with torch.no_grad():
        plain.train()(pictures(4, 64))
    plain.eval()
    tim, tsm = (insert_temporal(copy.deepcopy(plain), name, num_frames=4) for name in ("tim", "tsm"))
    x = pictures(4, 64)
    with torch.no_grad():
        ours, theirs, without = tim(x), tsm(x), plain(x)
    scale = theirs.abs().max()
    assert (ours - theirs).abs().max() <= 1e-5 * scale
    assert (without - theirs).abs().max() > 1e-3 * scale, "the shift has no effect: this test would prove nothing"
