"""A probe before training: the best weights so far until training is better."""

from __future__ import annotations

from typing import Any

import pytest
import timm
from safetensors.torch import save_file

import teinet
from teinet.errors import ConfigError
from teinet.models.header import read_header

SMALL: dict[str, Any] = {"model": "teinet_resnet10t", "frames": 2, "size": 64, "epochs": 1, "run.probe": True}
SMALL |= {"workers": 0, "device": "cpu", "batch_size": 3}


@pytest.fixture
def backbone(tmp_path) -> str:
    save_file(timm.create_model("resnet10t").state_dict(), path := tmp_path / "backbone.safetensors")
    return str(path)


def test_the_probe_is_what_training_must_beat(clips, tmp_path, backbone, capsys):
    run = teinet.train(clips, **SMALL, backbone_weights=backbone, output=str(tmp_path), lr=1e-9)
    said = capsys.readouterr().out
    best, last = (read_header(run.folder / f"{name}.safetensors") for name in ("best", "last"))
    (line,) = (line for line in said.splitlines() if line.startswith("probe "))
    measured = float(line.split()[3].rstrip("%")) / 100
    assert best["scores"]["val_top1"] == pytest.approx(max(measured, run.log[0]["val_top1"]), abs=1e-3)
    assert (best["scores"]["epoch"] == 0) == (measured >= run.log[0]["val_top1"])
    assert last["architecture"]["name"] == "teinet_resnet10t"
    if not best["scores"]["epoch"]:
        assert best["architecture"]["name"] == "tsn_resnet10t"
        assert teinet.Recognizer.load(run.folder / "best.safetensors")(next(clips.rglob("*.mp4")))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": "s3d"}, "needs a backbone of timm, and s3d has none"),
        ({"modality": "flow"}, "needs a list of clips with validation clips, of images"),
        ({"model.pretrained": False}, "needs a start from a trained 2-D network"),
    ],
)
def test_what_has_no_probe_says_so(clips, settings, says, monkeypatch):
    monkeypatch.setattr("teinet.training.setup.build_model", lambda recipe, names: pytest.fail("too late"))
    with pytest.raises(ConfigError, match=says):
        teinet.train(clips, **{**SMALL, **settings})
