"""Training and testing from Python: the page's examples run, and what is of one's own takes the library's place."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

import teinet
from teinet.errors import ConfigError, VideoError
from teinet.models.names import PREFIXES

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "python.md"
SMALL = {"model.pretrained": False, "workers": 0, "device": "cpu", "batch_size": 3, "frames": 2, "size": 32}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """Each test has a folder, and registers modules for itself alone."""
    monkeypatch.chdir(tmp_path)
    before = [(known, dict(known)) for known in (teinet.layers.LAYERS, PREFIXES)]
    yield
    for known, former in before:
        known.clear()
        known.update(former)


class Squares(Dataset):
    """Bright or dark clips; asked for item 3, a file that is none."""

    classes = ("dark", "bright")

    def __init__(self, count: int = 6, *, bad: int | None = None):
        self.targets, self.bad = [i % 2 for i in range(count)], bad
        self.drawn: dict[int, list[float]] = {}

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index == self.bad:
            raise VideoError(f"clip {index}", "no video")
        self.drawn.setdefault(index, []).append(float(torch.rand(())))
        return torch.full((2, 3, 32, 32), 50 + 150 * self.targets[index], dtype=torch.uint8), self.targets[index]


def small(data, **settings):
    return teinet.train(data, **{"backbone": "resnet10t", "epochs": 1, **SMALL, **settings})


def test_the_examples_of_the_page_run(clips, monkeypatch):
    shutil.copytree(clips, "videos")
    train = teinet.train

    def quick(*args, **settings):
        if "model" in settings:
            settings["model"] = settings["model"].replace("resnet18", "resnet10t")
        elif "recipe" not in settings:
            settings["backbone"] = "resnet10t"
        return train(*args, **{**SMALL, **settings, "epochs": 1})

    monkeypatch.setattr(teinet, "train", quick)
    scope: dict = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(example, scope)
    assert scope["scores"].top1 == pytest.approx(scope["scores"].metrics()["top1"])
    assert Path("logs").is_dir() and Path("runs/first/last.safetensors").is_file()
    assert teinet.Recognizer.load(scope["run"].folder).model.config["name"] == "diff_resnet10t"


def test_a_run_has_its_log_and_the_scores_that_were_asked_for(clips):
    run = small(clips, **{"run.tests": ["1x1"]})
    assert run.folder == Path("runs/teinet_resnet10t-1") and [row["epoch"] for row in run.log] == [1]
    assert run.scores["1x1"].top1 == pytest.approx(run.log[0]["val_top1"], abs=1e-5)
    assert teinet.train(resume=run.folder).log == run.log  # a finished run
    scores = teinet.test(run.folder, clips, device="cpu", workers=0, engine="folded", output="results")
    assert len(scores) == 12 and Path("results/scores.safetensors").is_file()
    assert tuple(run.recognizer("cpu").class_names) == ("moving left", "moving right", "resting")


def test_a_dataset_of_ones_own_is_trained_on_with_its_own_random_numbers():
    first, again = Squares(bad=3), Squares(bad=3)
    settings = {"epochs": 2, "run.max_unreadable": 0.5}
    run = small({"train": first, "val": Squares(4)}, **settings)
    assert (run.folder / "unreadable.csv").read_text().count("clip 3") == 1
    assert run.recognizer("cpu").class_names == ("dark", "bright") and run.scores == {}
    small({"train": again, "val": Squares(4)}, **settings)
    own = {index: drawn[-2:] for index, drawn in first.drawn.items()}  # the first item is looked at before
    assert own == {index: drawn[-2:] for index, drawn in again.drawn.items()}
    assert len({number for drawn in own.values() for number in drawn}) == 10


def test_a_loss_of_ones_own_is_what_the_log_shows(clips):
    run = small(clips, loss=lambda logits, labels: 0 * logits.sum() + 7)
    assert run.log[0]["loss"] == 7


class OtherShape(Squares):
    def __getitem__(self, index):
        return torch.zeros(3, 2, 32, 32, dtype=torch.uint8), 0


@pytest.mark.parametrize(("data", "settings", "says"), [
    (Squares(), {"size": 48}, "it must be uint8 (or normalized float) (2, 3, 48, 48)"),
    (OtherShape(), {}, "its clip is torch.uint8 (3, 2, 32, 32)"),
    ({"val": Squares()}, {}, "it must be {'train': ..., 'val': ...}"),
    (Squares(), {"loss": torch.nn.functional.cross_entropy, "optim.label_smoothing": 0.1}, "no effect with a loss"),
    (Squares(), {"epoch": 3}, "Did you mean 'epochs'"),
    (Squares(), {"imgsz": 32}, "Did you mean 'size'"),
    (Squares(), {"bacbone": "resnet18"}, "Did you mean 'backbone'"),
    (None, {}, "data=PATH"),
    ("small_data", {}, "recipe='small_data'"),
    ("gone/", {"recipe": "hmdb51/teinet_16f"}, "call teinet.train once for each N"),
])  # fmt: skip
def test_what_cannot_be_trained_is_said(data, settings, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        if "recipe" in settings:
            teinet.train(data, **settings)
        small(data, **settings)


def test_weights_bring_their_network():
    with pytest.raises(ConfigError, match=r"fights holds tsn_tf_\w+, not teinet_resnet18; leave out backbone"):
        small({"train": Squares()}, weights="fights", backbone="resnet18")


def test_what_cannot_be_tested_is_said():
    with pytest.raises(ConfigError, match=r"one network .* got a list; .* average their scores"):
        teinet.test(["first", "second"])
    with pytest.raises(ConfigError, match=r"no setting 'viws'. Did you mean 'views'"):
        teinet.test("first", "clips/", viws="1x3")


def test_the_names_of_modules_of_ones_own_are_not_the_librarys():
    for name in ("tei", "teinet", "none", "Mine", "a-b"):
        with pytest.raises(ConfigError, match="lower-case"):
            teinet.register_temporal(name, torch.nn.Identity)
    with pytest.raises(ConfigError, match="of your own first: teinet"):
        teinet.create_model("unknownmodule_resnet18", num_classes=2)
