"""`teinet train`: train by a recipe and settings of the command line, or print what it would do."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from teinet.cli.parser import Command, option, positional
from teinet.data.lists.data_config import check_path
from teinet.errors import ConfigError, nearest
from teinet.models.header import pretrained_file
from teinet.models.hub import is_hub_address
from teinet.models.names import check_backbone, is_model, list_models, networks_like, unknown_model
from teinet.training import recipe_files, settings
from teinet.training.recipe import Recipe
from teinet.utils.signals import first_process

if TYPE_CHECKING:
    from rich.console import Console

    from teinet.training.dry_run import Forecast
    from teinet.training.trainer import Trained

_COMMON, _DOT = "common settings", "__"  # optim__lr is the field of --optim.lr


@dataclass(kw_only=True)
class TrainOptions:
    """Train a network on labeled clips.

    Settings come from a recipe (a name or a YAML file), then from the command line. Without a recipe
    they are chosen by the clips and this machine, and printed with their reasons.

    teinet train videos/                               a folder of class folders, or a list of clips
    teinet train videos/ --backbone resnet50 --epochs 20
    teinet train small_data videos/                    a recipe for a few hundred clips
    teinet train videos/ --weights fights --lr 0.001   fine-tune a pretrained model, a run or a file
    teinet train mine.yaml --optim.lr 0.02             a recipe with a setting of your own
    teinet train something_v1/teinet_8f sthv1/         a row of the paper (teinet recipes)
    teinet train ... --dry-run                         only print what would be done, and its cost
    teinet train --resume runs/teinet_resnet50-1       continue a run that was stopped
    """

    words: list[str] = positional("recipes, and a folder or list of clips", metavar="RECIPE|DATA", default=[])
    resume: str | None = option("continue the run in this folder", metavar="RUN")
    dry_run: bool = option("print data, network, steps, memory and time only", default=False)
    find_lr: bool = option("try rising learning rates for some steps, and print the one to take", default=False)
    json: bool = option("print the result of --dry-run or --find-lr as JSON", default=False)
    backbone: str | None = option(
        "timm's name of the 2-D network, for TEINet (model.name without teinet_)", metavar="NAME", group=_COMMON
    )


def command() -> Command:
    """Return the command, with an option for each setting of a recipe: by its name, and in its short form."""
    said, short = settings.meanings(Recipe), {setting: option for option, setting in settings.SHORT.items()}
    declared = []
    for section, kind in get_type_hints(Recipe).items():
        hints = get_type_hints(kind) if is_dataclass(kind) else {}
        for f in fields(kind) if hints else ():
            name = f"{section}.{f.name}"
            default = f.default if f.default_factory is MISSING else f.default_factory()
            value = str(default).lower() if isinstance(default, bool) else default
            text = said[name].rstrip(".") + (f" (default: {value})" if default not in (None, "", []) else "")
            names = [f"--{each.replace('_', '-')}" for each in [short.get(name)] if each] + [f"--{name}"]
            group = _COMMON if name in short else section
            how = option(text, metavar=_metavar(hints[f.name]), group=group, names=names)
            declared.append((name.replace(".", _DOT), str | None, how))
    declared.sort(key=lambda each: each[2].metadata["group"] != _COMMON)
    made = make_dataclass("TrainOptions", declared, bases=(TrainOptions,), kw_only=True)
    made.__doc__ = TrainOptions.__doc__
    return Command(run, made)


def _metavar(kind: Any) -> str:
    kinds = [each for each in get_args(kind) or (kind,) if each is not type(None)]
    first = kind if get_origin(kind) is Literal else kinds[0]
    if get_origin(first) is Literal:
        return "|".join(get_args(first))
    return {bool: "true|false", int: "N", float: "X", str: "TEXT"}.get(first, "LIST")


@dataclass(frozen=True)
class Asked:
    """The recipe of the command line, the names of the settings that were typed, and the recipes."""

    recipe: Recipe
    given: frozenset[str]
    sources: tuple[str, ...]


def parse_recipe(argv: Sequence[str]) -> Asked:
    """Return the recipe that words of the command line describe; raises as `recipe_of`."""
    return recipe_of(command().parse("train", argv))


def recipe_of(options: TrainOptions) -> Asked:
    """Return the recipe that was typed.

    Raises:
        ConfigError: a recipe or value that does not exist or does not fit; with the nearest valid one.
    """
    other = {f.name for f in fields(TrainOptions)} - {"backbone"}
    typed = {name.replace(_DOT, "."): v for name, v in vars(options).items() if name not in other and v is not None}
    sources, data = _sort(options.words)
    if data and "data.path" in typed:
        raise ConfigError(f"two lists or folders of clips: {data} and --data {typed['data.path']}; give one")
    if data:
        typed["data.path"] = data
    if pretrained_file(start := typed.get("model.pretrained", "")):
        raise ConfigError(f"--model.pretrained is true or false; to start from {start}: --weights {start}")
    recipe = Recipe.load(*sources, **typed)
    return Asked(recipe, frozenset("model.name" if name == "backbone" else name for name in typed), tuple(sources))


def _sort(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Return the words that are recipes, and the one that is a folder or a list of clips."""
    recipes, data = [], []
    for word in words:
        path = Path(word)
        if recipe_files.is_recipe(word) and not word.endswith(("/", os.sep)):
            recipes.append(word)
        elif path.suffix == ".safetensors" or (is_hub_address(word) and not word.startswith("hf://datasets/")):
            raise ConfigError(f"{word}: weights to start from are named by an option: --weights {word}")
        elif (path / "recipe.yaml").is_file():
            raise ConfigError(
                f"{word} is a run: --resume {word} continues it, --weights {word} starts from its weights"
            )
        elif path.exists() or word.endswith(("/", os.sep)) or "://" in word:
            data.append(word)  # it is checked later, when it is known to be one
        else:
            hint = nearest(word, recipe_files.list_recipes())
            if list_models(f"tsn_{word}"):
                hint = f" To use this backbone: --backbone {word}"
            elif pretrained_file(word):
                hint = f" To start from this pretrained model: --weights {word}"
            elif not hint and (like := [word] if is_model(word) else networks_like(word)):
                hint = f" To train this network: --model {like[0]}"
            raise ConfigError(
                f"{word!r} is neither a recipe (teinet recipes) nor a folder or list of clips here.{hint}"
            )
    if len(data) > 1:
        said = f"two lists or folders of clips: {data[0]} and {data[1]}"
        raise ConfigError(f"{said}; those to validate or test on are named by --data.val_path and --data.test_path")
    return recipes, data[0] if data else None


