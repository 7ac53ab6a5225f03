"""A recognizer's file: comes back as it was, replaces an older one whole, and refuses by name what does not fit."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from teinet.errors import CheckpointError, ConfigError
from teinet.models import VideoClassifier, create_model, load_matching, load_weights, save_weights
from teinet.training.recipe import Recipe
from teinet.training.setup import with_network_of_weights

NET = "teinet_test_resnet"
NAMES = ["wave", "clap", "jump"]
ARCHITECTURE = {"name": NET, "num_classes": 3, "num_frames": 4, "gate": "residual", "stages": [4, 5]}


@pytest.fixture
def model() -> VideoClassifier:
    torch.manual_seed(0)
    model = create_model(**ARCHITECTURE)
    for name, parameter in model.named_parameters():  # fresh branches end in a norm of zero, which hides their modules
        if parameter.dim() == 1 or ".temporal." in name or parameter is model.head.weight:
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


@pytest.fixture
def path(tmp_path, model):
    save_weights(tmp_path / "net.safetensors", model, {"class_names": NAMES, "scores": {"top1": 0.5}})
    return tmp_path / "net.safetensors"


def rewrite(path, header=None, tensors=None):
    """The file with parts of its header or its tensors changed."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["teinet"]) | (header or {})
    state = {key: value for key, value in (load_file(path) | (tensors or {})).items() if value is not None}
    save_file(state, path, {"teinet": json.dumps(header)})


def test_a_recogniser_comes_back(path, model):
    other, header = load_weights(path)
    x = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(other(x), model(x)) and not torch.allclose(model(x), model(x.flip(1)))
    assert not other.training and other.config == model.config
    assert header["class_names"] == NAMES and header["scores"] == {"top1": 0.5} and header["format"] == 2
    assert {"architecture", "preprocessing", "sampling", "recipe", "license", "version"} <= set(header)


@pytest.mark.parametrize("size", [0, 5, 200, 0.5, 0.999])
def test_a_cut_off_file_is_refused(path, size):
    content = path.read_bytes()
    path.write_bytes(content[: int(size if size >= 1 or size == 0 else size * len(content))])
    with pytest.raises(CheckpointError, match=r"net\.safetensors: no safetensors file, or cut off"):
        load_weights(path)


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path):
    """The file is sparse: it takes no room on the disk, but would in memory."""
    with (tmp_path / "bomb.safetensors").open("wb") as file:
        file.write((2**33).to_bytes(8, "little"))
        file.truncate(2**34)
    with pytest.raises(CheckpointError, match="its header would have 8589934592 bytes"):
        load_weights(tmp_path / "bomb.safetensors")


def test_other_files_are_refused(tmp_path, model):
    with pytest.raises(CheckpointError, match="no such file or run folder"):
        load_weights(tmp_path / "absent.safetensors")
    for name in ("last.safetensors", "resume.ckpt"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"a run's resume state, not weights; use .*last\.safetensors"):
        load_weights(tmp_path / "resume.ckpt")
    torch.save(model.state_dict(), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="a PyTorch checkpoint, not a recognizer"):
        load_weights(tmp_path / "a.pth")
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match=r"without a teinet header; teinet convert .*--backbone-weights"):
        load_weights(tmp_path / "plain.safetensors")
    save_file({"x": torch.ones(1)}, tmp_path / "bad.safetensors", {"teinet": "{not json"})
    with pytest.raises(CheckpointError, match="damaged"):
        load_weights(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": 3}, "format 3.*upgrade teinet"),
        ({"format": 1}, r"format 1, of teinet 0\.1; train or convert it again"),
        ({"architecture": {"name": "teinet_nonet", "num_classes": 3}}, "cannot build.*nonet"),
        ({"architecture": {"name": NET, "num_classes": 3, "num_frames": "four"}}, "damaged.*architecture.num_frames"),
        ({"architecture": {**ARCHITECTURE, "num_classes": 4}}, r"fc\.weight \(3x96 in the file, 4x96"),
        ({"class_names": ["one"]}, "1 class names for 3 classes"),
        ({"class_names": ["a", "b", 3]}, "damaged.*class_names holds 3"),
        ({"architecture": {**ARCHITECTURE, "stages": [[]]}}, "cannot build"),
        ({"preprocessing": {"mean": ["red", 0, 0]}}, "damaged.*preprocessing.mean holds 'red'"),
        ({"preprocessing": {"mean": [10**400, 0, 0]}}, "damaged.*preprocessing.mean holds 1000"),
        ({"architecture": {**ARCHITECTURE, "num_classes": 2**63}}, "damaged.*architecture.num_classes is 9223"),
        ({"sampling": {"num_frames": None}}, "damaged.*sampling.num_frames is None"),
        ({"sampling": {"num_frames": 10**9}}, "damaged.*a clip has 1000000000 frames of 224 x 224"),
        ({"preprocessing": {"size": [9, 10**9]}}, "damaged.*a clip has 4 frames of 9 x 1000000000"),
        ({"architecture": {**ARCHITECTURE, "num_classes": 10**9}}, "damaged.*1000000000 classes"),
        ({"architecture": {**ARCHITECTURE, "name": "tsn_local-dir:/tmp"}}, "cannot build.*no network 'local-dir:/tmp'"),
        ({"architecture": {**ARCHITECTURE, "name": "tsn_hf-hub:a/b"}}, "cannot build.*no network 'hf-hub:a/b'"),
        ({"recipe": {"data": "x" * 100}}, r"damaged.*recipe.data is 'x+\.\.\."),
    ],
)
def test_a_header_that_does_not_fit_is_refused(path, header, message):
    rewrite(path, header)
    with pytest.raises(CheckpointError, match=message):
        load_weights(path)


