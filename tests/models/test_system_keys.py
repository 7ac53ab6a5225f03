"""Public checkpoints of the systems: examples of their keys, whole files under them, and what does not fit."""

from __future__ import annotations

import pickle
import re
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.video import r2plus1d_18, s3d

from teinet.errors import CheckpointError, ConfigError
from teinet.models import create_model
from teinet.models.converters import convert_checkpoint
from teinet.models.system_keys import ORIGINS
from tests.models.oracles import fill
from tests.models.test_caffe import caffemodel

NAMES = [f"class {i}" for i in range(5)]


@pytest.mark.parametrize(
    ("origin", "theirs", "ours"),
    [
        ("pytorchvideo-slowfast", "blocks.0.multipathway_blocks.1.norm.bias", "fast.bn1.bias"),
        ("pytorchvideo-slowfast", "blocks.0.multipathway_fusion.conv_fast_to_slow.weight", "lateral.stage1.0.weight"),
        (
            "pytorchvideo-slowfast", "blocks.1.multipathway_blocks.0.res_blocks.0.branch2.conv_a.weight",
            "slow.layer1.0.conv1.weight",
        ),
        ("pytorchvideo-slowfast", "blocks.6.proj.weight", "fc.weight"),
        ("slowfast", "conv1_w", "slow.conv1.weight"),
        ("slowfast", "t_res_conv1_bn_s", "fast.bn1.weight"),
        ("slowfast", "res4_0_branch2a_w", "slow.layer3.0.conv1.weight"),
        ("slowfast", "t_res4_0_branch1_bn_riv", "fast.layer3.0.downsample.1.running_var"),
        ("slowfast", "t_pool1_subsample_w", "lateral.stage1.0.weight"),
        ("slowfast", "t_res4_5_branch2c_bn_subsample_bn_rm", "lateral.stage4.1.running_mean"),
        ("slowfast", "t_res3_3_branch2c_bn_subsample_w", "lateral.stage3.0.weight"),
        ("slowfast", "nonlocal_conv4_5_theta_w", "slow.layer3.5_nl.theta.weight"),
        ("slowfast", "nonlocal_conv4_5_bn_s", "slow.layer3.5_nl.bn.weight"),
        ("slowfast", "pred_b", "fc.bias"),
        ("slowfast", "lr", ""),
        ("pytorchvideo-i3d", "blocks.3.res_blocks.1.branch2.norm_c.bias", "layer2.1.bn3.bias"),
        ("s3d", "base.0.conv_s.weight", "features.0.0.0.weight"),
        ("s3d", "base.5.branch1.1.conv_t.weight", "features.5.branch1.1.1.0.weight"),
        ("s3d", "fc.0.weight", "classifier.1.weight"),
        ("i3d", "mixed_3b.branch_1.0.conv3d.weight", "Mixed_3b.b1a.conv3d.weight"),
        ("i3d", "conv3d_1a_7x7.batch3d.bias", "Conv3d_1a_7x7.bn.bias"),
        ("i3d", "conv3d_0c_1x1.conv3d.weight", "logits.weight"),
        ("i3d", "Mixed_3b.b3b.conv3d.weight", "Mixed_3b.b3b.conv3d.weight"),
        ("i3d", "logits.conv3d.bias", "logits.bias"),
        ("eco", "base_model.res4a_down.weight", "body.res4a_down.weight"),
        ("eco", "base_model.res3a_bn.bias", "res3a_bn.bias"),
        ("trn", "base_model.inception_3a_1x1_bn.bias", "inception_3a_1x1_bn.bias"),
        ("trn", "consensus.fc_fusion_scales.0.1.weight", "consensus.fc_fusion_scales.0.1.weight"),
        ("nonlocal", "res_conv1_bn_riv", "bn1.running_var"),
        ("nonlocal", "res5_1_branch2a_w", "layer4.1.conv1.weight"),
        ("nonlocal", "nonlocal_conv3_3_out_w", "layer2.3_nl.out.weight"),
        ("nonlocal", "conv1_w_momentum", ""),
        ("vmz", "conv1_middle_w", "stem.0.weight"),
        ("vmz", "conv1_spatbn_relu_riv", "stem.4.running_var"),
        ("vmz", "comp_0_conv_1_middle_w", "layer1.0.conv1.0.0.weight"),
        ("vmz", "comp_6_spatbn_2_middle_s", "layer2.3.conv2.0.1.weight"),
        ("vmz", "comp_7_conv_2_w", "layer3.0.conv2.0.3.weight"),
        ("vmz", "comp_15_spatbn_2_rm", "layer4.2.conv2.1.running_mean"),
        ("vmz", "shortcut_projection_13_spatbn_b", "layer4.0.downsample.1.bias"),
        ("vmz", "last_out_L400_b", "fc.bias"),
        ("vmz", "comp_2_conv_3_w", "comp_2_conv_3_w"),
        ("mmaction-slowfast", "backbone.fast_path.layer1.0.conv1.conv.weight", "fast.layer1.0.conv1.weight"),
        ("mmaction-slowfast", "backbone.slow_path.conv1.bn.bias", "slow.bn1.bias"),
        ("mmaction-slowfast", "backbone.slow_path.conv1_lateral.conv.weight", "lateral.stage1.0.weight"),
        ("mmaction-slowfast", "backbone.slow_path.layer3_lateral.bn.weight", "lateral.stage4.1.weight"),
        ("mmaction-i3d", "backbone.layer2.0.downsample.bn.running_var", "layer2.0.downsample.1.running_var"),
        ("mmaction-trn", "cls_head.consensus.fc_fusion_scales.6.3.bias", "consensus.fc_fusion_scales.6.3.bias"),
        ("mmaction-trn", "cls_head.fc_cls.weight", "fc.weight"),
        ("eco-caffe", "inception_3a_1x1_bn.running_var", "base_model.inception_3a_1x1_bn.running_var"),
        ("eco-caffe", "inception_3a/1x1.bias", "base_model.inception_3a_1x1.bias"),
        ("eco-caffe", "res3a_2n.weight", "res3a_2.weight"),
        ("eco-caffe", "res5a_down.bias", "body.res5a_down.bias"),
        ("eco-caffe", "fc8N.weight", "fc.weight"),
        ("slowfast-torch", "s1.pathway0_stem.conv.weight", "slow.conv1.weight"),
        ("slowfast-torch", "s1.pathway1_stem.bn.running_var", "fast.bn1.running_var"),
        ("slowfast-torch", "s1_fuse.conv_f2s.weight", "lateral.stage1.0.weight"),
        ("slowfast-torch", "s4_fuse.bn.bias", "lateral.stage4.1.bias"),
        ("slowfast-torch", "s4.pathway0_res0.branch2.a.weight", "slow.layer3.0.conv1.weight"),
        ("slowfast-torch", "s4.pathway0_res12.branch2.c_bn.weight", "slow.layer3.12.bn3.weight"),
        ("slowfast-torch", "s2.pathway1_res0.branch1.weight", "fast.layer1.0.downsample.0.weight"),
        ("slowfast-torch", "s2.pathway1_res0.branch1_bn.bias", "fast.layer1.0.downsample.1.bias"),
        ("slowfast-torch", "s4.pathway0_nonlocal5.conv_theta.bias", "slow.layer3.5_nl.theta.bias"),
        ("slowfast-torch", "s3.pathway0_nonlocal1.bn.weight", "slow.layer2.1_nl.bn.weight"),
        ("slowfast-torch", "head.projection.weight", "fc.weight"),
        ("slowfast-torch-i3d", "s5.pathway0_res2.branch2.b.weight", "layer4.2.conv2.weight"),
        ("slowfast-torch-i3d", "s1.pathway0_stem.bn.weight", "bn1.weight"),
        ("s3d", "base.5.branch0.0.conv.weight", "features.5.branch0.0.weight"),
        ("s3d", "base.5.branch0.0.bn.weight", "features.5.branch0.1.weight"),
        ("artnet", "conv1.weight", "conv1.appearance.weight"),
        ("artnet", "conv1_t_bn.bias", "conv1.relation_bn.bias"),
        ("artnet", "redu1_bn.weight", "conv1_bn.weight"),
        ("artnet", "res3a_2_t.bias", "body.res3a_2.relation.bias"),
        ("artnet", "res3a_2_bn.bias", "body.res3a_2.appearance_bn.bias"),
        ("artnet", "res3a_bn.bias", "body.res3a_bn.bias"),
        ("artnet", "pooling4_bn.running_mean", "body.res3a_2.pooling_bn.running_mean"),
        ("artnet", "redu7.bias", "body.res4b_2.reduction.bias"),
        ("artnet", "res5a_2.bias", "body.res5a_2.bias"),
        ("artnet", "fc8.weight", "fc.weight"),
    ],
)  # fmt: skip
def test_examples_of_their_keys(origin, theirs, ours):
    assert ORIGINS[origin].rename(theirs) == ours


