"""Recipes that no run could follow, or in which a setting would do nothing, are refused before anything is computed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from teinet.errors import ConfigError
from teinet.training.recipe import ClipConfig, DataConfig, ModelConfig, OptimConfig, Recipe
from teinet.training.settings import convert


@pytest.mark.parametrize(("recipe", "name"), [
    (Recipe(optim=OptimConfig(optimizer="adamw", momentum=0.8)), "optim.momentum"),
    (Recipe(optim=OptimConfig(optimizer="adamw", nesterov=True)), "optim.nesterov"),
    (Recipe(optim=OptimConfig(schedule="onecycle", warmup=1.0)), "optim.warmup"),
    (Recipe(optim=OptimConfig(schedule="cosine", milestones=[3])), "optim.milestones"),
    (Recipe(optim=OptimConfig(schedule="cosine", gamma=0.5)), "optim.gamma"),
    (Recipe(clip=ClipConfig(window=32)), "clip.window"),
    (Recipe(clip=ClipConfig(strategy="dense", adjacent=2)), "clip.adjacent"),
    (Recipe(data=DataConfig(test_fold=1)), "data.test_fold"),
])  # fmt: skip
def test_a_setting_without_effect_is_refused(recipe: Recipe, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} .* has no effect"):
        recipe.check()


@pytest.mark.parametrize("name", ["optim.accumulate", "clip.window", "data.folds", "model.num_frames", "run.threads"])
def test_whole_numbers_that_no_library_counts_to_are_refused(name):
    section, setting = name.split(".")
    recipe = Recipe()
    setattr(getattr(recipe, section), setting, 2**64)
    with pytest.raises(ConfigError, match=f"{name} is 18446744073709551616; it must be at most 2147483647"):
        recipe.check()


def test_the_same_settings_are_taken_where_they_work() -> None:
    Recipe(
        data=DataConfig(folds=3, test_fold=1),
        clip=ClipConfig(strategy="dense", window=32),
        optim=OptimConfig(momentum=0.8, milestones=[3], gamma=0.5, warmup=1.0),
    ).check()


def test_paths_hold_wherever_the_run_is_looked_at_from(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(data=DataConfig(path="clips"), model=ModelConfig(backbone_weights="~/w.safetensors"))
    absolute = recipe.with_absolute_paths()
    assert absolute.data.path == str(tmp_path / "clips") and absolute.data.root is None
    assert absolute.model.backbone_weights == str(Path.home() / "w.safetensors")


def test_a_shipped_recogniser_goes_by_its_name_wherever_the_recipe_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(model=ModelConfig(weights="motion_pairs"))
    assert recipe.with_absolute_paths().model.weights == "motion_pairs"
    (tmp_path / "motion_pairs").mkdir()  # what exists goes before a name
    assert recipe.with_absolute_paths().model.weights == str(tmp_path / "motion_pairs")


def test_a_recipe_from_a_name_a_file_and_settings(tmp_path):
    (tmp_path / "mine.yaml").write_text("optim: {lr: 0.5, weight_decay: 1e-3}\nclip: {size: [32, 48]}\n")
    recipe = Recipe.load(
        "small_data", tmp_path / "mine.yaml", {"optim.epochs": "3"}, data=tmp_path, backbone="resnet18"
    )
    assert (recipe.optim.schedule, recipe.optim.lr, recipe.optim.weight_decay) == ("onecycle", 0.5, 1e-3)
    assert (recipe.clip.size, recipe.optim.epochs, recipe.model.name) == ([32, 48], 3, "teinet_resnet18")
    assert recipe.data.path == str(tmp_path) and Recipe.load() == Recipe()
    assert Recipe.load(optim={"lr": 1}).optim == Recipe.load(lr="1.0").optim == OptimConfig(lr=1.0)


@pytest.mark.parametrize(("name", "text", "value"), [
    ("optim.lr", "1e-4", 1e-4), ("optim.scale_lr", "false", False), ("model.gate", "null", None),
    ("clip.size", "112", 112), ("clip.size", "[120, 213]", [120, 213]), ("model.stages", "4,5", [4, 5]),
    ("clip.hflip", "auto", "auto"), ("run.background", "[no, moving left]", ["no", "moving left"]),
    ("run.tests", "1x1", ["1x1"]), ("run.name", "1", "1"),
])  # fmt: skip
def test_a_text_becomes_the_type_of_its_setting(name, text, value):
    section, key = name.split(".")
    found = getattr(getattr(Recipe.load({name: text}), section), key)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(("settings", "says"), [
    ({"optim.lr": "fast"}, "optim.lr is 'fast'; it must be a number"), ({"epochs": 2.5}, "must be a whole number"),
    ({"optim.lr": 10**400}, "it must be a number"),
    ({"run.precision": "fp23"}, "one of auto, fp32, bf16, fp16. Did you mean 'fp32'"),
    ({"optim.scale_lr": 1}, "must be true or false"), ({"optim.lrr": 1}, "Did you mean 'optim.lr'"),
    ({"freeze_bn": "all"}, "Did you mean 'optim.freeze_bn'"), ({"optim": 3}, "section 'optim' must hold settings"),
    ({"model": "a", "backbone": "b"}, "both name the network"), ({"data.classes": [1, True]}, "must be a list"),
])  # fmt: skip
def test_a_wrong_setting_is_named_with_what_it_must_be(settings, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        Recipe.load("small_data", **settings)


@pytest.mark.parametrize("text", [b"[" * 3000, b"lr: 2026-99-99", b"lr: 0x_", b"lr: \xff"])
def test_a_file_that_yaml_cannot_read_is_no_recipe(tmp_path, text):
    (tmp_path / "mine.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml is no valid YAML"):
        Recipe.load(tmp_path / "mine.yaml")


def test_the_folder_of_a_user_that_does_not_exist_is_a_name():
    assert Recipe.load(data="~nobody-of-this-name/x").with_absolute_paths().data.path == str(
        Path.cwd() / "~nobody-of-this-name/x"
    )


@pytest.mark.parametrize("name", ["run.devices", "run.workers", "run.threads"])
def test_no_machine_has_a_million_processes_or_threads(name):
    with pytest.raises(ConfigError, match=f"{name} is 1000000; it must be at most 256"):
        Recipe.load({name: 10**6}).check()


def test_a_recipe_that_is_no_file_here_goes_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="the library's recipe goes by its name alone: small_data"):
        Recipe.load("recipes/small_data.yaml")


@pytest.mark.parametrize(("settings", "name"), [
    ({}, "teinet_resnet50"), ({"row": "ucf101/teinet_16f", "weights": "fights"}, "ucf101-teinet_16f"),
    ({"weights": "fights", "data": "my clips/"}, "my-clips-from-fights"),
    ({"weights": "runs/first/best.safetensors", "data": "list.csv"}, "list-from-first"),
    ({"weights": "tsm_8f.safetensors", "data": "videos"}, "videos-from-tsm_8f"),
])  # fmt: skip
def test_the_name_of_a_run_says_what_it_is_from(settings, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").touch()
    assert Recipe.load(settings).with_absolute_paths().default_name == name


def test_the_defaults_are_the_papers_for_something_something() -> None:
    """Section 4.2: 50 epochs, 0.01 for 64 clips, SGD with momentum 0.9 and weight decay 1e-4, eight frames of 224."""
    recipe = Recipe()
    recipe.check()
    optim, clip = recipe.optim, recipe.clip
    assert (optim.epochs, optim.lr, optim.batch_size, optim.optimizer) == (50, 0.01, 64, "sgd")
    assert (optim.momentum, optim.weight_decay, optim.clip_grad_norm) == (0.9, 1e-4, 20)
    assert (recipe.model.num_frames, clip.size, clip.effective_short_side, clip.hflip) == (8, 224, 256, False)
    assert clip.scales == [1.0, 0.875, 0.75, 0.66] and clip.crop == "corners" and clip.strategy == "sparse"
    assert recipe.model.dropout == 0.5 and optim.learning_rate(2) == 0.02


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("a: &a [1, *a]", "more than 100000 values, by its aliases"),
        (
            "\n".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}' if i else 'lol'] * 9)}]" for i in range(9)),
            "by its aliases",
        ),
    ],
    ids=["deep", "cycle", "nine to the ninth"],
)
def test_a_recipe_that_would_fill_the_memory_is_refused(tmp_path, text, says):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"a.yaml is no valid YAML: it .*{says}"):
        Recipe.load(tmp_path / "a.yaml")


def test_a_deeply_nested_setting_is_refused():
    with pytest.raises(ConfigError, match=r"optim\.milestones is .* it must be a list"):
        convert("[" * 10_000, list[float], "optim.milestones")


def test_a_system_brings_what_it_takes_where_that_is_not_set():
    plain = Recipe.load(model="s3dg")
    assert (plain.model.num_frames, plain.model.pretrained, plain.clip.size) == (64, False, 224)
    assert (plain.model.dropout, plain.optim.head_lr_scale, plain.optim.bias_lr_scale) == (0.2, 1, 1)
    assert Recipe.load(model="s3dg", **{"model.dropout": 0.4, "optim.head_lr_scale": 3}).model.dropout == 0.4
    assert (plain.clip.strategy, plain.clip.window) == ("dense", 64)
    own = Recipe.load({"model": "r2plus1d_18"}, frames=8, **{"clip.strategy": "sparse", "clip.size": 96})
    assert (own.model.num_frames, own.clip.size, own.clip.strategy) == (8, 96, "sparse")
    own.check()
    stnet = Recipe.load(model="stnet_resnet50")
    assert (stnet.model.num_frames, stnet.clip.strategy, stnet.clip.adjacent) == (125, "sparse", 5)
    assert Recipe.load({"model": "stnet_resnet50"}, **{"clip.strategy": "dense"}).clip.adjacent == 1
    assert Recipe.load(model="i3d_resnet50").model.pretrained
    assert Recipe.load(model="tsn_inception_v3").clip.size == 299 and Recipe.load(model="tsn_resnet18").clip.size == 224
    assert Recipe.load(model="eco").clip.strategy == "sparse" and Recipe.load().model.num_frames == 8
