"""Training that starts from weights with the same classes, or from a probe: it is never worse than those."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import save_file

import teinet
from teinet.cli.main import main
from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.splits import load_splits
from teinet.errors import CheckpointError, ConfigError
from teinet.models.checkpoint import load_matching, save_weights
from teinet.models.header import read_header
from teinet.probing.probe_job import ProbeSettings, fit_again, probe
from teinet.recognition import Recognizer
from tests.conftest import CLASSES

SMALL = {
    "frames": 2, "epochs": 1, "batch_size": 3, "workers": 0, "device": "cpu", "data.val_share": 0.25, "optim.warmup": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def probed(clips, tmp_path_factory):
    """A probe that recognizes all drawn clips, on which it was fitted."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(0)
    state = teinet.create_model("tsn_resnet10t", num_classes=5).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "backbone.safetensors")
    settings = ProbeSettings(
        data=DataConfig(path=str(clips)),
        backbone="resnet10t", backbone_weights=str(folder / "backbone.safetensors"),
        num_frames=2, size=(32, 40), heads=["motion"], folds=2, shuffles=1, device="cpu",
    )  # fmt: skip
    found = probe(settings)
    found.recognizer.save(folder / "probe.safetensors")
    return folder / "probe.safetensors"


@pytest.fixture(scope="module")
def trained(probed):
    """The same as the weights of a run."""
    recognizer = Recognizer.load(probed, "cpu")
    del recognizer.header["probe"]
    recognizer.save(probed.parent / "trained.safetensors")
    return probed.parent / "trained.safetensors"


def test_what_training_spoils_is_kept_and_the_user_is_told(clips, tmp_path, trained, capsys):
    run = teinet.train(clips, weights=trained, name="worse", output=str(tmp_path), **SMALL, lr=50.0)
    said = capsys.readouterr().out
    best, last = (read_header(run.folder / f"{name}.safetensors")["scores"] for name in ("best", "last"))
    assert best == {"epoch": 0, "val_top1": 1.0} and last["val_top1"] < 1
    assert "val top-1 100.0% by the weights to start from" in said
    assert f"use {run.folder / 'best.safetensors'}: val top-1 100.0% by the weights that training started from" in said
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


def test_a_probe_is_compared_without_the_validation_clips_that_it_was_fitted_on(clips, tmp_path, probed, capsys):
    run = teinet.train(clips, weights=probed, name="worse", output=str(tmp_path), **SMALL, lr=50.0)
    said = capsys.readouterr().out
    best = Recognizer.load(run.folder / "best.safetensors", "cpu")
    top1 = best.header["scores"]["val_top1"]
    assert best.header["scores"]["epoch"] == 0 and f"val top-1 {top1:.1%} by the frozen 2-D network" in said
    assert f"use {probed}: val top-1 {top1:.1%} by its kind of head, fitted on the training clips alone" in said
    scores = teinet.test(run.folder / "best.safetensors", device="cpu", workers=0, output=tmp_path / "scores")
    assert scores.accuracy == pytest.approx(top1) and "trained_on" not in scores.meta
    theirs = Recognizer.load(probed, "cpu").model.state_dict()
    differs = {key for key, value in best.model.state_dict().items() if not torch.equal(value, theirs[key])}
    assert differs == {f"{best.model.head_name}.weight", f"{best.model.head_name}.bias"}


def test_training_begins_at_the_head_that_was_fitted_without_validation_clips(clips, tmp_path, probed, capsys):
    run = teinet.train(clips, weights=probed, name="still", output=str(tmp_path), **SMALL, lr=1e-12)
    best, last = (Recognizer.load(run.folder / f"{name}.safetensors", "cpu") for name in ("best", "last"))
    head = best.model.head_name
    for key in (f"{head}.weight", f"{head}.bias"):
        torch.testing.assert_close(last.model.state_dict()[key], best.model.state_dict()[key])
        assert not torch.equal(best.model.state_dict()[key], Recognizer.load(probed, "cpu").model.state_dict()[key])
    assert last.header["scores"]["val_top1"] == best.header["scores"]["val_top1"]
    assert f"use {probed}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("head", "causal"),
    [
        ("average", False),
        ("motion", False),
        ("motion", True),
        ("temporal", False),
        ("difference", True),
        ("temporal_difference", False),
    ],
)
def test_a_head_that_is_fitted_again_on_the_same_clips_is_the_same(clips, probed, head, causal, tmp_path):
    settings = ProbeSettings(
        data=DataConfig(path=str(clips)),
        backbone="resnet10t", backbone_weights=str(probed.parent / "backbone.safetensors"),
        num_frames=2, size=(32, 40), heads=[head], causal=causal, folds=2, shuffles=1, device="cpu",
    )  # fmt: skip
    found = probe(settings)
    found.recognizer.save(tmp_path / "probe.safetensors")
    all_clips = load_splits(DataConfig(path=str(clips), val_share=0.0))["train"]
    again, top1 = fit_again(
        str(tmp_path / "probe.safetensors"), all_clips, all_clips, device="cpu", workers=0, read_timeout=60
    )
    own, theirs = (each.model.state_dict() for each in (again, found.recognizer))
    assert own.keys() == theirs.keys()
    for key in own:
        torch.testing.assert_close(own[key], theirs[key])
    assert top1 > 0.9


