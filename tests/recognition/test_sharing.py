"""Recognizers that go to a folder or the hub and come back: the same answers, the same size, and an honest card."""

from __future__ import annotations

import json
import re
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from teinet import Recognizer
from teinet.cli import benchmark
from teinet.cli.main import main
from teinet.errors import CheckpointError, ConfigError
from tests import hub as hubs
from tests import miniatures
from tests.conftest import small
from tests.networks import small_recognizer, wake

FRAMES = miniatures.frames(0)
HEADER = {
    "license": "CC-BY-4.0",
    "scores": {"epoch": 3, "val_top1": 0.875},
    "recipe": {
        "data": {"path": "/home/ann/secret/clips.csv"},
        "model": {"name": "tsm_test_resnet", "weights": "/home/ann/start.safetensors", "backbone_weights": None},
        "optim": {"epochs": 3},
        "run": {"output": "/home/ann/runs"},
    },
    "data": {"train": {"clips": 40, "sha256": "x"}, "val": {"clips": 8, "sha256": "y"}},
    "background": ["resting"],
    "card": {"title": "left or right", "not_for": "anything | else", "figures": "88 % of 8 clips", "data": "drawn"},
}


@pytest.fixture
def recognizer() -> Recognizer:
    made = small_recognizer("tsm_test_resnet")
    wake(made.model)
    made.header |= HEADER
    return made


