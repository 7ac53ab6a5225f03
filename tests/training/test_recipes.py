"""The library's recipes: every row of the paper, its network's cost, and how files build on each other."""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from dataclasses import asdict
from functools import cache

import pytest
import torch

from teinet.cli.main import main
from teinet.cli.train import parse_recipe
from teinet.errors import ConfigError
from teinet.models.classifier import multiply_adds, parameters
from teinet.training.recipe import Recipe
from teinet.training.recipe_files import changed_settings, compose, list_recipes
from teinet.training.setup import build_model

# The paper's tables, each row once for each data set: table, top-1, top-5, test.
PRINTED = [
    ("1a", 19.7, 46.6, None), ("1a", 43.4, 73.2, None), ("1a", 33.5, 61.5, None), ("1a", 46.1, 74.7, None),
    ("1a", 46.1, 75.2, None), ("1a", 47.4, 76.6, None),
    ("1b", 41.6, 70.1, None), ("1b", 43.1, 72.1, None), ("1b", 45.4, 74.6, None), ("1b", 45.3, 74.3, None),
    ("1c", 45.3, 74.3, None), ("1c", 46.7, 76.3, None), ("1c", 47.3, 75.2, None), ("1c", 47.4, 75.8, None),
    ("2", 19.7, None, None), ("2", 43.4, None, None), ("2", 44.8, None, None), ("2", 46.1, None, None),
    ("2", 47.4, None, None), ("2", 48.5, None, None), ("2", 49.9, None, None),
    ("3", 19.7, None, None), ("3", 43.4, None, None), ("3", 44.8, None, None), ("3", 46.8, None, None),
    ("3", 47.4, None, None), ("3", 48.8, None, None), ("3", 49.9, None, None), ("3", 51.0, None, 44.7),
    ("3", 52.5, None, 46.1),
    ("4", 30.0, None, None), ("4", 59.1, None, None), ("4", 59.4, None, 60.4), ("4", 61.3, None, None),
    ("4", 64.0, None, 62.7), ("4", 62.1, None, None), ("4", 64.7, None, 63.0), ("4", 66.5, None, 64.6),
    ("5", 74.7, 91.4, None), ("5", 74.9, 91.8, None), ("5", 76.2, 92.5, None),
    ("6", 96.7, None, None), ("6", 72.1, None, None), ("6", 96.0, None, None), ("6", 73.2, None, None),
    # the systems that TEINet is compared with
    ("2", 41.6, None, None), ("2", 41.4, None, None),
    ("3", 34.4, None, 33.6), ("3", 38.9, None, None), ("3", 48.2, None, None), ("3", 41.6, None, None),
    ("3", 41.6, None, None), ("3", 44.4, None, None), ("3", 46.1, None, 45.0), ("3", 46.4, None, None),
    ("4", 48.8, None, 50.9),
    # two streams
    ("3", 50.2, None, 47.0), ("3", 42.0, None, 40.7), ("4", 64.0, None, 64.3), ("4", 55.5, None, None),
    ("5", 72.1, 90.3, None), ("5", 74.9, 91.6, None), ("5", 77.7, 93.3, None), ("5", 75.6, 92.1, None),
    ("5", 77.9, 93.2, None), ("5", 79.8, 93.9, None), ("5", 79.4, 94.4, None), ("5", 72.5, 90.2, None),
    ("5", 74.3, 91.4, None), ("5", 74.7, 93.4, None), ("5", 69.9, None, None), ("5", 70.7, 89.3, None),
    ("5", 70.7, 89.4, None),
    ("5", 73.5, 91.6, None), ("6", 94.8, None, None), ("6", 72.4, None, None), ("6", 93.2, None, None),
    ("6", 95.6, None, None), ("6", 74.8, None, None), ("6", 88.6, None, None), ("6", 96.8, None, None),
    ("6", 75.9, None, None), ("6", 74.5, None, None), ("6", 94.3, None, None), ("6", 70.9, None, None),
    ("6", 93.5, None, None), ("6", 96.8, None, None),
]  # fmt: skip
NAMES = list(list_recipes())