def test_features_that_a_probe_kept_are_not_computed_again(clips, tmp_path, probed, monkeypatch):
    monkeypatch.setattr("teinet.probing.clip_features._compute", lambda *a: pytest.fail("computed again"))
    teinet.train(clips, weights=probed, name="kept", output=str(tmp_path), **SMALL, lr=1e-9)


def test_training_that_beats_the_probe_is_named(clips, tmp_path, probed, capsys, monkeypatch):
    monkeypatch.setattr("teinet.training.start.fit_again", lambda *a, **k: (fit_again(*a, **k)[0], 0.0))
    run = teinet.train(clips, weights=probed, name="better", output=str(tmp_path), **SMALL, lr=1e-9)
    scores = read_header(run.folder / "best.safetensors")["scores"]
    assert scores["epoch"] == 1 and scores["val_top1"] > 0
    assert "use " not in capsys.readouterr().out


def test_the_probe_is_named_where_the_last_epoch_was_not_validated(clips, tmp_path, probed, capsys):
    few = "--workers 0 --device cpu --epochs 1 --batch-size 3 --lr 1e-9 --run.validate_every 2 --data.val_share 0.25"
    where = ["--output", str(tmp_path), "--name", "rare"]
    assert main(["train", str(clips), "--weights", str(probed), *few.split(), *where]) == 0
    said = capsys.readouterr().out.splitlines()
    (line,) = [line for line in said if line.startswith("use ")]
    assert line.endswith("fitted on the training clips alone") and f"  teinet predict {probed} VIDEO" in said


def test_a_probe_of_other_clips_is_measured_as_it_is(clips, tmp_path, probed, capsys):
    others = shutil.copytree(clips, tmp_path / "others")
    for number, path in enumerate(others.rglob("*.mp4")):
        path.write_bytes(path.read_bytes() + bytes([number]))  # other files, the same frames
    teinet.train(others, weights=probed, name="new", output=str(tmp_path), **SMALL, lr=1e-9)
    assert "val top-1 100.0% by the weights to start from\n" in capsys.readouterr().out


def test_weights_that_saw_validation_clips_say_so(clips, tmp_path, trained, capsys):
    settings = {**SMALL, "data.seed": 5}
    teinet.train(clips, weights=trained, name="seen", output=str(tmp_path), **settings, lr=1e-9)
    assert "by the weights to start from, which were trained on 3 of these 3 clips" in capsys.readouterr().out


def test_several_processes_refuse_a_probe_that_saw_the_validation_clips(clips, tmp_path, probed):
    with pytest.raises(ConfigError, match="fitted on validation clips"):
        teinet.train(clips, weights=probed, output=str(tmp_path / "runs"), **SMALL, devices=2)
    assert not (tmp_path / "runs").exists()


def test_datasets_of_ones_own_have_no_start(tmp_path, probed, capsys):
    """Their clips have no files to measure or to compute features of."""

    class Drawn(torch.utils.data.Dataset):
        def __init__(self):
            self.targets, self.classes = [0, 1, 2] * 3, list(CLASSES)

        def __len__(self) -> int:
            return len(self.targets)

        def __getitem__(self, index: int):
            return torch.zeros(2, 3, 32, 40, dtype=torch.uint8), self.targets[index]

    settings = {key: value for key, value in SMALL.items() if key != "data.val_share"}
    teinet.train({"train": Drawn(), "val": Drawn()}, weights=probed, name="own", output=str(tmp_path), **settings)
    assert "by the" not in capsys.readouterr().out


def test_the_head_of_a_probe_is_what_its_network_has(clips, tmp_path, probed, capsys):
    recognizer = Recognizer.load(probed, "cpu")
    del recognizer.header["probe"]["head"]
    recognizer.save(tmp_path / "short.safetensors")
    teinet.train(clips, weights=tmp_path / "short.safetensors", output=str(tmp_path), **SMALL, lr=1e-9)
    assert "by the frozen 2-D network, head motion" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [{"head": "motion"}, {"strength": "much"}, "probe"])
def test_a_probe_with_a_damaged_header_is_refused(clips, tmp_path, probed, damage):
    recognizer = Recognizer.load(probed, "cpu")
    recognizer.header["probe"] = damage
    recognizer.save(tmp_path / "damaged.safetensors")
    with pytest.raises(CheckpointError, match="damaged"):
        teinet.train(clips, weights=tmp_path / "damaged.safetensors", output=str(tmp_path), **SMALL)


def test_a_probe_is_fine_tuned_in_a_network_with_temporal_modules(clips, tmp_path, probed, capsys):
    run = teinet.train(
        clips, weights=probed, model="teinet_resnet10t", name="tuned", output=str(tmp_path), **SMALL, lr=1e-4,
        **{"model.gate": "residual", "model.init": "identity"},
    )  # fmt: skip
    config = run.recognizer("cpu").model.config
    assert (config["consensus"], config["name"]) == ("motion", "teinet_resnet10t")
    assert run.recognizer("cpu").preprocessing.shape == (32, 40)
    assert "by the frozen 2-D network, head motion" in capsys.readouterr().out