def caffe2(key: str) -> str:
    """The name of a blob, from our key."""
    path, _, rest = key.partition(".")
    before = "t_" if path == "fast" or key.startswith("lateral") else ""
    leaf = {"weight": "w", "bias": "b", "running_mean": "rm", "running_var": "riv"}[key.rpartition(".")[2]]
    if key.startswith("fc."):
        return f"pred_{leaf}"
    norm = {"w": "bn_s", "b": "bn_b", "rm": "bn_rm", "riv": "bn_riv"}
    if found := re.fullmatch(r"stage(\d)\.(\d)\.\w+", rest):
        last = {"2": 2, "3": 3, "4": 5}.get(found[1])
        place = f"res{found[1]}_{last}_branch2c_bn" if last else "pool1"
        return f"{before}{place}_subsample_{norm[leaf] if found[2] == '1' else leaf}"
    if found := re.fullmatch(r"(conv|bn)1\.\w+", rest):
        return f"{before}{'res_' * (found[1] == 'bn')}conv1_{norm[leaf] if found[1] == 'bn' else leaf}"
    if found := re.fullmatch(r"layer(\d)\.(\d+)_nl\.(\w+)\.\w+", rest):
        at = f"nonlocal_conv{int(found[1]) + 1}_{found[2]}"
        return f"{at}_{norm[leaf]}" if found[3] == "bn" else f"{at}_{found[3]}_{leaf}"
    found = re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.\w+", rest)
    kind, number = found[3], int(found[4])
    branch = "branch1" if kind == "downsample." else f"branch2{'abc'[number - 1]}"
    is_norm = kind == "bn" or (kind == "downsample." and number == 1)
    return f"{before}res{int(found[1]) + 1}_{found[2]}_{branch}_{norm[leaf] if is_norm else leaf}"


