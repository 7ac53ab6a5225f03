"""Every supported family, on tiny images: a temporal module enters, learns, streams, and leaves the backbone alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import pytest
import timm
import torch
import torchvision
from timm.models import cspnet
from torch import nn
from torchvision.models import convnext, resnet

from teinet.models import VideoClassifier, insert_temporal, set_num_frames
from teinet.models.families import BLOCKS
from teinet.models.insertion import find_places
from teinet.models.streaming import StreamingClassifier
from tests.networks import weightless

SHORT = {"layers": (1, 1, 1, 1)}  # one block a stage, real widths
NARROW = {"stages": replace(cspnet.model_cfgs["cs3edgenet_x"].stages, depth=(1, 1, 1, 1), out_chs=(32, 64, 96, 128))}
FAMILIES = {
    "resnet basic": ("resnet10t", {}),
    "resnet bottleneck": ("resnet14t", {}),  # the block of ResNeXt, wide and SE networks too
    "regnet": ("regnety_002", {}),
    "regnet pre-activation": ("regnetv_040", {"depth": 13, "w0": 24, "wa": 36.44, "wm": 2.49, "group_size": 8}),
    "mobilenet v2": ("mobilenetv2_035", {}),
    "mobilenet v3": ("mobilenetv3_small_050", {}),
    "mobilenet v4": ("mobilenetv4_conv_small_035", {}),
    "efficientnet": ("tinynet_e", {}),
    "efficientnet v2": ("tf_efficientnetv2_b0", {}),
    "efficientnet lite": ("tf_efficientnet_lite0", {}),
    "convnext": ("convnext_atto", {}),
    "resnet v2": ("resnetv2_50", SHORT),
    "resnet v2 pre-activation": ("resnetv2_18", SHORT),
    "res2net": ("res2net50_26w_4s", SHORT),
    "resnest": ("resnest14d", {}),
    "sknet": ("skresnet18", SHORT),
    "sknet bottleneck": ("skresnet50", SHORT),
    "senet": ("legacy_seresnet18", {}),
    "senet bottleneck": ("legacy_seresnext26_32x4d", {}),
    "dla": ("dla46_c", {}),
    "dla basic": ("dla34", {"levels": (1, 1, 1, 1, 1, 1)}),
    "dla res2next": ("dla60_res2next", {"levels": (1, 1, 1, 1, 1, 1)}),
    "hrnet": ("hrnet_w18_small", {}),
    "cspnet dark": ("cs3darknet_focus_s", {}),
    "cspnet edge": ("cs3edgenet_x", NARROW),
    "cspnet bottleneck": ("cs3edgenet_x", {"stages": replace(NARROW["stages"], block_type="bottle")}),
    "nfnet": ("nf_regnet_b0", {}),
    "rexnet": ("rexnet_100", {}),
    "repvit": ("repvit_m0_9", {}),
    "inception next": ("inception_next_atto", {}),
    "starnet": ("starnet_s1", {}),
    "byobnet": ("gernet_s", {}),
    "byobnet dark and edge": ("test_byobnet", {}),
    "tresnet": ("tresnet_m", SHORT),
    "torchvision resnet": (resnet.ResNet, {"block": resnet.BasicBlock, "layers": [1, 1, 1, 1]}),
    "torchvision resnet bottleneck": (resnet.ResNet, {"block": resnet.Bottleneck, "layers": [1, 1, 1, 1]}),
    "torchvision mobilenet v2": (torchvision.models.mobilenet_v2, {"width_mult": 0.35}),
    "torchvision regnet": (torchvision.models.regnet_x_400mf, {}),
    "torchvision convnext": (
        convnext.ConvNeXt,
        {"block_setting": [convnext.CNBlockConfig(c, n, 1) for c, n in ((24, 48), (48, 96), (96, 192), (192, None))]},
    ),
}  # fmt: skip
WITHOUT_NETWORK = {"timm.models.resnetv2.Bottleneck"}  # blocks that are in no network of the library's own


def backbone(family: str) -> nn.Module:
    make, options = FAMILIES[family]
    torch.manual_seed(0)
    return make(num_classes=6, **options) if callable(make) else timm.create_model(make, num_classes=6, **options)


def test_every_block_that_is_known_is_tried():
    seen = set()
    for family in FAMILIES:
        kinds = {cls for module in weightless(partial(backbone, family)).modules() for cls in type(module).__mro__}
        seen |= {f"{cls.__module__}.{cls.__qualname__}" for cls in kinds}
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


def images(count: int, size: int = 64) -> torch.Tensor:
    x = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module", params=FAMILIES)
def plain(request) -> nn.Module:
    """A family's network, in evaluation mode, each branch awake; not to be changed."""
    cnn = backbone(request.param)
    wake(cnn)
    with torch.no_grad():
        cnn.train()(images(4))
    return cnn.eval()


def test_a_temporal_module_enters_and_learns(plain):
    before = plain.state_dict()
    places = {p.name for p in find_places(plain) if p.shortcut and 2 <= p.stage <= 5}
    net = insert_temporal(copy.deepcopy(plain), "tei", num_frames=4)
    after = net.state_dict()

    # The backbone's keys and values are as they were; the new keys lie next to the convolutions that they belong to.
    assert all(torch.equal(after[key], value) for key, value in before.items())
    layer = [f"mem.conv{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")] + ["tim.weight"]
    assert set(after) - set(before) == {f"{place}.temporal.{key}" for place in places for key in layer}

    net.train()(images(4)).square().sum().backward()
    for key, parameter in net.named_parameters():
        if ".temporal." in key:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    assert all(net.get_submodule(p).temporal.tim.weight.grad.any() for p in places)

    net.eval()
    with torch.no_grad():
        for num_frames in (1, 8):
            y = set_num_frames(net, num_frames)(images(num_frames, 32))
            assert y.shape == (num_frames, 6) and y.isfinite().all()


def test_tim_with_the_shift_kernel_is_tsm_through_the_network(plain):
    tim, tsm = (insert_temporal(copy.deepcopy(plain), name, num_frames=4) for name in ("tim", "tsm"))
    x = images(4)
    with torch.no_grad():
        ours, theirs, without = tim(x), tsm(x), plain(x)
    scale = theirs.abs().max()
    assert (ours - theirs).abs().max() <= 1e-5 * scale
    assert (without - theirs).abs().max() > 1e-3 * scale, "the shift has no effect: this test would prove nothing"


def test_frame_by_frame_it_answers_as_for_the_clip(plain):
    net = insert_temporal(copy.deepcopy(plain), "tei", num_frames=5, causal=True, shortcut_only=False)
    model = VideoClassifier(net, num_frames=5).eval()
    clip = images(5)[None]
    streaming = StreamingClassifier(model)
    state, rows = streaming.init_state(clip[:, 0]), []
    with torch.no_grad():
        want = model.frame_logits(clip)
        for frames in clip.unbind(1):
            logits, state = streaming(frames, state)
            rows.append(logits)
        assert (model.frame_logits(clip.flip(1)).flip(1) - want).abs().max() > 1e-3 * want.abs().max()
    assert (torch.stack(rows, 1) - want).abs().max() < 1e-5 * want.abs().max()
