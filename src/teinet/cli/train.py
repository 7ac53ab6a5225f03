"""`teinet train`: train by a recipe, from YAML and the command line, or say what that would be."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import SUPPRESS, ArgumentError, ArgumentParser, DefaultHelpFormatter

from teinet.errors import ConfigError, nearest
from teinet.training import recipe_files
from teinet.training.recipe import Recipe
from teinet.utils.signals import first_process

if TYPE_CHECKING:
    from rich.console import Console

    from teinet.training.dry_run import Forecast
    from teinet.training.trainer import Trained

# What people type first; each stands for the field next to it.
SHORT = {
    "--backbone": "--model.name",  # teinet_ before it
    "--data": "--data.path",
    "--format": "--data.format",
    "--root": "--data.root",
    "--labels": "--data.labels",
    "--model": "--model.name",
    "--backbone-weights": "--model.backbone_weights",
    "--weights": "--model.weights",
    "--frames": "--model.num_frames",
    "--size": "--clip.size",
    "--epochs": "--optim.epochs",
    "--batch-size": "--optim.batch_size",
    "--lr": "--optim.lr",
    "--device": "--run.device",
    "--devices": "--run.devices",
    "--precision": "--run.precision",
    "--seed": "--run.seed",
    "--name": "--run.name",
    "--output": "--run.output",
    "--workers": "--run.workers",
}
# Settings of the machine and not of the run: they do not change what is learned.
MACHINE = ("max_unreadable", "workers", "read_timeout", "threads", "save_every_steps", "save_every_minutes")

# Options that are no settings.
_OWN = ("--config", "--resume", "--dry-run", "--json")

_DESCRIPTION = """\
Train a network on labeled clips. Settings come from a recipe (YAML), then from the command line; the defaults are
the paper's.

  teinet train --data videos/ --backbone resnet50      a folder of class folders, or a list of clips
  teinet train recipe.yaml --optim.lr 0.02             a recipe, with a setting of your own
  teinet train something_v1/teinet_8f --data sthv1/    a row of the paper's tables (teinet recipes lists them)
  teinet train ... --dry-run                           only say what would be done, and how long it would take
  teinet train --resume runs/teinet_resnet50-1         continue with a run that was stopped

short forms:
"""


class _Help(DefaultHelpFormatter):
    """Lays out the description as it stands, and says a setting's default but not its type in Python."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text

    def _get_help_string(self, action: Any) -> str:
        text = super()._get_help_string(action).replace("type: %(type)s, ", "").replace("type: %(type)s", "")
        return text.replace("(default: %(default)s)", "").strip() if action.default is None else text


def recipe_parser() -> ArgumentParser:
    """A parser whose options are the fields of `Recipe`."""
    short = {**SHORT, "--backbone": "--model.name teinet_..."}
    parser = ArgumentParser(
        prog="teinet train",
        usage="teinet train [RECIPE] [--SECTION.SETTING VALUE ...]",
        description=_DESCRIPTION + "\n".join(f"  {name:<20} {field}" for name, field in short.items()),
        exit_on_error=False,
        default_env=False,
        formatter_class=_Help,
    )
    add = parser.add_argument
    add("--config", action="config", help="a recipe; later ones override earlier ones")
    add("--resume", type=str | None, default=None, help="continue with the run in this folder")
    add("--dry-run", action="store_true", help="print recipe, data, steps, memory and time; train not")
    add("--json", action="store_true", help="print what --dry-run finds as JSON")
    parser.add_class_arguments(Recipe)
    for action in parser._actions:
        if action.dest in ("data", "model", "clip", "optim", "run"):
            action.help = SUPPRESS  # as options they would hide behind the short forms
    return parser


def expand(argv: list[str]) -> list[str]:
    """Replace short forms by the fields that they stand for, and recipes by --config with their settings.

    Raises ConfigError for a recipe, section or setting that does not exist.
    """
    result: list[str] = []
    before = ""  # the option that awaits a value
    for word in argv:
        option, equals, value = word.partition("=") if word.startswith("--") else (before, "", word)
        if option == "--backbone" and value:
            value = f"teinet_{value}"
        elif before == "--config":
            value = _settings(word)
        elif not before and not word.startswith("-") and recipe_files.is_recipe(word):
            result.append("--config")
            value = _settings(word)
        name = SHORT.get(option, option)
        if word.startswith("--") and name not in _OWN:
            recipe_files.refuse_setting(name[2:], also=[short[2:] for short in SHORT])
        result.append(f"{name}{equals}{value}" if word.startswith("--") else value)
        before = option if word.startswith("--") and not equals and word not in ("--dry-run", "--json") else ""
    return result