@pytest.mark.parametrize(("text", "says"), [('{"format": 2}', "it has no 'architecture'"), ("[" * 10**6, "damaged")])
def test_a_header_that_lacks_a_part_is_refused_in_words(tmp_path, text, says):
    save_file({"x": torch.ones(1)}, tmp_path / "bad.safetensors", {"teinet": text})
    with pytest.raises(CheckpointError, match=says) as caught:
        load_weights(tmp_path / "bad.safetensors")
    assert "Error" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"stages": ["a"]}, {"every": {}}, {"causal": "maybe"}])
def test_a_network_to_fine_tune_has_settings_of_their_types(path, wrong):
    rewrite(path, {"architecture": {**ARCHITECTURE, **wrong}})
    with pytest.raises(CheckpointError, match=f"damaged .model.*{next(iter(wrong))} is"):
        with_network_of_weights(Recipe.load(weights=path), ())


def test_a_table_of_weights_that_only_its_reader_refuses(path):
    content = path.read_bytes().replace(b'"dtype":"F32"', b'"dtype":"F3?"', 1)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="its table of weights is damaged"):
        load_weights(path)


def test_keys_that_do_not_fit_are_named_but_not_by_the_hundred(path, model):
    rewrite(path, tensors={"fc.bias": None, "extra.weight": torch.ones(1), "bn1.weight": torch.ones(2, 2)})
    with pytest.raises(CheckpointError) as caught:
        load_weights(path)
    for named in ("missing fc.bias", "unexpected extra.weight", "bn1.weight (2x2 in the file"):
        assert named in str(caught.value)
    rewrite(path, tensors=dict.fromkeys(load_file(path)) | {"extra.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"missing (\S+ ){2}and \d+ more"):
        load_weights(path)


def test_a_header_cannot_make_us_fetch_or_open_something_else(path, tmp_path):
    config = load_weights(path)[0].config
    rewrite(path, {"architecture": {**config, "pretrained": True, "backbone_weights": str(tmp_path / "other")}})
    assert load_weights(path)[0].config == config


def test_saving_refuses_what_would_not_load(tmp_path, model):
    path = tmp_path / "a.safetensors"
    with pytest.raises(ConfigError, match="2 class names"):
        save_weights(path, model, {"class_names": ["a", "b"]})
    with pytest.raises(ConfigError, match="JSON"):
        save_weights(path, model, {"recipe": {"x": object()}})
    with pytest.raises(ConfigError, match="architecture"):
        save_weights(path, VideoClassifier(model.cnn, num_frames=4))
    with pytest.raises(ConfigError, match=r"preprocessing\.size is 'big'"):
        save_weights(path, model, {"preprocessing": {"size": "big"}})
    assert not path.exists()


def test_fine_tuning_starts_from_all_but_the_head(path, model, caplog):
    new = create_model(NET, num_classes=9, num_frames=8, gate="residual", stages=(4, 5))
    head = new.head.weight.clone()
    with caplog.at_level(logging.INFO, logger="teinet"):
        header = load_matching(new, path)
    own, theirs = new.state_dict(), model.state_dict()
    assert all(torch.equal(own[key], theirs[key]) for key in own if not key.startswith("fc."))
    assert torch.equal(new.head.weight, head) and header["class_names"] == NAMES
    assert "head (fc), which is new, for 9 classes" in caplog.text


def test_the_head_comes_along_only_for_the_very_same_classes(path, model, caplog):
    caplog.set_level(logging.INFO, logger="teinet")
    for names, kept in ((NAMES, True), (["wave", "jump", "clap"], False), (None, False)):
        new = create_model(NET, num_classes=3, num_frames=4, gate="residual", stages=(4, 5))
        caplog.clear()
        load_matching(new, path, class_names=names)
        assert torch.equal(new.head.weight, model.head.weight) is kept
        assert ("with the head, as the classes are the same" in caplog.text) is kept


def test_fine_tuning_from_a_header_that_leaves_settings_to_their_defaults(path, model):
    with safe_open(path, "pt") as file:
        architecture = json.loads(file.metadata()["teinet"])["architecture"]
    rewrite(path, {"architecture": {name: value for name, value in architecture.items() if name != "stages"}})
    assert load_matching(model, path)["architecture"]["name"] == NET


def test_fine_tuning_another_network_is_refused(path):
    with pytest.raises(CheckpointError, match=rf"It holds a {NET}.*temporal"):
        load_matching(create_model("tsn_test_resnet", num_classes=3), path)
    with pytest.raises(CheckpointError, match=r"with stages \[4, 5\]; fine-tune a network like that"):
        load_matching(create_model(NET, num_classes=3, stages=(5,)), path)
