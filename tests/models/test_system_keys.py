"""Public checkpoints of the systems: examples of their keys, whole files under them, and what does not fit."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.video import r2plus1d_18, s3d

from teinet.errors import CheckpointError
from teinet.models import create_model
from teinet.models.converters import convert_checkpoint
from teinet.models.system_keys import ORIGINS
from tests.models.oracles import fill

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


class Harmful:
    def __reduce__(self):
        return print, ("it ran",)


@pytest.mark.parametrize("content", [Harmful(), np.array(["text"]), np.array([None]), np.zeros(2, ">f4")])
def test_other_things_in_a_pickle_are_not_made(tmp_path, capsys, content):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": {"t_pool1_subsample_w": content}}, protocol=3))
    with pytest.raises(CheckpointError, match=r"cannot be read as weights|has no weights"):
        convert_checkpoint(tmp_path / "a.pkl", class_names=NAMES)
    assert "it ran" not in capsys.readouterr().out


def theirs(name: str) -> tuple[dict[str, torch.Tensor], nn.Module]:
    """A network's weights under a project's keys, and the network."""
    torch.manual_seed(0)
    frames = {"trn_bninception": 4, "trn_resnet18": 3, "eco_lite": 8}.get(name)
    model = create_model(name, num_classes=len(NAMES), num_frames=frames, dropout=0)
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
        state[stem] = state[stem].flip(1)  # BGR
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