def parse_recipe(argv: list[str]) -> tuple[Recipe, Any]:
    """Return the recipe that the words describe, and the other options: resume, dry_run, json.

    Raises ConfigError, with the nearest valid name, for an option or value that does not exist or does not fit.
    """
    parser = recipe_parser()
    try:
        parsed = parser.instantiate(parser.parse_args(expand(argv)))
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(_explain(" ".join(str(error).split()))) from None
    return Recipe(**{f.name: getattr(parsed, f.name) for f in fields(Recipe)}), parsed


def _settings(name: str) -> str:
    """A recipe's settings as JSON, which the parser takes in place of a file; an unknown one is named whole."""
    settings = recipe_files.compose(name)
    recipe_files.refuse_unknown(settings, name)
    return json.dumps(settings)


_KINDS = {"float": "a number", "int": "a whole number", "bool": "true or false", "list": "a list such as [4, 5]"}


def _explain(text: str) -> str:
    """Say a complaint of the parser as the setting, its value and what it must be."""
    if wrong := re.search(r'Parser key "([\w.]+)": (.+?)(?:Got|Given) value: ?(.*)$', text):
        name, kind, value = wrong.groups()
        literal = re.search(r"Literal\[(.+?)\]", kind)
        choices = re.findall(r"'([^']+)'", literal[1]) if literal else []
        kinds = (said for short, said in _KINDS.items() if re.search(rf"\b{short}\b", kind))
        said = f"one of {', '.join(choices)}" if choices else next(kinds, "text")
        return f"{name} is {value!r}; it must be {said}.{nearest(value, choices)}"
    if stray := re.search(r"[Uu]nrecognized arguments: (.+)", text):
        return f"{stray[1]!r} means nothing here: a recipe's name ends in .yaml, settings look like --optim.lr 0.02"
    return text


def main(argv: list[str]) -> int:
    """Train, or go on, and test by the recipe's views; returns the exit code."""
    if any(word in ("-h", "--help") for word in argv):
        recipe_parser().print_help()
        return 0
    recipe, options = parse_recipe(argv)
    given = {w.partition("=")[0][2:] for w in expand(argv) if w.startswith("--")}
    if options.json and not options.dry_run:
        raise ConfigError("--json belongs to --dry-run; a run writes its numbers into its folder")
    folder = None
    if options.resume:
        machine = {f"run.{name}" for name in MACHINE}
        if other := sorted(given - machine - {"resume"}):
            raise ConfigError(
                f"--resume continues with the run's own recipe; --{other[0]} would make it another run. Only these may "
                f"change: {', '.join(f'run.{name}' for name in MACHINE)}"
            )
        changed = {name: getattr(recipe.run, name) for name in MACHINE if f"run.{name}" in given}
        folder = Path(options.resume)
        recipe = _recipe_of_run(folder)
        recipe = replace(recipe, run=replace(recipe.run, **changed))
    elif recipe.model.weights and not given & {"model.name", "config"}:
        recipe = _with_network_of_weights(recipe, given)
    from rich.console import Console

    if options.dry_run:
        from teinet.training.dry_run import forecast

        found = forecast(recipe)
        if options.json:
            plan = {"recipe": asdict(found.parts.recipe), **found.to_dict()}
            print(json.dumps(plan, indent=2, ensure_ascii=False))
        else:
            _print_plan(Console(highlight=False, soft_wrap=True), found)
        return 0
    from teinet.training.trainer import train_and_test, train_official_splits

    console = Console(highlight=False)
    if recipe.run.official_splits:
        done = train_official_splits(recipe, console=console)
    else:
        done = [train_and_test(recipe, resume=folder, console=console)]
    if first_process():
        _report(console, recipe, done)
    return 0


def _report(console: Console, recipe: Recipe, done: list[Trained]) -> None:
    """Measured next to published, for each of the recipe's views; then what to type next."""
    from teinet.evaluation.published import comparable, departures_note, print_published
    from teinet.training.trainer import mean_over
    from teinet.utils.text import percent

    for number, views in enumerate(recipe.tests()):
        tests = [trained.tests[number] for trained in done]
        mean, spread = mean_over(tests)
        over = f", mean of {len(tests)} splits, standard deviation {percent(spread)}" if len(tests) > 1 else ""
        on = f"{' + '.join(str(len(t.scores)) for t in tests)} {tests[0].scores.meta.get('split', '')} clips"
        console.print(f"\n{views} on {on}: top-1 {percent(mean.top1)}{over}", soft_wrap=True)
        print_published(console, comparable(recipe.published, views=views), mean)
    if changed := recipe_files.departures(asdict(recipe), asdict(Recipe())):
        console.print(departures_note(recipe.row, changed), style="dim", soft_wrap=True)
    folders = " ".join(str(trained.folder) for trained in done)
    first = done[0].folder
    following = (f"teinet test {first}", f"teinet predict {first} VIDEO", f"teinet report {folders}")
    console.print("\nTrained. Next:", *following, sep="\n  ", soft_wrap=True)