@pytest.mark.parametrize("name", ["slowfast_resnet50_4x16", "nl_slowfast_resnet50_4x16"])
def test_a_file_of_caffe2_is_read_without_running_it(tmp_path, name):
    model = create_model(name, num_classes=len(NAMES), dropout=0)
    fill(model)
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("tracked")}
    blobs = {caffe2(key): value.numpy() for key, value in state.items()}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": {**blobs, "lr": np.float32(0.1)}}, protocol=3))
    done = convert_checkpoint(tmp_path / "a.pkl", class_names=NAMES)
    assert done.model.config["name"] == name
    for key, value in state.items():
        assert torch.equal(done.model.state_dict()[key], value), key


@pytest.mark.parametrize("name", ["i3d_resnet50", "nl_i3d_resnet50_8x8"])
def test_the_user_says_which_i3d_a_file_of_caffe2_holds(tmp_path, name):
    model, path = fill(create_model(name, num_classes=len(NAMES), dropout=0)), tmp_path / "a.pkl"
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("tracked")}
    blobs = {caffe2(key if key.startswith("fc.") else f"slow.{key}"): value.numpy() for key, value in state.items()}
    assert {"conv1_w", "res_conv1_bn_riv", "res3_1_branch2b_bn_s"} <= set(blobs)
    blobs |= {"conv1_w_momentum": blobs["conv1_w"], "lr": np.float32(0.1)}
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=3))
    both = r"nl_i3d_resnet50, nl_i3d_resnet50_8x8" if "nl" in name else r"i3d_resnet50, i3d_resnet50_8x8"
    with pytest.raises(CheckpointError, match=rf"fits {both}, and no key tells its strides; name it with --model"):
        convert_checkpoint(path, class_names=NAMES)
    with pytest.raises(ConfigError, match="no s3d; its keys are those of video-nonlocal-net"):
        convert_checkpoint(path, class_names=NAMES, model="s3d")
    with pytest.raises(CheckpointError, match="fit none of nl_i3d_resnet101"):
        convert_checkpoint(path, class_names=NAMES, model="nl_i3d_resnet101")
    done = convert_checkpoint(path, class_names=NAMES, model=name)
    assert done.model.config["name"] == name and done.note == ""
    for key, value in state.items():
        assert torch.equal(done.model.state_dict()[key], value), key


