"""The systems that TEINet is compared with: counts of public code, other libraries' outputs, and time that matters."""

from __future__ import annotations

import copy
import json
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torchvision.models.video import R2Plus1D_18_Weights, S3D_Weights, r2plus1d_18, s3d

from teinet.errors import CheckpointError, ConfigError
from teinet.models import create_model, list_models, load_matching, load_weights, save_weights, set_num_frames
from teinet.models.classifier import multiply_adds, parameters
from teinet.models.consensus import Relation
from teinet.models.insertion import is_causal
from teinet.models.optimized import optimize
from teinet.models.streaming import StreamingClassifier
from teinet.models.systems import gcn
from teinet.models.systems.gcn import detector_boxes, overlap_graphs
from teinet.models.systems.layout import BatchNorm3d, Conv3d, MaxPool3d, in_2d
from teinet.models.systems.table import SYSTEMS
from teinet.training.recipe import Recipe
from teinet.training.setup import with_network_of_weights
from tests.models.oracles import CLASSES, FILE, clip, fill
from tests.models.reference_networks import NETWORKS, moving_boxes, randomize
from tests.networks import weightless

# Parameters and GMACs of a view, at T frames and the size in the table, counted by running public code; "not exact"
# for those without any.
COUNTS = {
    "tsn_bninception": (400, 8, 224, 10_680_240, 16.26),
    "trn_bninception": (174, 8, 224, 13_141_218, 16.26),
    "trn_resnet50": (174, 8, 224, 26_641_154, 32.71),
    "tsn_inception_v3": (400, 1, 299, 22_605_168, 5.71),
    "i3d_resnet50": (400, 32, 224, 28_043_472, 32.83),
    "nl_i3d_resnet50": (400, 32, 224, 35_401_936, 40.96),
    "nl_i3d_resnet101": (400, 128, 224, 59_112_656, 273.9),
    "i3d_resnet50_mmaction": (400, 32, 256, 28_043_472, 43.27),  # MMAction2 says 43.5, with norms and pools
    "i3d_resnet50_8x8": (400, 8, 224, 28_043_472, 28.41),
    "nl_i3d_resnet50_8x8": (400, 8, 224, 35_401_936, 36.54),
    "i3d_resnet50_32x2": (400, 32, 224, 28_043_472, 151.28),
    "nl_i3d_resnet50_32x2": (400, 32, 224, 35_401_936, 219.67),
    "i3d_inception_v1": (400, 64, 224, 12_697_264, 111.15),
    "s3d": (400, 64, 224, 8_320_048, 71.92),
    "s3dg": (400, 64, 224, 9_545_056, 71.92),
    "r2plus1d_18": (400, 16, 112, 31_505_325, 40.52),
    "r2plus1d_34": (400, 32, 112, 63_697_175, 152.36),
    "slowfast_resnet50_4x16": (400, 32, 256, 34_480_216, 36.10),
    "slowfast_resnet50_8x8": (400, 32, 224, 34_566_488, 50.31),
    "slowfast_resnet101_8x8": (400, 32, 256, 53_774_808, 106.51),
    "slowfast_resnet101_8x8_full": (400, 32, 256, 62_826_968, 125.91),
    "nl_slowfast_resnet50_4x16": (400, 32, 256, 41_838_680, 47.91),
    "nl_slowfast_resnet101_16x8": (400, 64, 256, 60_080_088, 242.01),
    "eco_lite": (400, 16, 224, 37_503_856, 46.49),
    "eco": (400, 16, 224, 47_502_128, 64.41),
    "stnet_resnet50": (400, 125, 256, 33_158_864, 189.27),
    "p3d_199": (400, 16, 160, 66_492_240, 18.40),
    "p3d_63": (400, 16, 160, 25_745_232, 8.44),
    "artnet_resnet18": (400, 16, 112, 39_675_216, 25.68),  # 25.69 with the fixed pooling, which is no product here
    "lgd_resnet50": (400, 16, 112, 35_302_224, 18.94),
    "lgd_resnet101": (400, 16, 112, 64_330_064, 36.41),
    "nl_i3d_resnet50_gcn": (174, 32, 224, 38_699_502, 223.55),
}
# One of each kind, with frames and pixels; the others have another depth, or other strides and pools. TSN is trained
# in `tests/training`.
SMALL = {"nl_i3d_resnet50": (8, 32), "s3dg": (8, 32), "i3d_inception_v1": (8, 32), "r2plus1d_18": (4, 32)} | {
    "nl_slowfast_resnet50_4x16": (8, 32), "eco_lite": (4, 32), "eco": (4, 32), "stnet_resnet50": (10, 32),
    "p3d_63": (16, 32), "artnet_resnet18": (8, 16), "lgd_resnet50": (4, 16), "nl_i3d_resnet50_gcn": (4, 32),
    "trn_resnet18": (3, 32), "trn_bninception": (3, 32),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_public_code(name):
    classes, frames, size, count, gmacs = COUNTS[name]
    model = weightless(lambda: create_model(name, num_classes=classes, num_frames=frames))
    assert parameters(model) == count
    assert multiply_adds(model, size) / 1e9 == pytest.approx(gmacs, abs=0.006 * max(1, gmacs / 100))
    if name in SYSTEMS:
        assert (model.data_config["mean"], model.data_config["std"]) == SYSTEMS[name].pixels


def test_every_system_is_counted_and_listed():
    assert set(SYSTEMS) <= set(COUNTS) and set(COUNTS) <= set(list_models())
    assert sorted(SYSTEMS) == sorted(" ".join(CLIPS).split())


# T, frames of the video from one to the next (0: spread over all), pixels, dropout; mean and std of RGB from 0 to 255.
_KINETICS, _CAFFE = ((114.75,) * 3, (57.375,) * 3), ((123.0, 117.0, 104.0), (1.0,) * 3)
CLIPS = {
    "i3d_resnet50 nl_i3d_resnet50 i3d_resnet50_mmaction i3d_resnet50_32x2 nl_i3d_resnet50_32x2 nl_i3d_resnet50_gcn": (
        32, 2, 224, 0.5, _KINETICS
    ),
    "nl_i3d_resnet101": (128, 1, 224, 0.5, _KINETICS),
    "i3d_resnet50_8x8 nl_i3d_resnet50_8x8": (8, 8, 224, 0.5, _KINETICS),
    "slowfast_resnet50_4x16 slowfast_resnet50_8x8 slowfast_resnet101_8x8 slowfast_resnet101_8x8_full "
    "nl_slowfast_resnet50_4x16": (32, 2, 224, 0.5, _KINETICS),
    "nl_slowfast_resnet101_16x8": (64, 2, 224, 0.5, _KINETICS),
    "i3d_inception_v1": (64, 1, 224, 0.5, ((127.5,) * 3, (127.5,) * 3)),  # from -1 to 1
    "s3d s3dg": (64, 1, 224, 0.2, S3D_Weights.DEFAULT), "r2plus1d_18": (16, 2, 112, 0.0, R2Plus1D_18_Weights.DEFAULT),
    "r2plus1d_34": (32, 1, 112, 0.0, R2Plus1D_18_Weights.DEFAULT), "eco_lite eco": (16, 0, 224, 0.3, _CAFFE),
    "artnet_resnet18": (16, 1, 112, 0.2, _CAFFE), "p3d_63 p3d_199": (16, 1, 160, 0.5, _CAFFE),
    "stnet_resnet50": (125, 0, 256, 0.0, ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))),
    "lgd_resnet50": (16, 1, 112, 0.5, _KINETICS), "lgd_resnet101": (128, 1, 224, 0.5, _KINETICS),
}  # fmt: skip


