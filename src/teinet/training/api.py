"""Train and test from Python: `teinet.train` and `teinet.test` do what the commands of these names do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from torch.utils.data import Dataset

from teinet.data.lists.data_config import DataConfig
from teinet.data.lists.rows import ClipList
from teinet.data.views import Views
from teinet.errors import ConfigError, nearest
from teinet.evaluation import testing
from teinet.evaluation.hardware import Hardware
from teinet.evaluation.plan import Plan
from teinet.evaluation.scores import Scores
from teinet.models.exported import Engine, Precision
from teinet.training.choice import choose, in_lines
from teinet.training.module import Loss
from teinet.training.recipe import Recipe
from teinet.training.recipe_files import is_recipe
from teinet.training.run_dir import recipe_to_resume
from teinet.training.settings import setting_names
from teinet.training.setup import with_network_of_weights
from teinet.training.trainer import CustomParts, Trained, train_and_test
from teinet.utils.signals import first_process

File = str | Path


def train(
    data: File | Dataset | Mapping[str, Dataset | ClipList] | None = None,
    *,
    recipe: Recipe | File | Mapping[str, Any] | None = None,
    resume: File | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    loss: Loss | None = None,
    **settings: Any,
) -> Trained:
    """Train a network on labeled clips, and test it by the recipe's views, if it names some.

        run = teinet.train("videos/", backbone="resnet50", epochs=20)
        run.recognizer()("clip.mp4")

    Args:
        data: a folder of class folders or a list of clips; or a training set, or {"train": ..., "val": ...}: torch
            Datasets of (clip, label), clip (T, 3, H, W) uint8 as the network sees it (see
            `custom_dataset.splits_of`), or `ClipList`s. They are validated on each epoch, and not tested afterwards.
        recipe: a `Recipe`, or what `Recipe.load` takes. None: settings are chosen by the clips and the machine, and
            printed with their reasons; or, if `weights` are given, their network is taken. The paper's recipe is
            "something_v1/teinet_8f".
        resume: the folder of a run to continue by its own recipe.
        callbacks, loggers: of Lightning, in addition to the run's own; `val_top1` (of several labels
            `val_map`) and `val_loss` are logged.
        loss: logits (B, C) float32 and labels (B,) int64, or (B, C) of 0 and 1 of several labels, to a scalar; None
            takes the cross entropy.
        settings: see `Recipe.load`: `backbone`, `epochs`, `weights`, ..., or `**{"optim.warmup": 2}`.

    Returns:
        The run: `folder`, `scores` by views, `log`, `recognizer()`.

    Raises:
        ConfigError: a setting that does not exist or does not fit.
        TeinetError: clips or weights that cannot be used, a loss that is not a number, Ctrl-C.
    """
    if isinstance(data, (str, Path)) and is_recipe(str(data)) and not Path(data).is_dir():
        raise ConfigError(f"{data} is a recipe; name it as one: teinet.train(DATA, recipe={str(data)!r})")
    custom = CustomParts(datasets=_datasets(data), callbacks=callbacks, loggers=loggers, loss=loss)
    if data is not None and custom.datasets is None:
        settings["data"] = data
    start = asdict(recipe) if isinstance(recipe, Recipe) else recipe
    complete = Recipe.load(settings) if start is None else Recipe.load(start, settings)
    if resume is not None:
        complete = recipe_to_resume(Path(resume), complete, setting_names(settings, Recipe))
    elif recipe is None:
        given = setting_names(settings, Recipe)
        complete = with_network_of_weights(complete, given)
        if complete.data.path:
            complete.check()
            complete, choices = choose(complete, given)
            if (text := in_lines(choices)) and first_process():
                print(text)
    if complete.run.official_splits:
        raise ConfigError(
            f"run.official_splits {complete.run.official_splits} are several runs; call teinet.train once for each N, "
            'with {"data.official_split": N, "run.official_splits": []}'
        )
    for name in ("label_smoothing", "mixup", "cutmix", "teachers") if loss is not None else ():
        if getattr(complete.optim, name):
            raise ConfigError(f"optim.{name} has no effect with a loss of your own; leave it out")
    if loss is not None and complete.optim.balance == "loss":
        raise ConfigError("optim.balance loss has no effect with a loss of your own; take sampling, or leave it out")
    if custom.datasets is not None:
        complete = replace(complete, run=replace(complete.run, tests=[]))
    return train_and_test(complete, resume=Path(resume) if resume else None, custom=custom)


def _datasets(data: Any) -> Mapping[str, Any] | None:
    if data is None or isinstance(data, (str, Path)):
        return None
    return data if isinstance(data, Mapping) else {"train": data}


def test(
    weights: File,
    data: File | None = None,
    *,
    views: str = "1x1",
    split: Literal["train", "val", "test"] | None = None,
    device: str = "auto",
    devices: int = 1,
    engine: Engine = "eager",
    precision: Precision = "fp32",
    batch_size: int = 8,
    workers: int | None = None,
    output: File | None = None,
    **list_settings: Any,
) -> Scores:
    """Test a recognizer and write its results into a folder.

        teinet.test("runs/first", "clips.csv", views="10x3").top1

    Args:
        weights: a run's folder, a .safetensors file, a pretrained model's name or hf://user/name.
        data: a folder of class folders or a list of clips; None takes the clips that the run held out.
        views: clips x crops of each video: 1x1, 10x3, any other.
        split: None takes the labeled test clips, else the validation clips, else all.
        device, devices: see `Hardware`.
        engine, precision: see `Recognizer.optimize`.
        batch_size: views in one pass of the network, at least 1.
        workers: decoding processes per device; None takes one per core, at most 8.
        output: the folder; None takes that of `teinet test`.
        list_settings: further fields of `DataConfig`, such as `labels` or `root`.

    Raises:
        ConfigError: a setting that does not exist or does not fit.
        TeinetError: clips or weights that cannot be used, Ctrl-C.
    """
    if not isinstance(weights, (str, Path)):
        raise ConfigError(
            f"teinet.test takes one network by its name or path, got a {type(weights).__name__}; for an ensemble, test "
            "each and average their scores: teinet.evaluation.ensemble.average([scores, ...])"
        )
    known = {f.name for f in fields(DataConfig)}
    if unknown := next((name for name in list_settings if name not in known), None):
        hint = nearest(unknown, [*known, *signature(test).parameters])
        raise ConfigError(f"there is no setting {unknown!r}.{hint} help(teinet.test) lists all")
    clips = Recipe.load({"data": {"path": data, **list_settings}}).data if data is not None else None
    if clips is None and list_settings:
        raise ConfigError(f"{next(iter(list_settings))} belongs to a list of clips; name it as data")
    plan = Plan(
        data=clips,
        split=split,
        views=Views.parse(views),
        batch_size=batch_size,
        workers=workers,
        hardware=Hardware(device=device, devices=devices),
        engine=engine,
        precision=precision,
    )
    return testing.test(weights, plan, reuse=False, output=output).scores


test.__test__ = False  # pytest would collect it by its name