def _check_name(name: str) -> None:
    """Raise ConfigError for a name that is no model, before torch loads."""
    if not is_model(name):
        if pretrained_file(name):
            raise ConfigError(f"{name} is a pretrained model; to start from it: --weights {name}")
        raise unknown_model(name)
    check_backbone(name)


def run(args: TrainOptions) -> int:
    """Train or resume, and test by the recipe's views; return the exit code."""
    if args.json and not (args.dry_run or args.find_lr):
        raise ConfigError("--json belongs to --dry-run and --find-lr; a run writes its numbers into its folder")
    if args.find_lr and (args.resume or args.dry_run):
        raise ConfigError("--find-lr begins from the start and trains nothing; leave out --resume and --dry-run")
    asked = recipe_of(args)
    recipe, folder = asked.recipe, None
    if args.resume:
        from teinet.training.run_dir import recipe_to_resume

        folder = Path(args.resume)
        recipe = recipe_to_resume(folder, recipe, asked.given)
    elif recipe.model.weights and not asked.sources:
        from teinet.training.setup import with_network_of_weights

        recipe = with_network_of_weights(recipe, asked.given)
    if recipe.data.path:
        check_path(recipe.data.path)
    _check_name(recipe.model.name)
    recipe.check()
    chosen = ""
    if not (args.resume or asked.sources) and recipe.data.path:
        from teinet.training.choice import choose, in_lines

        recipe, choices = choose(recipe, asked.given)
        chosen = in_lines(choices)
        recipe.check()
    from rich.console import Console

    if (args.find_lr or args.dry_run) and not first_process():  # of several that a launcher started
        return 0
    if chosen and (args.find_lr or args.json):
        print(chosen, file=sys.stderr)
    if args.find_lr:
        return _find_rate(recipe, as_json=args.json)
    if args.dry_run:
        from teinet.training.dry_run import forecast

        found = forecast(recipe)
        if args.json:
            plan = {"recipe": asdict(found.parts.recipe), **found.to_dict()}
            print(json.dumps(plan, indent=2, ensure_ascii=False))
        else:
            _print_plan(Console(highlight=False, soft_wrap=True), found, chosen)
        return 0
    from teinet.training.trainer import train_and_test, train_official_splits

    console = Console(highlight=False)
    if chosen and first_process():
        console.print(chosen, markup=False, soft_wrap=True)
    if recipe.run.official_splits:
        done = train_official_splits(recipe, console=console)
    else:
        done = [train_and_test(recipe, resume=folder, console=console)]
    if first_process():
        _report(console, recipe, done)
    return 0


