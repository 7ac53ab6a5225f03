"""Recognizers that come with the library: found by name, listed with their cards, half as large and as good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open

import teinet
from teinet.cli.main import main
from teinet.models import header
from teinet.models.checkpoint import load_weights, save_weights
from teinet.models.header import list_pretrained, read_header
from tests import miniatures

CARDS = Path(__file__).parents[2] / "benchmarks" / "evidence" / "recipes" / "cards.yaml"
CARD = {"title": "waving or not", "figures": "80 % of 40 clips", "data": "drawn", "not_for": "deciding anything"}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder with one shipped recognizer, `waves`; and its network."""
    folder = tmp_path / "weights"
    monkeypatch.setattr(header, "PRETRAINED", folder)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = teinet.create_model("teinet_test_resnet", num_classes=2, num_frames=4, pretrained=False)
    facts = {"class_names": ["wave", "other"], "license": "MIT", "card": CARD, "preprocessing": {"size": 32}}
    facts["preprocessing"] |= {"short_side": 32, **{k: list(v) for k, v in list(model.data_config.items())[:2]}}
    save_weights(folder / "waves.safetensors", model, facts, dtype=torch.float16)
    return model


def test_a_shipped_recogniser_is_found_by_its_name_everywhere(weights, tmp_path, capsys):
    clip = miniatures.write(tmp_path / "clip.mp4", 0)
    assert teinet.Recognizer.load("waves").class_names == ("wave", "other")
    assert main(["predict", "waves", str(clip)]) == 0
    assert "wave" in capsys.readouterr().out
    assert main(["explain", "waves", str(clip)]) == 0
    capsys.readouterr()
    assert main(["info", "waves"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(said in shown for said in ("waving or not", "80 % of 40 clips", "not for deciding", "license MIT"))


@pytest.mark.parametrize(("name", "network"), [("resnet50", "teinet_resnet50"), ("slowfast", "slowfast_resnet50_4x16")])
def test_a_networks_name_in_place_of_weights(name, network):
    with pytest.raises(teinet.errors.CheckpointError, match=f"a network, but no weights; .* --model {network}"):
        read_header(name)


def test_what_exists_goes_before_a_name(weights, tmp_path):
    (tmp_path / "waves").mkdir()
    with pytest.raises(teinet.errors.CheckpointError, match=r"waves has no last\.safetensors"):
        teinet.Recognizer.load("waves")


def test_without_weights_it_says_what_there_is(weights, tmp_path, capsys):
    miniatures.write(tmp_path / "clip.mp4", 0)
    for words in (["predict", "clip.mp4"], ["timeline", "clip.mp4"], ["predict"]):
        assert main(words) == 2
        first, model, last = capsys.readouterr().err.splitlines()
        assert "Weights come first" in first and last.startswith(f"teinet {words[0]}: the following arguments are")
        assert model.split() == ["teinet", words[0], "waves", "waving", "or", "not"]
    assert main(["predict", "waves"]) == 2  # the video is what is missing
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["predict", "clip.mp4", "clip.mp4"]) == 2
    assert "name the weights first, then the videos" in capsys.readouterr().err


def test_a_pretrained_model_is_taken_in_its_causal_form_for_streams(weights, tmp_path, capsys):
    clip = miniatures.write(tmp_path / "clip.mp4", 0)

    def said(command: str, *more: str) -> str:
        assert main([command, "waves", str(clip), "--frame-interval", "0.1", *more]) == 0
        return capsys.readouterr().err

    assert "in overlapping windows" in said("watch", "--fast")
    model = teinet.create_model("teinet_test_resnet", num_classes=2, num_frames=4, pretrained=False, causal=True)
    save_weights(header.PRETRAINED / "waves_causal.safetensors", model, {"class_names": ["wave", "other"]})
    assert "waves: using its causal form, waves_causal" in said("timeline")
    assert ", state " in said("watch", "--fast") and "causal form" not in said("watch", "--fast", "--windows")


def test_half_precision_halves_the_file_and_computes_in_full(weights, tmp_path):
    save_weights(tmp_path / "full.safetensors", weights, {"class_names": ["wave", "other"]})
    half, full = header.PRETRAINED / "waves.safetensors", tmp_path / "full.safetensors"
    assert half.stat().st_size < 0.55 * full.stat().st_size
    model, _ = load_weights(half)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    clips = torch.randint(256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        ours, theirs = model(clips), weights.eval()(clips)
    np.testing.assert_allclose(ours, theirs, atol=2e-3 * float(theirs.abs().max()) + 1e-4)


def test_the_header_is_read_without_the_tensors(weights):
    assert [each.name for each in list_pretrained()] == ["waves"]
    assert read_header("waves")["card"] == CARD


def test_what_truly_ships_is_small_half_precision_and_says_what_it_is_for():
    shipped = list_pretrained()
    assert shipped and sum(each.path.stat().st_size for each in shipped) < 30e6
    for each in shipped:
        card, recipe = each.header["card"], each.header["recipe"]
        written = yaml.safe_load(CARDS.read_text())[each.name]
        facts = {key: each.header[key] for key in ("license", "background") if key in written}
        assert {**card, **facts} == written, f"{each.name}: ship it again"
        assert each.header["license"] and all(card.get(k) for k in ("title", "data", "figures", "not_for")), each.name
        assert not recipe["data"] and not any("/" in str(value) for value in recipe.get("model", {}).values()), (
            each.name
        )
        with safe_open(each.path, "pt") as file:
            kinds = {file.get_slice(key).get_dtype() for key in file.keys()}
        assert "F32" not in kinds and "F16" in kinds
        scores = teinet.Recognizer.load(each.name)(np.zeros((16, 60, 80, 3), np.uint8)).labels
        assert {name for name, _ in scores} <= set(each.header["class_names"])
        assert all(np.isfinite(score) for _, score in scores)