@cache
def parsed(*words: str):
    return parse_recipe(words).recipe


def recipe(*words: str):
    return deepcopy(parsed(*words))


def test_every_row_that_the_paper_prints_has_its_recipe():
    rows = {  # members of an ensemble carry the same one
        (name.partition("/")[0], p.row, p.table, p.top1, p.top5, p.test)
        for name in NAMES
        for p in recipe(name).published
    }
    assert Counter(row[2:] for row in rows) == Counter(PRINTED)


# By hand, from the authors' code and solvers: dropout, frames, pixels, strategy, window (or rows of adjacent frames),
# rate for 64 clips, epochs, the epochs of its steps, and weight decay.
_PAPERS = 0.01, 100, [50, 75, 90], 1e-4  # where the authors' are not public: those of TEINet on Kinetics-400
_SOMETHING = 0.01, 50, [30, 40, 45], 1e-4
_SLOWFAST = 0.1, 196, None, 1e-4
AUTHORS = {
    "kinetics400/i3d_inception_64f": (0.5, 64, 224, "dense", 64, *_PAPERS),
    "kinetics400/nl_i3d_resnet50_32f": (0.5, 32, 224, "dense", 64, 0.01, 107, [40, 80], 1e-4),
    "kinetics400/nl_i3d_resnet101_128f": (0.5, 128, 224, "dense", 128, 0.01, 107, [40, 80], 1e-4),
    "kinetics400/slowfast_resnet50": (0.5, 32, 224, "dense", 64, *_SLOWFAST),
    "kinetics400/slowfast_resnet101": (0.5, 32, 224, "dense", 64, *_SLOWFAST),
    "kinetics400/nl_slowfast_resnet101": (0.5, 64, 224, "dense", 128, *_SLOWFAST),
    "kinetics400/lgd_resnet101_128f": (0.5, 128, 224, "dense", 128, *_PAPERS),
    "kinetics400/tsn_inception_v3": (0.8, 1, 299, "sparse", 1, 0.001, *_PAPERS[1:]),
    "kinetics400/r2plus1d_34_32f": (0.0, 32, 112, "dense", 32, 0.02, 45, [20, 30, 40], 1e-4),
    "kinetics400/s3dg_64f": (0.2, 64, 224, "dense", 64, *_PAPERS),
    "kinetics400/stnet_resnet50_25f": (0.0, 125, 224, "sparse", 5, 0.01 * 64 / 128, 60, [20, 40], 1e-4),
    "kinetics400/artnet_resnet18_16f": (0.2, 16, 112, "dense", 16, 0.1 * 64 / 224, 233, [65, 131, 168, 205], 5e-4),
    "kinetics400/eco_lite_16f": (0.3, 16, 224, "sparse", 1, 0.001 * 64 / 51, 13, [5, 10], 5e-4),
    "something_v1/trn_bninception_8f": (0.8, 8, 224, "sparse", 1, 0.001, 120, [50, 100], 5e-4),
    "something_v1/s3dg_64f": (0.2, 64, 224, "dense", 64, *_SOMETHING),
    "something_v1/i3d_32f": (0.5, 32, 224, "dense", 64, *_SOMETHING),
    "something_v1/nl_i3d_32f": (0.5, 32, 224, "dense", 64, *_SOMETHING),
    "something_v1/nl_i3d_gcn_32f": (0.5, 32, 224, "dense", 64, *_SOMETHING),
    "something_v1/eco_16f": (0.3, 16, 224, "sparse", 1, 0.001 * 64 / 34, 24, [10, 20], 5e-4),
    "ucf101/p3d_199_16f": (0.5, 16, 160, "dense", 16, 0.001, 25, [10, 20], 1e-4),
    "ucf101/s3dg_64f": (0.2, 64, 224, "dense", 64, 0.001, 25, [10, 20], 1e-4),
    "ucf101/artnet_resnet18_16f": (0.2, 16, 112, "dense", 16, 0.001, 25, [10, 20], 1e-4),
    "ucf101/eco_lite_16f": (0.6, 16, 224, "sparse", 1, 0.001 * 64 / 34, 18, [5, 11, 16], 5e-4),
    "hmdb51/eco_lite_32f": (0.6, 32, 224, "sparse", 1, 0.001 * 64 / 34, 48, [14, 29, 43], 5e-4),
    "hmdb51/r2plus1d_34_32f": (0.0, 32, 112, "dense", 32, 0.001, 25, [10, 20], 1e-4),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_systems_are_trained_as_their_authors_do(name):
    it, (dropout, frames, size, strategy, window, lr, epochs, milestones, decay) = recipe(name), AUTHORS[name]
    clip, optim = it.clip, it.optim
    assert (it.model.dropout, it.model.num_frames, clip.size, clip.strategy) == (dropout, frames, size, strategy)
    assert (clip.window if strategy == "dense" else clip.adjacent) == window
    assert (optim.epochs, optim.milestones, optim.weight_decay) == (epochs, milestones, decay)
    assert optim.lr == pytest.approx(lr, rel=0.02)
    assert (optim.head_lr_scale, optim.bias_lr_scale) == (1, 2 if name.split("/")[1].startswith(("trn", "tsn")) else 1)
    assert optim.clip_grad_norm == (40 if "/eco" in name else 20)
    assert optim.recompute_bn == (200 if "slowfast" in name else 0)
    jittered = "slowfast" in name or name.startswith("kinetics400/nl_i3d")  # short sides of 256 to 320
    assert (clip.crop, clip.scales) == (("random", [0.875, 0.7]) if jittered else ("corners", [1.0, 0.875, 0.75, 0.66]))
    assert optim.nesterov == (jittered or "/eco" in name)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_parses_and_its_network_costs_what_is_printed(name):
    it = recipe(name, "--model.weights", "null") if name.startswith(("ucf101", "hmdb51")) else recipe(name)
    it.check()
    assert it.row == (name if "/" in name else None)
    it.model.pretrained = False
    with torch.device("meta"):
        model = build_model(it, [str(i) for i in range(400)])
    for p in it.published:
        if p.gmacs is not None and not p.ensemble:
            counted = [multiply_adds(model, side) / 1e9 for side in (it.clip.size, 256)]
            assert (
                any(c == pytest.approx(p.gmacs, rel=0.015) for c in counted)
                or f"{counted[0]:.1f}" in p.note + p.cost_note
            ), p
    if it.published:
        count = {"tsn": 24.33, "tsm": 24.33, "tim": 24.37, "teinet": 30.36}.get(it.model.name.split("_resnet")[0])
        if count and it.model.stages == [2, 3, 4, 5] and it.model.modality == "rgb":
            assert parameters(model) / 1e6 == pytest.approx(count, abs=0.01)


def test_members_of_ensembles_exist_and_carry_the_same_row():
    for name in NAMES:
        for p in recipe(name).published:
            assert all(member in NAMES for member in p.ensemble)
            assert all(p in recipe(member).published for member in p.ensemble)
            assert not p.ensemble or name in p.ensemble


def test_settings_of_the_paper():
    something, kinetics = recipe("something_v1/teinet_8f"), recipe("kinetics400/teinet_16f")
    assert (something.optim.epochs, something.optim.milestones) == (50, [30, 40, 45])
    assert something.clip.strategy == "sparse"
    assert (kinetics.optim.epochs, kinetics.optim.milestones, kinetics.clip.strategy) == (100, [50, 75, 90], "dense")
    assert something.clip.hflip is False and kinetics.clip.hflip == "auto" and kinetics.model.num_frames == 16
    fine = recipe("hmdb51/teinet_16f")
    assert (fine.optim.epochs, fine.optim.lr, fine.optim.milestones) == (25, 0.001, [10, 20])
    assert (fine.model.dropout, fine.optim.freeze_bn, fine.run.official_splits) == (0.8, "all_but_first", [1, 2, 3])
    with pytest.raises(ConfigError, match="--weights FILE"):
        fine.check()


def test_files_build_on_each_other(tmp_path):
    (tmp_path / "base.yaml").write_text("optim: {lr: 0.5, epochs: 3}\nmodel: {name: tsn_resnet18}\n")
    (tmp_path / "mine.yaml").write_text(
        "extends: base.yaml\noptim: {epochs: 4}\nrows:\n  a: {}\n  b: {optim: {epochs: 5}, model: {stages: [4]}}\n"
    )
    a, b = (recipe(str(tmp_path / "mine" / row)) for row in "ab")
    assert (a.optim.lr, a.optim.epochs, a.model.name, a.row) == (0.5, 4, "tsn_resnet18", "mine/a")
    assert (b.optim.epochs, b.model.stages, b.row) == (5, [4], "mine/b")
    assert recipe(str(tmp_path / "mine" / "b"), "--optim.epochs", "6").optim.epochs == 6


def test_a_row_that_names_a_system_takes_its_settings_before_those_of_the_file(tmp_path):
    base = "clip: {strategy: sparse, size: 128, hflip: auto}\nmodel: {name: MODEL, dropout: 0.8}\n"
    rows = "rows:\n  a: {model: {name: s3dg}}\n  b: {model: {name: s3dg, dropout: 0.1}, clip: {window: 100}}\n  c: {}\n"
    (tmp_path / "mine.yaml").write_text(base.replace("MODEL", "tsn_resnet18") + rows)
    (tmp_path / "own.yaml").write_text(base.replace("MODEL", "r2plus1d_18"))
    names = (*(str(tmp_path / "mine" / row) for row in "abc"), str(tmp_path / "own.yaml"))
    found = [(it.model.dropout, it.clip.size, it.clip.strategy, it.clip.window) for it in map(recipe, names)]
    assert found == [(0.2, 224, "dense", 64), (0.1, 224, "dense", 100), *[(0.8, 128, "sparse", 64)] * 2]
    assert recipe(names[0]).clip.hflip == "auto" and not changed_settings(asdict(recipe(names[0])), asdict(Recipe()))


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("extends: gone.yaml", "mine.yaml", "extends gone.yaml, which does not exist"),
        ("extends: mine.yaml", "mine.yaml", "extends itself"),
        ("rows: {a: {}, b: {}}", "mine.yaml", "2 rows; take one, such as mine/a"),
        ("rows: {abc: {}}", "mine/abd", "Did you mean 'abc'"),
        ("rows: {a: {optim: {lrr: 1}}}", "mine/a", "no setting 'optim.lrr'"),
    ],
)
def test_recipes_that_cannot_be_read(tmp_path, text, name, says):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        recipe(str(tmp_path / name))


def test_unknown_names_offer_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'teinet_8f'"):
        compose("something_v1/teinet_8")
    with pytest.raises(ConfigError, match="Did you mean 'something_v1/teinet_8f'"):
        compose("somethin_v1/teinet_8f")


def test_the_command_lists_them(capsys):
    assert main(["recipes", "--table", "1b"]) == 0
    out = capsys.readouterr().out
    assert out.count("table 1b") == 4 and "41.6" in out
    assert main(["recipes", "kinetics400/t*_*f", "--json"]) == 0
    rows = {f"kinetics400/{row}" for row in ("tsm_16f", "teinet_8f", "teinet_16f")}
    assert set(json.loads(capsys.readouterr().out)) == rows
    assert main(["recipes", "nothing*"]) == 1