@pytest.fixture
def logged_in(monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", hubs.TOKEN)


def types(path: Path) -> set[torch.dtype]:
    return {value.dtype for value in load_file(path).values() if value.is_floating_point()}


def metadata(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def test_a_saved_folder_comes_back(recognizer, tmp_path):
    folder = tmp_path / "out" / "waves"
    recognizer.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.safetensors"]
    for again in (Recognizer.from_pretrained(folder, device="cpu"), Recognizer.load(folder, "cpu")):
        assert np.array_equal(again(FRAMES).scores, recognizer(FRAMES).scores)
    Recognizer.load(folder, "cpu").save_pretrained(folder)
    assert types(folder / "model.safetensors") == {torch.float32}
    recognizer.save_pretrained(folder, dtype=torch.float16)
    Recognizer.load(folder, "cpu").save_pretrained(folder)
    assert types(folder / "model.safetensors") == {torch.float16}
    (folder / "README.md").write_text("mine")
    recognizer.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "mine"


def test_what_is_shared_does_not_say_where_it_was_made(recognizer, tmp_path):
    recognizer.save_pretrained(tmp_path)
    for path in tmp_path.iterdir():
        assert b"/home/ann" not in path.read_bytes()
    header = Recognizer.load(tmp_path, "cpu").header
    assert header["recipe"] == {"data": {}, "model": {"name": "tsm_test_resnet"}, "optim": {"epochs": 3}}
    assert header["data"] == HEADER["data"] and recognizer.header["recipe"] == HEADER["recipe"]


def test_the_card_says_what_the_header_says(recognizer, tmp_path):
    recognizer.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    facts = metadata(card)
    (index,) = facts.pop("model-index")
    assert facts == {
        "library_name": "teinet",
        "license": "cc-by-4.0",
        "pipeline_tag": "video-classification",
        "tags": ["teinet", "action-recognition", "tsm_test_resnet"],
    }
    assert index["results"][0]["task"] == {"type": "video-classification"}
    assert index["results"][0]["metrics"] == [{"type": "accuracy", "value": 0.875, "name": "top-1 accuracy"}]
    sections = dict(re.findall(r"^## (.*)\n\n([^#]*)", card.split("---", 2)[2], re.MULTILINE))
    assert sections["Classes"].strip() == "moving left, moving right, resting (background)"
    assert "88 % of 8 clips" in sections["Accuracy"] and "87.5 % on the validation clips" in sections["Accuracy"]
    assert sections["Limits"].strip() == r"Not for anything \| else."
    assert "# left or right\n" in card and sections["License"].strip() == "CC-BY-4.0"


def test_the_card_of_a_bare_header_claims_nothing(tmp_path):
    small_recognizer("tsm_test_resnet").save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert not {"license", "model-index"} & set(metadata(card))
    assert card.count("Not stated.") == 4  # accuracy, limits, data, license


@pytest.mark.parametrize(
    ("license", "stated"),
    [
        ("MIT", {"license": "mit"}),
        ("for research: ask us\n", {"license": "other", "license_name": "for-research-ask-us"}),
        ("a: b\n---\nc: d", {"license": "other", "license_name": "a-b-c-d"}),
    ],
)
def test_licenses_in_the_hubs_words(recognizer, tmp_path, license, stated):
    recognizer.header["license"] = license
    recognizer.save_pretrained(tmp_path)
    facts = metadata((tmp_path / "README.md").read_text())
    assert {key: value for key, value in facts.items() if key.startswith("license")} == stated


def test_pushed_and_loaded_again(hub, recognizer, logged_in):
    address = recognizer.push_to_hub("ann/waves", commit_message="First")
    repository = hub.repositories["ann/waves"]
    commit = repository.refs["main"]
    assert address == f"{hub.address}/ann/waves/commit/{commit}" and repository.messages == ["First"]
    assert set(repository.commits[commit]) == {"README.md", "model.safetensors"} and not repository.private
    assert b'from_pretrained("ann/waves")' in repository.commits[commit]["README.md"]
    recognizer.model.head.bias.data += torch.tensor([0.0, 3.0, 0.0])
    recognizer.push_to_hub("hf://ann/waves")
    now = Recognizer.from_pretrained("ann/waves", device="cpu")
    first = Recognizer.from_pretrained("ann/waves", revision=commit, device="cpu")
    same = Recognizer.from_pretrained(f"ann/waves@{commit}", device="cpu")
    assert np.array_equal(now(FRAMES).scores, recognizer(FRAMES).scores)
    assert np.array_equal(first(FRAMES).scores, same(FRAMES).scores)
    assert not np.array_equal(first(FRAMES).scores, now(FRAMES).scores)


def test_a_private_repository_and_a_branch(hub, recognizer):
    recognizer.push_to_hub("ann/waves", token=hubs.TOKEN, private=True, revision="next")
    repository = hub.repositories["ann/waves"]
    assert repository.private and repository.commits[repository.refs["main"]] == {}
    with pytest.raises(CheckpointError, match="a private one"):
        Recognizer.from_pretrained("ann/waves", revision="next")
    Recognizer.from_pretrained("ann/waves", revision="next", token=hubs.TOKEN, device="cpu")
    recognizer.push_to_hub("ann/waves", token=hubs.TOKEN, revision="next")  # which exists now
    assert len(repository.messages) == 2


def test_an_edited_card_is_kept(hub, recognizer, logged_in):
    hub.add("ann/waves", b"mine", file="README.md")
    recognizer.push_to_hub("ann/waves")
    repository = hub.repositories["ann/waves"]
    assert repository.commits[repository.refs["main"]]["README.md"] == b"mine"
    recognizer.push_to_hub("ann/waves", overwrite_card=True)
    assert b"library_name: teinet" in repository.commits[repository.refs["main"]]["README.md"]


def test_a_large_file_goes_to_the_store(hub, recognizer, logged_in):
    hub.upload_mode = "lfs"
    recognizer.push_to_hub("ann/waves")
    assert len(hub.asked("PUT", "/stored/")) == 1
    again = Recognizer.from_pretrained("ann/waves", device="cpu")
    assert np.array_equal(again(FRAMES).scores, recognizer(FRAMES).scores)


def test_what_cannot_be_pushed(hub, recognizer, monkeypatch):
    with pytest.raises(CheckpointError, match="hf://ann/waves: the token is missing or not valid"):
        recognizer.push_to_hub("ann/waves")
    with pytest.raises(CheckpointError, match="the token is missing or not valid") as error:
        recognizer.push_to_hub("ann/waves", token="hf_wrong")
    assert "hf_wrong" not in str(error.value)
    hub.requests.clear()
    for name in ("waves", "hf://ann/waves/best.safetensors", "ann/waves/more"):
        with pytest.raises(ConfigError):
            recognizer.push_to_hub(name)
    with pytest.raises(ConfigError, match="an optimized recognizer cannot be saved"):
        recognizer.optimize().push_to_hub("ann/waves")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="while HF_HUB_OFFLINE is set"):
        recognizer.push_to_hub("ann/waves")
    assert hub.requests == [] and hub.repositories == {}


def test_what_exists_goes_before_the_hub(hub, recognizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recognizer.save_pretrained("ann/waves")
    assert Recognizer.from_pretrained("ann/waves", device="cpu").class_names == recognizer.class_names
    assert Recognizer.from_pretrained("fights", device="cpu").class_names == ("fight", "noFight")
    assert hub.requests == []
    with pytest.raises(ConfigError, match="a revision belongs to a repository"):
        Recognizer.from_pretrained("fights", revision="v1")
    with pytest.raises(CheckpointError, match=r"no such repository.*there is no folder or file ann/other"):
        Recognizer.from_pretrained("ann/other")
    hub.requests.clear()
    with pytest.raises(CheckpointError, match="no such file"):
        Recognizer.from_pretrained("runs/net.safetensors")
    assert hub.requests == []


def test_every_command_takes_an_address(hub, recognizer, clips, tmp_path, monkeypatch, capsys):
    recognizer.header |= {"frame_interval": 0.1}
    recognizer.save(tmp_path / "half.safetensors", dtype=torch.float16)
    hub.add("ann/waves", (tmp_path / "half.safetensors").read_bytes())
    monkeypatch.chdir(tmp_path)
    name, clip = "hf://ann/waves", str(clips / "resting" / "0.mp4")
    for words in (
        ["info", name, "--json"],
        ["predict", name, clip, "--json"],
        ["timeline", name, clip, "--json"],
        ["watch", name, clip, "--fast", "--json"],
        ["explain", name, clip],
        ["test", name, "--data", str(clips), "--workers", "0"],
    ):
        assert main([*words, *(["--device", "cpu"] if words[0] != "info" else [])]) == 0, capsys.readouterr().err
    assert (tmp_path / "waves-0-explained.html").is_file()
    measured = benchmark.load(
        benchmark.BenchmarkedNetwork(name, None, None, []), torch.device("cpu"), False, "eager", "fp32"
    )
    assert measured.name == name and measured.size == (32, 32)
    (tested,) = (tmp_path / "runs" / "ann-waves").iterdir()
    assert tested.name.startswith("test-1x1") and (tested / "metrics.json").is_file()
    capsys.readouterr()
    assert main(["convert", name, "--labels", clip]) == 2 and "download it first" in capsys.readouterr().err


def test_training_from_an_address_keeps_it_and_writes_whole_numbers(hub, recognizer, clips, tmp_path, monkeypatch):
    recognizer.save(tmp_path / "half.safetensors", dtype=torch.float16)
    hub.add("ann/waves", (tmp_path / "half.safetensors").read_bytes())
    monkeypatch.chdir(tmp_path)
    words = small(clips, "--weights", "hf://ann/waves", "--output", "runs")
    for option in ("--model", "--model.pretrained", "--frames"):
        del words[words.index(option) : words.index(option) + 2]
    assert main(["train", *words]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name == "clips-from-waves-1"
    assert yaml.safe_load((run / "recipe.yaml").read_text())["model"]["weights"] == "hf://ann/waves"
    assert types(run / "last.safetensors") == {torch.float32}


def test_the_examples_of_the_page_run(hub, recognizer, tmp_path, monkeypatch, logged_in):
    """docs/how-to/share.md, against this hub."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "share.md").read_text()
    monkeypatch.chdir(tmp_path)
    recognizer.save("runs/first/last.safetensors")
    recognizer.push_to_hub("user/name")
    hub.repositories["user/name"].refs["v1.0"] = hub.repositories["user/name"].refs["main"]
    miniatures.write(tmp_path / "clip.mp4", 0)
    scope: dict = {}
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(example, "share.md", "exec"), scope)
    card = (tmp_path / "to-share" / "README.md").read_text()
    assert "91 % on 4 people" in card and metadata(card)["license"] == "cc-by-4.0"
    assert json.loads(json.dumps(scope["classify"]("clip.mp4")))[0].keys() == {"score", "label"}