@pytest.mark.parametrize("names", CLIPS)
def test_clips_and_pixels_are_those_of_their_authors(names):
    *clip, pixels = CLIPS[names]
    if not isinstance(pixels, tuple):  # torchvision's weights
        preset = pixels.transforms()
        pixels = tuple(255 * torch.tensor(each) for each in (preset.mean, preset.std))
    for name in names.split():
        system = SYSTEMS[name]
        assert [system.frames, system.stride, system.size, system.dropout] == clip
        assert system.adjacent == (5 if name == "stnet_resnet50" else 1)
        for found, want in zip(system.pixels, pixels, strict=True):
            torch.testing.assert_close(255 * torch.tensor(found), torch.as_tensor(want), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", json.loads(FILE.read_text()))
def test_logits_are_those_of_another_library(name):
    """pytorchvideo's networks, with the same weights by a formula; see `oracles`."""
    want = torch.tensor(json.loads(FILE.read_text())[name])
    model = create_model(name, num_classes=CLASSES, dropout=0)
    fill(model.cnn)
    with torch.inference_mode():
        found = model.eval()(clip(model.num_frames).transpose(1, 2))[0]
    assert (found - want).abs().max() < 5e-4 * want.std()


@pytest.mark.parametrize(
    ("name", "theirs", "frames", "size"), [("s3d", s3d, 16, 64), ("r2plus1d_18", r2plus1d_18, 8, 32)]
)
def test_torchvisions_networks_compute_the_same(name, theirs, frames, size):
    torch.manual_seed(0)
    plain, model = theirs(num_classes=5).eval(), create_model(name, num_classes=5, num_frames=frames).eval()
    if name == "s3d":
        plain.avgpool = nn.AvgPool3d((2, 2, 2), 1)
    model.load_state_dict(plain.state_dict())  # under its own keys
    x = torch.rand(2, frames, 3, size, size)
    with torch.inference_mode():
        want, found = plain(x.transpose(1, 2)), model(x)
    assert (found - want).abs().max() < 1e-5 * want.abs().max() + 1e-6


EVERY, EVEN = range(23), range(0, 23, 2)


@pytest.mark.parametrize(
    ("name", "path", "lengths", "long", "non_local"),
    [  # by stage: the length of the longer first kernels, the blocks that have them, and those with a non-local block
        ("nl_i3d_resnet50", "", "3333", (EVERY, EVEN, EVEN, {1}), ((), (1, 3), (1, 3, 5), ())),
        ("nl_i3d_resnet50_32x2", "", "3333", (EVERY, EVEN, EVEN, {1}), ((), (1, 3), (1, 3, 5), ())),
        ("nl_i3d_resnet101", "", "3333", (EVERY, EVEN, EVEN, {1}), ((), (1, 3), (6, 13, 20), ())),
        ("slowfast_resnet50_4x16", "slow.", "1133", (EVERY,) * 4, ((),) * 4),
        ("slowfast_resnet50_4x16", "fast.", "3333", (EVERY,) * 4, ((),) * 4),
        ("nl_slowfast_resnet50_4x16", "slow.", "1133", (EVERY,) * 4, ((), (1, 3), (1, 3, 5), ())),
        ("slowfast_resnet101_8x8", "slow.", "1133", (EVERY, EVERY, range(6), EVERY), ((),) * 4),
        ("slowfast_resnet101_8x8", "fast.", "3333", (EVERY, EVERY, range(6), EVERY), ((),) * 4),
        ("slowfast_resnet101_8x8_full", "slow.", "1133", (EVERY,) * 4, ((),) * 4),
        ("nl_slowfast_resnet101_16x8", "slow.", "1133", (EVERY, EVERY, range(6), EVERY), ((), (), (6, 13, 20), ())),
    ],
)  # fmt: skip
def test_kernels_over_time_and_non_local_blocks_stand_where_published(name, path, lengths, long, non_local):
    state = weightless(lambda: create_model(name, num_classes=2)).state_dict()
    for stage, depth in enumerate((3, 4, 23 if "101" in name else 6, 3)):
        for block in range(depth):
            at = f"{path}layer{stage + 1}.{block}"
            time = int(lengths[stage]) if block in long[stage] else 1
            assert tuple(state[f"{at}.conv1.weight"].shape[2:]) == (time, 1, 1)
            assert tuple(state[f"{at}.conv2.weight"].shape[2:]) == (1, 3, 3)
            assert (f"{at}_nl.g.weight" in state) == (block in non_local[stage])


LARGE = {"tsn_inception_v3": (2, (96, 96))}  # than 8 frames of 32 x 32, which the others take without a reference


@pytest.mark.parametrize("name", COUNTS)
def test_logits_are_those_of_the_network_written_out_and_hang_on_the_order(name):
    """In float64; a reversed clip changes those of all but TSN."""
    reference, frames, size = NETWORKS.get(name) or (None, *LARGE.get(name, (8, (32, 32))))
    model = randomize(weightless(lambda: create_model(name, num_classes=7, num_frames=frames, dropout=0))).double()
    clips = torch.randn(2, frames, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    if name == "nl_i3d_resnet50_gcn":
        model.cnn.boxes = lambda every_second: moving_boxes(2, len(every_second) // 2).flatten(0, 1)
    with torch.inference_mode():
        logits, backward = model(clips), model(clips.flip(1))
        if reference is not None:
            want = reference(model.state_dict(), clips.transpose(1, 2))
            assert (logits - want).abs().max() < 1e-9 * want.std()
    changed = (logits - backward).abs().max() / logits.std()
    assert changed < 1e-9 if name.startswith("tsn_") else changed > 1e-6  # small behind S3D-G's 37 gates


@pytest.mark.parametrize(("name", "frames"), [("i3d_resnet50_8x8", 4), ("slowfast_resnet50_4x16", 8)])
def test_larger_images_are_tested_at_each_place_of_the_window_of_training(name, frames):
    """Maps of 7x7 in training, moved over 8x9 in a test: the mean of six places' probabilities; by numpy in float64."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, num_frames=frames, dropout=0).eval()
    fill(model.cnn.fc)
    seen = []
    last = [model.cnn.layer4] if name.startswith("i3d") else [model.cnn.slow["layer4"], model.cnn.fast["layer4"]]
    for stage in last:
        stage.register_forward_hook(lambda _, __, output: seen.append(output.double().mean(2)))
    with torch.inference_mode():
        logits = model(torch.rand(1, frames, 3, 256, 288) * 9)
    maps = np.concatenate([each.numpy() for each in seen], axis=1)[0]
    weight, bias = (each.detach().double().numpy() for each in (model.cnn.fc.weight, model.cnn.fc.bias))
    places = [(y, x) for y in range(2) for x in range(3)]
    scores = [np.exp(weight @ maps[:, y : y + 7, x : x + 7].mean((1, 2)) + bias) for y, x in places]
    want = np.mean([each / each.sum() for each in scores], axis=0)
    assert maps.shape[1:] == (8, 9) and np.ptp(want) > 0.01
    np.testing.assert_allclose(logits.softmax(-1)[0].numpy(), want, rtol=1e-4)
    plain = np.exp(weight @ maps.mean((1, 2)) + bias)
    assert np.abs(plain / plain.sum() - want).max() > 1e-6
    features = torch.rand(2, weight.shape[1], 8, 9)
    torch.testing.assert_close(model.train().cnn.answer_of_means(features), model.cnn.fc(features.mean((2, 3))))


@pytest.mark.parametrize("name", SMALL)
def test_they_learn_fold_see_the_order_and_are_saved(name, tmp_path):
    """A few steps on one batch lower the loss; folded norms change nothing; a reversed clip is another one."""
    frames, size = SMALL[name]
    torch.manual_seed(0)
    own = {"boxes": "grid"} if name.endswith("_gcn") else {}
    model = create_model(name, num_classes=4, num_frames=frames, dropout=0, **own)
    light = torch.linspace(0, 200, frames).view(frames, 1, 1, 1) + torch.rand(2, frames, 3, size, size) * 50
    clips, labels = light.to(torch.uint8), torch.arange(2)
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9), []
    for _ in range(4):
        loss = nn.functional.cross_entropy(model(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses[1:]) < losses[0]
    for norm in (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)):
        norm.momentum = 1.0
    with torch.no_grad():
        model(clips)  # the norms' statistics are now those of this batch
    model.eval()
    fast = optimize(model, engine="folded", precision="fp32")
    with torch.inference_mode():
        logits = model(clips[:1])
        assert logits.shape == (1, 4) and logits.isfinite().all()
        assert (fast(clips[:1]) - logits).abs().max() < 1e-2 * logits.abs().max()  # small variances amplify rounding
        assert (model(clips[:1].flip(1)) - logits).abs().max() > 1e-4 * logits.abs().max()
    save_weights(tmp_path / "net.safetensors", model)
    loaded, _ = load_weights(tmp_path / "net.safetensors")
    with torch.inference_mode():
        assert torch.equal(loaded(clips[:1]), logits)
    assert not is_causal(model)
    with pytest.raises(ConfigError, match="one answer a clip"):
        model.frame_logits(clips)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"),
    [
        ((1, 3, 3), (1, 2, 2), (0, 1, 1), 1),
        ((1, 3, 3), (2, 1, 1), (0, 1, 1), 2),
        ((3, 1, 1), (2, 1, 1), (1, 0, 0), 1),
        ((3, 1, 1), (1, 2, 2), (1, 0, 0), 1),
        ((2, 1, 1), (3, 1, 1), (1, 0, 0), 1),
        ((1, 1, 1), (1, 2, 2), (0, 0, 0), 1),
        ((3, 3, 3), (2, 2, 2), (1, 1, 1), 1),
        ((3, 1, 1), (1, 1, 1), (0, 1, 0), 1),
        ((1, 1, 1), (1, 1, 1), (1, 0, 0), 1),
    ],
)
def test_layers_in_2d_are_torchs(kernel, stride, padding, groups):
    torch.manual_seed(0)
    layers = (nn.Conv3d(4, 6, kernel, stride, padding, groups=groups), nn.BatchNorm3d(6), nn.MaxPool3d(kernel, stride))
    x = torch.rand(2, 4, 9, 7, 8)
    plain = nn.Sequential(*layers)
    want, statistics = plain(x), plain[1].running_var.clone()
    plain[1].reset_running_stats()
    found = in_2d(plain)(x)
    assert [type(each) for each in plain] == [Conv3d, BatchNorm3d, MaxPool3d]
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(plain[1].running_var, statistics)


@pytest.mark.parametrize(("kernel", "padding", "sizes"), [
    (1, 0, [(6, 5, 6), (1, 2, 3)]), (3, 1, [(6, 5, 6), (3, 2, 3), (1, 2, 3)]), (3, (0, 1, 1), [(6, 5, 6), (3, 2, 3)]),
    (5, (1, 2, 2), [(6, 5, 6), (3, 2, 3)]),
])  # fmt: skip
def test_layers_in_inference_are_torchs(kernel, padding, sizes):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv3d(4, 6, kernel, 1, padding), nn.BatchNorm3d(6), nn.MaxPool3d(3, 1, 1)).double()
    plain(torch.rand(2, 4, 6, 5, 6).double())  # statistics
    for size in sizes:
        x = torch.rand(2, 4, *size).double()
        want, given = plain.eval()(x), x.clone()
        for context in (torch.no_grad(), torch.inference_mode()):
            with context:
                torch.testing.assert_close(in_2d(copy.deepcopy(plain))(x), want)
        assert torch.equal(x, given)


@pytest.mark.parametrize("kernel", [(3, 1, 1), (1, 3, 3), (1, 1, 1)])
@pytest.mark.parametrize("kind", [nn.Conv3d, nn.MaxPool3d])
def test_one_clip_stays_channels_last(kernel, kind):
    """torch takes a clip for channels first where the stride of its first axis, of size 1, is another."""
    padding = tuple(size // 2 for size in kernel)
    options = {"bias": False} if kind is nn.Conv3d else {"stride": 1}
    layer = in_2d(kind(*(32, 32) * (kind is nn.Conv3d), kernel, padding=padding, **options))
    x = torch.rand(1, 32, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    out = layer(x)
    assert out.stride() == x.stride()
    out.backward(torch.ones_like(out))
    assert x.grad is not None and x.grad.stride() == x.stride()


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (5, 2, 2), (7, 4, 3), (2, 3, 0), (1, 1, 1)])
def test_gradients_of_kernels_over_time_are_torchs(kernel, stride, padding):
    torch.manual_seed(0)
    own = in_2d(nn.Conv3d(32, 40, (kernel, 1, 1), (stride, 1, 1), (padding, 0, 0), bias=False))
    plain = nn.Conv3d(32, 40, (kernel, 1, 1), (stride, 1, 1), (padding, 0, 0), bias=False).double()
    plain.load_state_dict(own.state_dict())
    x = torch.rand(2, 32, 9, 4, 5, requires_grad=True)
    exact = x.detach().double().requires_grad_()
    found, want = own(x), plain(exact)
    outer = torch.randn(want.shape)
    found.backward(outer)
    want.backward(outer.double())
    torch.testing.assert_close(own.weight.grad, plain.weight.grad, check_dtype=False, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(x.grad, exact.grad, check_dtype=False, rtol=1e-4, atol=1e-4)


def test_an_i3d_starts_from_the_weights_of_a_network_for_images(tmp_path):
    images = timm.create_model("resnet50", num_classes=10)
    torch.save(images.state_dict(), tmp_path / "resnet50.pth")
    model = create_model("nl_i3d_resnet50", num_classes=4, backbone_weights=tmp_path / "resnet50.pth")
    own = model.state_dict()
    for key in ("conv1.weight", "layer2.1.conv1.weight", "layer2.0.conv1.weight"):
        torch.testing.assert_close(own[key].sum(dim=2), images.state_dict()[key])
    assert torch.equal(own["layer4.2.bn2.weight"], images.state_dict()["layer4.2.bn2.weight"])
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(CheckpointError, match="does not fit I3DResNet"):
        create_model("i3d_resnet50", num_classes=4, backbone_weights=tmp_path / "resnet18.pth")


def test_a_still_clip_gives_the_features_of_the_network_for_images(tmp_path):
    """At times that the zeros in front of the clip and behind it do not reach: 5 frames in stage 2, then 6 pairs."""
    images = randomize(timm.create_model("resnet50", num_classes=10))
    torch.save(images.state_dict(), tmp_path / "resnet50.pth")
    model = create_model(
        "nl_i3d_resnet50_8x8", num_classes=4, num_frames=40, backbone_weights=tmp_path / "resnet50.pth"
    )
    frame = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        want = images.forward_features(frame)[:, :, None]
        found = model.eval().cnn.feature_map(frame[:, :, None].expand(-1, -1, 40, -1, -1))
    assert found.shape == (1, 2048, 20, 1, 2)
    assert (found[:, :, 9:11] - want).abs().max() < 1e-4 * want.abs().max()
    assert (found[:, :, :1] - want).abs().max() > 1e-2 * want.abs().max()


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("s3d", {"causal": True}, "s3d has no temporal modules to insert and one way to answer; leave out causal"),
        ("s3d", {"stages": (5,), "reduction": 4}, "leave out stages, reduction"),
        ("s3d", {"consensus": "xception"}, "leave out consensus"),
        ("trn_resnet18", {"causal": True}, "consensus relation has no causal form"),
        ("tsm_resnet18", {"causal": True, "consensus": "xception"}, "consensus xception has no causal form"),
        ("trn_resnet18", {"subset": "all"}, "no option 'subset'"),
        ("trn_resnet18", {"subsets": "some"}, "a number of at least 1, first or all, got 'some'"),
        ("trn_resnet18", {"subsets": 0}, "at least 1"),
        ("trn_resnet18", {"consensus": "xception"}, "for xception take tsn_resnet18"),
        ("tsn_resnet18", {"subsets": 2}, "tsn_resnet18 has consensus average"),
        ("tsn_resnet18", {"consensus": "mean"}, "temporal_difference, relation, xception, got 'mean'"),
        ("trn_resnet18", {"num_frames": 1}, "at least 2"),
        ("slowfast_resnet50_4x16", {"boxes": "grid"}, "of nl_i3d_resnet50_gcn alone; got 'grid' for slowfast_resnet50"),
        ("nl_i3d_resnet50_gcn", {"boxes": "mine"}, "boxes must be detector or grid"),
        ("slowfast_resnet50_4x16", {"pretrained": True}, "no ImageNet weights to start from"),
    ],
)
def test_what_they_cannot_do_is_said(name, options, says):
    with pytest.raises(ConfigError, match=says):
        create_model(name, num_classes=4, **options)


@pytest.mark.parametrize(
    ("name", "frames"), [("slowfast_resnet50_4x16", 12), ("eco", 6), ("p3d_63", 8), ("stnet_resnet50", 7)]
)
def test_numbers_of_frames_that_do_not_fit_are_refused(name, frames):
    model = create_model(name, num_classes=2, num_frames=frames)
    with pytest.raises(ConfigError, match=f"takes a multiple of .* frames, got {frames}"):
        model(torch.zeros(1, frames, 3, 32, 32))


def test_relations_are_repeatable_and_of_one_length():
    torch.manual_seed(0)
    features = torch.rand(2, 5, 8)
    drawn, first, every = (Relation(5, 3, features=8, subsets=kind).eval() for kind in (3, "first", "all"))
    for other in (first, every):
        other.load_state_dict(drawn.state_dict())
    assert torch.equal(drawn(features), drawn(features))
    # by hand: scales of 5 and 4 frames and two more, of which at most three subsets count
    total = sum(
        first.fc_fusion_scales[i](features[:, chosen].flatten(1))
        for i, subsets in enumerate(
            [[[0, 1, 2, 3, 4]], [[0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 3, 4]], [[0, 1, 2], [0, 1, 3], [0, 1, 4]],
             [[0, 1], [0, 2], [0, 3]]]
        )
        for chosen in subsets
    )  # fmt: skip
    torch.testing.assert_close(first(features), total)
    assert not torch.allclose(every(features), first(features))
    # drawn without repetition: ten of each scale are all of them, each counted once
    ten = Relation(5, 3, features=8, subsets=10).eval()
    ten.load_state_dict(drawn.state_dict())
    total = sum(
        net(features[:, chosen].flatten(1))
        for k, net in zip(range(5, 1, -1), drawn.fc_fusion_scales)
        for chosen in combinations(range(5), k)
    )
    torch.testing.assert_close(ten(features), total)
    model = create_model("trn_resnet18", num_classes=3, num_frames=5)
    with pytest.raises(ConfigError, match="relations between 5 frames cannot take 8"):
        set_num_frames(model, 8)
    assert model.num_frames == 5


@pytest.mark.parametrize("name", ["tsm_test_resnet", "tsn_test_convnext", "tsn_bninception"])
def test_any_network_of_timm_ends_in_stnets_xception(name, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, num_frames=4, consensus="xception").eval()
    clips = torch.rand(2, 4, 3, 64, 64)
    with torch.inference_mode():
        features = model.cnn(clips.flatten(0, 1)).unflatten(0, (2, 4))
        wide = features.shape[2]
        # in float64, one frame after the other: norms at their start, separable convolutions with zeros at both ends
        net = copy.deepcopy(model.consensus).double()
        x = features.double() / (1 + 1e-5) ** 0.5
        one = _separable(x, net.xception.depthwise1, net.xception.pointwise1) / (1 + 1e-5) ** 0.5
        two = _separable(one.clamp(min=0), net.xception.depthwise2, net.xception.pointwise2)
        short = x @ net.xception.shortcut.weight[..., 0].T + net.xception.shortcut.bias
        largest = ((two + short) / (1 + 1e-5) ** 0.5).clamp(min=0).amax(1)
        want = largest @ net.fc.weight.T + net.fc.bias
        assert wide == net.xception.bn1.num_features
        torch.testing.assert_close(model(clips), want, check_dtype=False, rtol=1e-4, atol=1e-6)
    assert not is_causal(model)
    with pytest.raises(ConfigError, match=f"{name} with consensus xception gives one answer a clip"):
        StreamingClassifier(model)
    save_weights(tmp_path / "net.safetensors", model)
    loaded, header = load_weights(tmp_path / "net.safetensors")
    assert header["architecture"]["consensus"] == "xception" and loaded.num_classes == 3
    with torch.inference_mode():
        assert torch.equal(loaded(clips), model(clips))
    count = parameters(create_model(name, num_classes=3)) - 3 * (wide + 1)
    inner = 1024  # two kernels of 3 frames, two products, a shortcut; norms, biases; the classifier
    own = 3 * wide + 3 * inner + 2 * wide * inner + inner**2 + 3 * wide + 8 * inner + 3 * (inner + 1)
    assert parameters(model) == count + own


def _separable(x, depthwise, pointwise):
    padded = nn.functional.pad(x, (0, 0, 1, 1))
    each = sum(padded[:, i : i + x.shape[1]] * depthwise.weight[:, 0, i] for i in range(3)) + depthwise.bias
    return each @ pointwise.weight[..., 0].T + pointwise.bias


def test_relations_end_a_network_with_temporal_modules():
    model = create_model("teinet_test_resnet", num_classes=3, num_frames=4, consensus="relation", subsets=2)
    assert model.config["consensus"] == "relation" and model.config["subsets"] == 2
    plain, trn = (create_model(f"{kind}_test_resnet", num_classes=3, num_frames=4) for kind in ("tsn", "trn"))
    tei = parameters(create_model("teinet_test_resnet", num_classes=3, num_frames=4)) - parameters(plain)
    assert parameters(model) == parameters(trn) + tei


def test_graphs_join_boxes_that_overlap_in_the_next_frame():
    left, right = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]
    forward, back = overlap_graphs(torch.tensor([[[left, right], [right, left]]]))
    want = torch.zeros(4, 4)
    want[0, 3] = want[1, 2] = 1  # a box and itself in the next frame
    torch.testing.assert_close(forward[0], want)
    torch.testing.assert_close(back[0], want.T)


def test_boxes_come_from_a_detector():
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    torch.manual_seed(0)
    detector = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, min_size=64, max_size=64)
    boxes = detector_boxes(detector, torch.full((1, 3, 1, 1), 0.45), torch.full((1, 3, 1, 1), 0.225))(
        torch.rand(2, 3, 64, 64)
    )
    assert boxes.shape == (2, 10, 4) and (boxes >= 0).all() and (boxes <= 1).all()


def test_graphs_start_from_a_trained_non_local_network(tmp_path):
    """Wang and Gupta's second stage: the trunk's weights are those of the first, and the rest is new."""
    names, path = ["a", "b", "c"], tmp_path / "first.safetensors"
    first = create_model("nl_i3d_resnet50_32x2", num_classes=3, num_frames=8)
    with torch.no_grad():
        for value in first.state_dict().values():
            value.add_(1)
    save_weights(path, first, {"class_names": names})
    recipe = Recipe.load(model="nl_i3d_resnet50_gcn", weights=str(path))
    assert with_network_of_weights(recipe, {"model.name", "model.weights"}) == recipe
    model = create_model("nl_i3d_resnet50_gcn", num_classes=3, num_frames=8)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    load_matching(model, path, class_names=names)
    for key, value in model.state_dict().items():
        trained = first.state_dict().get(key.removeprefix("trunk.")) if key.startswith("trunk.") else None
        assert torch.equal(value, before[key] if trained is None else trained), key
    other = create_model("nl_i3d_resnet50_8x8", num_classes=3, num_frames=8)
    save_weights(path, other, {"class_names": names})
    with pytest.raises(CheckpointError, match="does not fit nl_i3d_resnet50_gcn"):
        load_matching(model, path, class_names=names)


def test_a_detector_of_torchvision_runs_where_no_boxes_are_given(tmp_path, monkeypatch):
    """Without its weights an error says where they belong; with random ones its boxes are those of its proposals."""
    from torchvision.models import detection

    model = create_model("nl_i3d_resnet50_gcn", num_classes=3, num_frames=8, dropout=0).eval()
    clips = torch.rand(1, 8, 3, 64, 64)
    gcn._detector.cache_clear()

    def refused(**options):
        raise OSError("no network")

    monkeypatch.setattr(gcn, "fasterrcnn_resnet50_fpn", refused)
    with pytest.raises(CheckpointError, match=r"downloaded \(no network\). Put https://.*pth into .*.boxes grid"):
        model(clips)
    torch.manual_seed(0)
    detector = detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None).eval()
    monkeypatch.setattr(gcn, "fasterrcnn_resnet50_fpn", lambda **options: detector)
    with torch.inference_mode():
        logits = model(clips)
        images, _ = detector.transform([frame * 0.225 + 0.45 for frame in clips[0, ::2]])
        proposals, _ = detector.rpn(images, detector.backbone(images.tensors))
        boxes = torch.stack([each[:10] for each in proposals]) / images.image_sizes[0][0]
        torch.testing.assert_close(model.cnn.classify(clips.transpose(1, 2), boxes[None]), logits)
    gcn._detector.cache_clear()
    save_weights(tmp_path / "net.safetensors", create_model("nl_i3d_resnet50_gcn", num_classes=3, boxes="grid"))
    assert load_weights(tmp_path / "net.safetensors")[0].cnn.boxes is gcn.grid_boxes


def test_graphs_of_boxes_that_a_detector_did_not_find_are_finite():
    boxes = torch.zeros(1, 2, 10, 4)  # without area
    assert all(graph.isfinite().all() for graph in overlap_graphs(boxes))

    class Blind(nn.Module):
        backbone = nn.Identity()

        def transform(self, images):
            return SimpleNamespace(tensors=torch.stack(images), image_sizes=[(8, 8)] * len(images)), None

        def rpn(self, images, features):
            return [torch.tensor([[0.0, 2.0, 4.0, 8.0]])] + [torch.zeros(0, 4)] * (len(features) - 1), {}

    found = detector_boxes(Blind(), torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))(torch.rand(2, 3, 8, 8))
    assert found[0, 0].tolist() == [0.0, 0.25, 0.5, 1.0] and found[1, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert torch.equal(found[0, 1:], found[1, 1:])


def test_bninception_starts_from_the_file_of_tsns_authors(tmp_path):
    """bn_inception-9f5701afb96c8044.pth: norms of shape (1, C), pixels BGR, 1000 classes."""
    net = create_model("tsn_bninception", num_classes=1000, num_frames=1).cnn
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5)
    state = {k: v.clone() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    theirs = {k: v[None] if "_bn." in k else v for k, v in state.items()}
    theirs["conv1_7x7_s2.weight"] = theirs["conv1_7x7_s2.weight"].flip(1)
    torch.save(theirs, tmp_path / "bn_inception.pth")
    torch.save(state, tmp_path / "own.pth")
    for file in ("bn_inception.pth", "own.pth"):
        started = create_model("trn_bninception", num_classes=4, num_frames=4, backbone_weights=tmp_path / file).cnn
        for key in ("conv1_7x7_s2.weight", "conv1_7x7_s2_bn.weight", "inception_5b_1x1_bn.running_var"):
            assert torch.equal(started.state_dict()[key], state[key]), (file, key)
    with pytest.raises(ConfigError, match="bninception has no weights to download: give a file"):
        create_model("trn_bninception", num_classes=4, pretrained=True)