def _print_plan(console: Console, found: Forecast) -> None:
    """The effective recipe, the data found, steps, rate, memory and time."""
    from teinet.evaluation.published import cost
    from teinet.training.trainer import rate_in_words
    from teinet.utils.text import duration

    recipe, parts = found.parts.recipe, found.parts
    console.print("[bold]recipe[/bold]")
    settings = {key: value for key, value in asdict(recipe).items() if key != "published"}
    console.print(yaml.safe_dump(settings, sort_keys=False), markup=False)
    clips = ", ".join(f"{len(c)} {split}" for split, c in parts.splits.items())
    rows = [
        ("clips", f"{clips}; format {parts.splits.source.format}"),
        ("classes", str(len(parts.splits["train"].class_names))),
        *[("note", note) for note in parts.splits.source.notes],
        ("network", f"{recipe.model.name}, {found.parameters:,} parameters, {found.gflops:.2f} GFLOPs a clip"),
        ("steps", f"{parts.steps_per_epoch} an epoch, {found.steps} in all ({recipe.optim.epochs} epochs)"),
        ("learning rate", rate_in_words(recipe)),
        ("precision", f"{parts.hardware.precision}, {parts.data.workers} workers"),
    ]
    rows += [(f"test {views}", f"{cost(*each)} GFLOPs x views") for views, each in found.tests.items()]
    for p in recipe.published:
        figures = [f"{said} {value}" for said, value in p.figures().items() if value is not None]
        rows.append((f"table {p.table}", f"{p.row}: {', '.join(figures)}"))
    console.print("[bold]plan[/bold]")
    _print_rows(console, rows)
    console.print("trying a few steps", style="dim")
    trial = found.trial
    where = "of the GPU" if trial.on_gpu else "of this process and its largest worker"
    times = len(recipe.run.official_splits)
    each = f" for each of {times} splits" if times > 1 else ""
    step = f"{trial.step_seconds:.2f} s computing, {trial.wait_seconds:.2f} s waiting for clips"
    rows = [
        ("a step", f"{step} (medians of {trial.steps} steps tried)"),
        ("memory", f"{trial.memory / 2**30:.1f} GiB at its peak, {where}"),
        ("time", f"about {duration(found.seconds)}{each}, by these steps"),
    ]
    _print_rows(console, rows)


def _print_rows(console: Console, rows: list[tuple[str, str]]) -> None:
    for name, text in rows:
        console.print(f"{name:<14} {text}", markup=False)


def _with_network_of_weights(recipe: Recipe, given: set[str]) -> Recipe:
    """Fine-tuning takes the network that the weights hold, and its way to look at clips, but for what was `given`."""
    from teinet.models.checkpoint import read_recognizer

    header = read_recognizer(str(recipe.model.weights))[0]
    kept = {name.partition(".")[2] for name in given if name.startswith("model.")}
    own = {f.name for f in fields(recipe.model)} - kept - {"weights", "dropout", "pretrained", "backbone_weights"}
    model = replace(recipe.model, **{k: v for k, v in header["architecture"].items() if k in own})
    told = {**header["sampling"], **header["preprocessing"]}
    kept = {name.partition(".")[2] for name in given if name.startswith("clip.")}
    if kept & {"size", "fit"}:  # with its own short side
        kept.add("short_side")
    if told.get("strategy") != "dense":
        kept.add("window")
    seen = {"strategy", "window", "size", "short_side", "fit"} & set(told) - kept
    return replace(recipe, model=model, clip=replace(recipe.clip, **{name: told[name] for name in seen}))


def _recipe_of_run(folder: Path) -> Recipe:
    from teinet.training.run_dir import RECIPE, STATE

    if not (folder / RECIPE).is_file():
        raise ConfigError(f"{folder} is no run: it holds no {RECIPE}; name the folder that `teinet train` made")
    if not (folder / STATE).is_file():
        raise ConfigError(f"{folder} holds no {STATE}: it stopped before its first state was saved; start it again")
    if not zipfile.is_zipfile(folder / STATE):
        raise ConfigError(f"{folder / STATE} is cut off or of another kind, so the run cannot go on; start it again")
    return parse_recipe(["--config", str(folder / RECIPE)])[0]