def assert_same(found: nn.Module, want: nn.Module) -> None:
    """Two networks give the same logits for a clip, which say something."""
    clips = torch.rand(1, want.num_frames, 3, 32, 32)
    with torch.inference_mode():
        logits = want(clips)
        assert torch.equal(found(clips), logits) and bool(logits.isfinite().all()) and logits.std() > 0


def vmz(name: str, depths: tuple[int, ...] = (3, 4, 6, 3)) -> dict[str, str]:
    """VMZ's blobs by our keys: blocks are numbered through, and a convolution over space is the middle of two."""
    norms = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    found = {"stem.0.weight": "conv1_middle_w", "stem.3.weight": "conv1_w", "fc.weight": f"last_out_L{name}_w"}
    found["fc.bias"] = f"last_out_L{name}_b"
    norm = {"stem.1": "conv1_middle_spatbn_relu", "stem.4": "conv1_spatbn_relu"}
    blocks = [f"layer{stage + 1}.{i}" for stage, depth in enumerate(depths) for i in range(depth)]
    for number, block in enumerate(blocks):
        for i in (1, 2):
            found[f"{block}.conv{i}.0.0.weight"] = f"comp_{number}_conv_{i}_middle_w"
            found[f"{block}.conv{i}.0.3.weight"] = f"comp_{number}_conv_{i}_w"
            norm[f"{block}.conv{i}.0.1"] = f"comp_{number}_spatbn_{i}_middle"
            norm[f"{block}.conv{i}.1"] = f"comp_{number}_spatbn_{i}"
        if block in ("layer2.0", "layer3.0", "layer4.0"):
            found[f"{block}.downsample.0.weight"] = f"shortcut_projection_{number}_w"
            norm[f"{block}.downsample.1"] = f"shortcut_projection_{number}_spatbn"
    return found | {f"{ours}.{k}": f"{blob}_{v}" for ours, blob in norm.items() for k, v in norms.items()}


def test_vmzs_file_of_34_layers(tmp_path):
    model = fill(create_model("r2plus1d_34", num_classes=len(NAMES), num_frames=8, dropout=0))
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("tracked")}
    blobs = {vmz("5")[key]: value.numpy() for key, value in state.items()}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": blobs}, protocol=3))
    done = convert_checkpoint(tmp_path / "a.pkl", class_names=NAMES, num_frames=8)
    assert_same(done.model, model)


def mmaction(key: str) -> str:
    """MMAction2's key, from our own."""
    if key.startswith("consensus."):
        return f"cls_head.{key}"
    if key.startswith("fc."):
        return f"cls_head.fc_cls.{key[3:]}"
    if key.startswith("lateral."):
        _, stage, part, leaf = key.split(".")
        place = "conv1" if stage == "stage1" else f"layer{int(stage[-1]) - 1}"
        return f"backbone.slow_path.{place}_lateral.{'conv' if part == '0' else 'bn'}.{leaf}"
    path, _, rest = key.partition(".")
    before = f"backbone.{path}_path." if path in ("slow", "fast") else "backbone."
    *block, module, leaf = (rest if path in ("slow", "fast") else key).split(".")
    if block and block[-1] == "downsample":
        return before + ".".join([*block, "conv" if module == "0" else "bn", leaf])
    return before + ".".join([*block, f"conv{module[-1]}", module[:-1], leaf])