def _find_rate(recipe: Recipe, *, as_json: bool) -> int:
    """Try rates, write a plot and print the rate to take."""
    from teinet.evaluation.plots import save_rates
    from teinet.training.rate_finder import find_rate

    found = find_rate(recipe)
    if as_json:
        print(json.dumps(found._asdict(), indent=2))
        return 0
    plot = Path(recipe.run.output) / "learning_rate.png"
    plot.parent.mkdir(parents=True, exist_ok=True)
    save_rates(found.rates, found.losses, found.rates[found.place], plot)
    print(f"take --lr {found.rate:g}: the loss falls fastest there ({len(found.rates)} steps tried, {plot})")
    return 0


def _report(console: Console, recipe: Recipe, done: list[Trained]) -> None:
    """Print measured next to published for each of the recipe's views, then what to type next."""
    from teinet.evaluation.published import changed_settings_note, comparable, print_published
    from teinet.training.start import weights_to_use
    from teinet.training.trainer import mean_over
    from teinet.utils.text import percent

    for number, views in enumerate(recipe.tests()):
        tests = [trained.tests[number] for trained in done]
        mean, spread = mean_over(tests)
        over = f", mean of {len(tests)} splits, standard deviation {percent(spread)}" if len(tests) > 1 else ""
        on = f"{' + '.join(str(len(t.scores)) for t in tests)} {tests[0].scores.meta.get('split', '')} clips"
        console.print(f"\n{views} on {on}: {tests[0].scores.measure} {percent(mean.top1)}{over}", soft_wrap=True)
        if tests[0].scores.label_sets is not None:
            continue
        print_published(console, comparable(recipe.published, views=views), mean)
    if changed := recipe_files.changed_settings(asdict(recipe), asdict(Recipe())):
        console.print(changed_settings_note(recipe.row, changed), style="dim", soft_wrap=True)
    folders = " ".join(str(trained.folder) for trained in done)
    first = done[0].folder
    weights = weights_to_use(first)[0]
    following = (f"teinet test {first}", f"teinet predict {weights} VIDEO", f"teinet report {folders}")
    console.print("\nNext:", *following, sep="\n  ", soft_wrap=True)


def _print_plan(console: Console, found: Forecast, chosen: str) -> None:
    """Print what was chosen, data, network, steps and cost, then the settings that are not the defaults."""
    from teinet.evaluation.published import cost
    from teinet.training.run_dir import next_folder
    from teinet.training.trainer import rate_in_words
    from teinet.utils.text import count, duration

    recipe, parts = found.parts.recipe, found.parts
    epochs = f"{recipe.optim.epochs} epoch{'s' if recipe.optim.epochs > 1 else ''}"
    clips = ", ".join(f"{len(c)} {split}" for split, c in parts.splits.items())
    if chosen:
        console.print(chosen, markup=False)
    rows = [
        ("clips", f"{clips}; format {parts.splits.source.format}"),
        ("classes", str(len(parts.splits["train"].class_names))),
        *[("note", note) for note in parts.splits.source.notes],
        ("network", f"{recipe.model.name}, {found.parameters:,} parameters, {found.gmacs:.2f} GMACs a clip"),
        ("steps", f"{parts.steps_per_epoch} an epoch, {found.steps} in all ({epochs})"),
        ("learning rate", rate_in_words(recipe, found.parts.hardware.processes)),
        ("precision", f"{parts.hardware.precision}, {count(parts.data.workers, 'worker')}"),
    ]
    if not recipe.run.official_splits:
        rows.append(("folder", str(next_folder(recipe))))
    rows += [(f"test {views}", f"{cost(*each)} GMACs x views") for views, each in found.tests.items()]
    for p in recipe.published:
        figures = [f"{said} {value}" for said, value in p.figures().items() if value is not None]
        rows.append((f"table {p.table}", f"{p.row}: {', '.join(figures)}"))
    _print_rows(console, rows)
    with console.status("trying a few steps"):
        trial = found.trial
    where = "of the GPU" if trial.on_gpu else "of this process and its largest worker"
    times = len(recipe.run.official_splits)
    each = f" for each of {times} splits" if times > 1 else ""
    step = f"{trial.step_seconds:.2f} s computing, {trial.wait_seconds:.2f} s waiting for clips"
    besides = ", besides the probe" if recipe.run.probe else ""
    rows = [
        ("a step", f"{step} (medians of {count(trial.steps, 'step')} tried)"),
        ("memory", f"{trial.memory / 2**30:.1f} GiB at its peak, {where}"),
        ("time", f"about {duration(found.seconds)}{each}, by these steps{besides}"),
    ]
    _print_rows(console, rows)
    console.print("\nsettings that are not the defaults (--json prints all)")
    for name, value in settings.changed_settings(recipe).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        console.print(f"  --{name} {shlex.quote(text)}", markup=False)


def _print_rows(console: Console, rows: list[tuple[str, str]]) -> None:
    for name, text in rows:
        console.print(f"{name:<14} {text}", markup=False)
