"""Training that starts from weights with the same classes: its best weights are never worse than those."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

import teinet
from teinet.data.lists.data_config import DataConfig
from teinet.models.checkpoint import load_matching, save_weights
from teinet.models.header import read_header
from teinet.probing.probe_job import ProbeSettings, probe
from teinet.recognition import Recognizer
from tests.conftest import CLASSES

SMALL = {
    "frames": 2, "epochs": 1, "batch_size": 3, "workers": 0, "device": "cpu", "data.val_share": 0.25, "optim.warmup": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(clips, tmp_path_factory):
    """Weights that recognize all drawn clips: the head of a probe, which was fitted on them."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(0)
    state = teinet.create_model("tsn_resnet10t", num_classes=5).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "backbone.safetensors")
    found = probe(
        ProbeSettings(
            data=DataConfig(path=str(clips)),
            backbone="resnet10t", backbone_weights=str(folder / "backbone.safetensors"),
            num_frames=2, size=(32, 40), heads=["motion"], folds=2, shuffles=1, device="cpu",
        )
    )  # fmt: skip
    found.recognizer.save(folder / "probe.safetensors")
    return folder / "probe.safetensors"


def test_what_training_spoils_is_kept_and_the_user_is_told(clips, tmp_path, trained, capsys):
    run = teinet.train(clips, weights=trained, name="worse", output=str(tmp_path), **SMALL, lr=50.0)
    said = capsys.readouterr().out
    best, last = (read_header(run.folder / f"{name}.safetensors")["scores"] for name in ("best", "last"))
    assert best == {"epoch": 0, "val_top1": 1.0} and last["val_top1"] < 1
    assert "val top-1 100.0% by the weights to start from" in said
    assert f"use {run.folder / 'best.safetensors'}: those that training started from recognize 100.0%" in said
    own, theirs = (
        Recognizer.load(path, "cpu").model.state_dict() for path in (run.folder / "best.safetensors", trained)
    )
    assert all(torch.equal(own[key], theirs[key]) for key in own)
    state = torch.load(run.folder / "resume.ckpt", weights_only=True)["callbacks"]["RunState"]
    assert state == {"best": 1.0}  # which a resumed run continues with


def test_other_classes_have_no_start(clips, tmp_path, trained, capsys):
    teinet.train(
        clips, weights=trained, name="other", output=str(tmp_path), **SMALL, **{"data.classes": [*CLASSES, "more"]}
    )
    assert "by the weights to start from" not in capsys.readouterr().out


def test_temporal_modules_start_new_in_a_network_that_had_none(tmp_path):
    """With the identity kernel and the residual gate's start, the first answers are those of the 2-D network."""
    torch.manual_seed(0)
    plain = teinet.create_model("tsn_resnet10t", num_classes=3, num_frames=4, consensus="motion").eval()
    torch.nn.init.normal_(plain.head.weight)
    save_weights(tmp_path / "plain.safetensors", plain, {"class_names": list(CLASSES)})
    model = teinet.create_model(
        "tim_resnet10t", num_classes=3, num_frames=4, consensus="motion", init="identity"
    ).eval()
    load_matching(model, tmp_path / "plain.safetensors", class_names=list(CLASSES))
    x = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(model(x), plain(x), rtol=1e-4, atol=1e-4)


def test_a_probe_is_fine_tuned_in_a_network_with_temporal_modules(clips, tmp_path, trained, capsys):
    run = teinet.train(
        clips, weights=trained, model="teinet_resnet10t", name="tuned", output=str(tmp_path), **SMALL, lr=1e-4,
        **{"model.gate": "residual", "model.init": "identity"},
    )  # fmt: skip
    config = run.recognizer("cpu").model.config
    assert (config["consensus"], config["name"]) == ("motion", "teinet_resnet10t")
    assert run.recognizer("cpu").preprocessing.shape == (32, 40)
    assert "by the weights to start from" in capsys.readouterr().out