def test_mmactions_slowfast_with_norms_in_its_laterals(tmp_path):
    model = fill(create_model("slowfast_resnet50_4x16", num_classes=len(NAMES), dropout=0))
    state = {mmaction(key): value for key, value in model.state_dict().items()}
    head = state["cls_head.fc_cls.weight"]
    state["cls_head.fc_cls.weight"] = torch.cat([head[:, 2048:], head[:, :2048]], dim=1)  # the fast path comes first
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "a.pth")
    done = convert_checkpoint(tmp_path / "a.pth", class_names=NAMES)
    assert done.model.config["name"] == "slowfast_resnet50_4x16" and "slow path takes the first of" in done.note
    assert done.model.data_config["mean"] == (0.485, 0.456, 0.406)
    assert_same(done.model, model)


def mmaction_i3d(state: dict[str, torch.Tensor], clips: torch.Tensor) -> torch.Tensor:
    """MMAction2's I3D in plain torch, from its keys: logits of clips (B, 3, T, H, W)."""

    def unit(x: torch.Tensor, at: str, stride: tuple[int, ...] = (1, 1, 1)) -> torch.Tensor:
        weight = state[f"{at}.conv.weight"]
        x = F.conv3d(x, weight, None, stride, tuple(size // 2 for size in weight.shape[2:]))
        leaves = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{at}.bn.{leaf}"] for leaf in leaves))

    x = unit(clips, "backbone.conv1", (2, 2, 2)).relu()
    x = F.max_pool3d(x, (1, 3, 3), (2, 2, 2), (0, 1, 1))
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for i in range(blocks):
            at, stride = f"backbone.layer{stage}.{i}", (1, 2, 2) if stage > 1 and i == 0 else (1, 1, 1)
            inside = unit(unit(x, f"{at}.conv1").relu(), f"{at}.conv2", stride).relu()
            shortcut = unit(x, f"{at}.downsample", stride) if i == 0 else x
            x = (unit(inside, f"{at}.conv3") + shortcut).relu()
        if stage == 1:
            x = F.max_pool3d(x, (2, 1, 1), (2, 1, 1))
    return F.linear(x.mean((2, 3, 4)), state["cls_head.fc_cls.weight"], state["cls_head.fc_cls.bias"])


def test_mmactions_i3d_gives_its_logits(tmp_path):
    model = fill(create_model("i3d_resnet50_mmaction", num_classes=len(NAMES), num_frames=16, dropout=0))
    state = {mmaction(key): value for key, value in model.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    done = convert_checkpoint(tmp_path / "a.pth", class_names=NAMES, num_frames=16)
    assert done.format == "mmaction-i3d" and done.model.data_config["std"] == (0.229, 0.224, 0.225)
    clips = torch.rand(1, 16, 3, 64, 64)
    with torch.inference_mode():
        want, found = mmaction_i3d(state, clips.transpose(1, 2)), done.model(clips)
    assert (found - want).abs().max() < 1e-5 * want.abs().max()


def test_mmactions_trn(tmp_path):
    model = fill(create_model("trn_resnet50", num_classes=len(NAMES), num_frames=3, dropout=0))
    torch.save({"state_dict": {mmaction(key): value for key, value in model.state_dict().items()}}, tmp_path / "a.pth")
    done = convert_checkpoint(tmp_path / "a.pth", class_names=NAMES)
    assert done.model.config["name"] == "trn_resnet50" and done.model.num_frames == 3
    assert done.interpolation == "bilinear"
    for key, value in model.state_dict().items():
        assert torch.equal(done.model.state_dict()[key], value), key


SMART = {"conv1": "1", "res2a_2": "2", "res2b_2": "3", "res3a_2": "4", "res3b_2": "5", "res4a_2": "6", "res4b_2": "7"}


def artnet_layer(module: str) -> str:
    """ARTNet's name of a layer, from our own."""
    place, _, inner = module.removeprefix("body.").partition(".")
    if inner in ("appearance", "appearance_bn"):
        return place + inner.removeprefix("appearance")
    if inner in ("relation", "relation_bn"):
        return f"{place}_t{inner.removeprefix('relation')}"
    if inner:
        return {"pooling_bn": f"pooling{SMART[place]}_bn", "reduction": f"redu{SMART[place]}"}[inner]
    return {"conv1_bn": "redu1_bn", "fc": "fc8"}.get(place, place)


def eco_layer(module: str) -> str:
    """ECO's name of a layer, from our own."""
    name = module.removeprefix("base_model.").removeprefix("body.")
    return {"res3a_2": "res3a_2n", "fc": "fc8"}.get(name, name)


@pytest.mark.parametrize(("name", "layer"), [("artnet_resnet18", artnet_layer), ("eco_lite", eco_layer)])
def test_files_of_caffe(tmp_path, name, layer):
    model = fill(create_model(name, num_classes=len(NAMES), num_frames=8, dropout=0))
    layers = []
    for module, each in model.cnn.named_modules():
        own = {key: value for key, value in each.state_dict().items() if value.dim()}
        if list(each.children()) or not own:
            continue
        kind = {nn.Linear: "InnerProduct"}.get(type(each), "BN" if "running_var" in own else "Convolution")
        blobs = [own[leaf] for leaf in ("weight", "bias", "running_mean", "running_var") if leaf in own]
        if kind == "BN":
            blobs = [value[None] for value in blobs]
        if blobs[0].dim() > 3 and blobs[0].shape[1] == 3:
            blobs[0] = blobs[0].flip(1)  # BGR
        layers.append((layer(module), kind, blobs))
    if name == "artnet_resnet18":
        layers += [(f"pooling{i}", "Convolution", [torch.full((32, 2, 1, 1, 1), 0.5)]) for i in SMART.values()]
    (tmp_path / "a.caffemodel").write_bytes(caffemodel(layers))
    done = convert_checkpoint(tmp_path / "a.caffemodel", class_names=NAMES, num_frames=8)
    assert done.model.config["name"] == name
    assert_same(done.model, model)
    if name == "artnet_resnet18":
        layers[-1][2][0][0] = 0.25
        (tmp_path / "a.caffemodel").write_bytes(caffemodel(layers))
        with pytest.raises(CheckpointError, match=r"pooling\.weight differ"):
            convert_checkpoint(tmp_path / "a.caffemodel", class_names=NAMES)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("res_conv1_bn_s", "its norms are frozen"),
        ("backbone.conv1.conv.conv_s.weight", r"its R\(2\+1\)D has another stem"),
        ("backbone.slow_path.conv1.conv.weight", "its lateral connections have no norm and no ReLU"),
        ("backbone.layer2.1.non_local_block.g.0.conv.weight", "its non-local blocks pool behind their convolutions"),
        ("mixed_3b.gating_b1.fc.weight", "its stem is one kernel over space and time with one norm"),
    ],
)
def test_networks_that_cannot_be_ours_are_refused_by_name(tmp_path, key, says):
    stem = {"backbone.conv1.conv.weight": torch.zeros(64, 3, 5, 7, 7)} if "non_local" in key else {}
    torch.save({**stem, key: torch.zeros(2, 2)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=rf"that cannot be converted: {says}"):
        convert_checkpoint(tmp_path / "a.pth", class_names=NAMES)


def test_other_3d_networks_of_mmaction_and_paddles_files_are_refused(tmp_path):
    torch.save({"backbone.conv1.conv.weight": torch.zeros(64, 3, 1, 7, 7)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="those of MMAction2, but its weights fit none of i3d_resnet50_mmaction"):
        convert_checkpoint(tmp_path / "a.pth", class_names=NAMES)
    with pytest.raises(CheckpointError, match="Paddle's StNet cannot be converted"):
        convert_checkpoint(tmp_path / "StNet_final.pdparams", class_names=NAMES)


class Harmful:
    def __reduce__(self):
        return print, ("it ran",)


@pytest.mark.parametrize("content", [Harmful(), np.array(["text"]), np.array([None]), np.zeros(2, ">f4")])
def test_other_things_in_a_pickle_are_not_made(tmp_path, capsys, content):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": {"t_pool1_subsample_w": content}}, protocol=3))
    with pytest.raises(CheckpointError, match=r"cannot be read as weights|has no weights"):
        convert_checkpoint(tmp_path / "a.pkl", class_names=NAMES)
    assert "it ran" not in capsys.readouterr().out


def theirs(name: str, modality: Literal["rgb", "flow"] = "rgb") -> tuple[dict[str, torch.Tensor], nn.Module]:
    """A network's weights under a project's keys, and the network."""
    torch.manual_seed(0)
    frames = {"trn_bninception": 4, "trn_resnet18": 3, "eco_lite": 8}.get(name)
    model = create_model(name, num_classes=len(NAMES), num_frames=frames, dropout=0, modality=modality)
    fill(model)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    if name == "i3d_inception_v1":  # its last layer is a convolution there
        state["logits.conv3d.weight"] = state.pop("logits.weight")[:, :, None, None, None]
        state["logits.conv3d.bias"] = state.pop("logits.bias")
    if ("inception" in name and name.startswith(("trn", "tsn"))) or name == "trn_resnet18":
        state = {k if k.startswith("consensus.") else f"base_model.{k}": v for k, v in state.items()}
        state = {re.sub(r"^base_model\.fc\.", "new_fc.", k): v for k, v in state.items()}
    if name.startswith("eco"):
        state = {re.sub(r"^(body\.|(?=res3a))", "base_model.", k): v for k, v in state.items()}
        state = {re.sub(r"^fc\.", "new_fc.", k): v for k, v in state.items()}
    if stem := next((key for key in state if re.search(r"conv1_(7x7_s2|custom)\.weight", key)), None):
        state[stem] = state[stem].flip(1) if modality == "rgb" else state[stem]  # BGR
    return state, model.eval()


@pytest.mark.parametrize(
    "name", ["trn_bninception", "trn_resnet18", "tsn_bninception", "eco_lite", "p3d_63", "i3d_inception_v1", "s3dg"]
)
def test_whole_files_become_the_network(tmp_path, name):
    state, model = theirs(name)
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, tmp_path / "a.pth")
    done = convert_checkpoint(tmp_path / "a.pth", class_names=NAMES, num_frames=model.num_frames)
    assert done.model.config["name"] == name and done.left_out == ("epoch",)
    for key, value in model.state_dict().items():
        assert torch.equal(done.model.state_dict()[key], value), key


def test_trns_network_of_flow(tmp_path):
    state, model = theirs("trn_bninception", modality="flow")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "a.pth")
    done = convert_checkpoint(tmp_path / "a.pth", class_names=NAMES).model
    assert done.config["modality"] == "flow" and done.data_config["mean"] == (0.5,) * 10
    assert all(torch.equal(done.state_dict()[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("make", "name"), [(s3d, "s3d"), (r2plus1d_18, "r2plus1d_18")])
def test_torchvisions_own_files(tmp_path, make, name):
    net = make(num_classes=len(NAMES))
    torch.save(net.state_dict(), tmp_path / "a.pth")
    done = convert_checkpoint(tmp_path / "a.pth", class_names=NAMES)
    assert done.model.config["name"] == name
    assert torch.equal(done.model.state_dict()["stem.0.weight" if name[0] == "r" else "features.0.0.0.weight"],
                       next(iter(net.state_dict().values())))  # fmt: skip


def test_pixels_are_the_projects():
    assert ORIGINS["s3d"].pixels == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = create_model("s3d", num_classes=2, num_frames=8)
    model.set_pixels(*ORIGINS["s3d"].pixels)
    frames = model._frames(torch.full((1, 8, 3, 4, 4), 255, dtype=torch.uint8))
    assert torch.allclose(frames, torch.ones_like(frames)) and model.data_config["mean"] == (0.5, 0.5, 0.5)


def test_what_does_not_fit_is_said(tmp_path):
    net = r2plus1d_18(num_classes=7)
    torch.save(net.state_dict(), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="its head has 7 classes, but 5 class names are given"):
        convert_checkpoint(tmp_path / "a.pth", class_names=NAMES)
    net.layer2 = net.layer3
    torch.save(net.state_dict(), tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="fit none of r2plus1d_18, r2plus1d_34; nearest r2plus1d_18, where"):
        convert_checkpoint(tmp_path / "b.pth", class_names=NAMES)
