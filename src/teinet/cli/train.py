"""`teinet train`: train by a recipe, from YAML and the command line."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import SUPPRESS, ArgumentError, ArgumentParser, DefaultHelpFormatter

from teinet.errors import ConfigError, nearest
from teinet.training.recipe import Recipe

# What people type first; each stands for the field beside it.
SHORT = {
    "--data": "--data.path",
    "--model": "--model.name",
    "--backbone-weights": "--model.backbone_weights",
    "--weights": "--model.weights",
    "--frames": "--model.num_frames",
    "--size": "--clip.size",
    "--epochs": "--optim.epochs",
    "--batch-size": "--optim.batch_size",
    "--lr": "--optim.lr",
    "--devices": "--run.devices",
    "--seed": "--run.seed",
    "--name": "--run.name",
    "--output": "--run.output",
    "--workers": "--run.workers",
}
_DESCRIPTION = """\
Train a network on labelled clips. Settings come from a recipe (YAML), then from the command line; the defaults are
the paper's.

  teinet train --data videos/ --backbone resnet50     a folder of class folders, or a csv with path and label
  teinet train recipe.yaml --optim.lr 0.02            a recipe, with a setting of your own
  teinet train --resume runs/teinet_resnet50-1        go on with a run that was stopped

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
    short = {**SHORT, "--backbone NAME": "--model.name teinet_NAME"}
    parser = ArgumentParser(
        prog="teinet train",
        usage="teinet train [RECIPE.yaml] [--SECTION.SETTING VALUE ...]",
        description=_DESCRIPTION + "\n".join(f"  {name:<20} {field}" for name, field in short.items()),
        exit_on_error=False,
        default_env=False,
        formatter_class=_Help,
    )
    parser.add_argument("--config", action="config", help="a recipe; several are laid over each other")
    parser.add_argument("--resume", type=str | None, default=None, help="go on with the run in this folder")
    parser.add_class_arguments(Recipe)
    for action in parser._actions:
        if action.dest in (
            "data",
            "model",
            "clip",
            "optim",
            "run",
        ):  # as options they would hide behind the short forms
            action.help = SUPPRESS
    return parser


def expand(argv: list[str]) -> list[str]:
    """Replace short forms by the fields that they stand for, and a leading file by --config."""
    result: list[str] = []
    for position, word in enumerate(argv):
        option, equals, value = word.partition("=")
        if option == "--backbone":
            option = "--model.name"
            if equals:
                value = f"teinet_{value}"
        elif position and argv[position - 1] == "--backbone":
            word = f"teinet_{word}"
        elif re.search(r"\.ya?ml$", word) and not _awaits_value(argv[:position]):
            result += ["--config", word]
            continue
        option = SHORT.get(option, option)
        result.append(option + equals + value if word.startswith("--") else word)
    return result


def _awaits_value(before: list[str]) -> bool:
    return bool(before) and before[-1].startswith("--") and "=" not in before[-1]


def parse_recipe(argv: list[str]) -> tuple[Recipe, str | None]:
    """The recipe that the words describe, and the folder to resume.

    Raises:
        ConfigError: an option or value that does not exist or does not fit, with the nearest valid name.
    """
    parser = recipe_parser()
    words = expand(argv)
    try:
        for position, word in enumerate(words):
            if word == "--config" or word.startswith("--config="):
                _check_recipe(Path(word[9:] if "=" in word else "".join(words[position + 1 : position + 2])))
        parsed = parser.parse_args(words)
        recipe = parser.instantiate(parsed)
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(_explain(str(error))) from None
    except OSError as error:
        raise ConfigError(f"the recipe cannot be read: {error}") from None
    return Recipe(**{name: getattr(recipe, name) for name in ("data", "model", "clip", "optim", "run")}), recipe.resume


def _check_recipe(path: Path) -> None:
    """Refuse a recipe whose sections or settings do not exist, by their whole names, which the parser does not say."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid YAML: {error}") from None
    if content is None and not path.is_file():
        raise ConfigError(f"there is no recipe {path}")
    sections = [f.partition(".")[0] for f in field_names()]
    if not isinstance(content, dict) or not all(isinstance(v, dict) for k, v in content.items() if k in sections):
        names = ", ".join(dict.fromkeys(sections))
        raise ConfigError(f"{path} is no recipe: it must hold sections ({names}) with settings in them")
    for section, settings in content.items():
        for name in [f"{section}.{key}" for key in settings] if isinstance(settings, dict) else [str(section)]:
            if name not in field_names():
                home = next(
                    (f for f in field_names() if f.endswith(f".{name}")), None
                )  # right, but outside its section
                hint = f" Did you mean {home!r}?" if home else nearest(name, field_names())
                raise ConfigError(f"{path}: there is no setting {name!r}.{hint} teinet train --help lists all")


def recipe_from_file(path: Path) -> Recipe:
    """Read a recipe back, for instance a run's own."""
    return parse_recipe(["--config", str(path)])[0]


def field_names(value: Any = None, prefix: str = "") -> list[str]:
    """Every field of a recipe with its dots: optim.lr and the like."""
    from dataclasses import fields, is_dataclass

    value = Recipe() if value is None else value
    names = []
    for f in fields(value):
        inner = getattr(value, f.name)
        names += field_names(inner, f"{prefix}{f.name}.") if is_dataclass(inner) else [prefix + f.name]
    return names


def _explain(text: str) -> str:
    text = " ".join(text.split())
    unknown = re.search(r"[Kk]ey[\"' ]+([\w.\-]+)[\"' ]+(?:is not expected|does not exist)", text)
    unknown = unknown or re.search(r"[Uu]nrecognized arguments: --([\w.\-]+)", text)
    unknown = unknown or re.search(r"(?:does not accept nested key|accept option) [\"']([\w.\-]+)[\"']", text)
    unknown = unknown or re.search(r"Option [\"']([\w.\-]+)[\"'] is not accepted", text)
    if unknown:
        name = unknown[1]
        valid = field_names() if "." in name else [*field_names(), *(s[2:] for s in SHORT)]
        return f"there is no setting {name!r}.{nearest(name, valid)} teinet train --help lists all"
    if wrong := re.search(r'Parser key "([\w.]+)": (.+?)(?:Got|Given) value: ?(.*)$', text):
        name, kind, value = wrong.groups()
        return f"{name} is {value!r}; it must be {_kind(kind)}.{nearest(value, _choices(kind))}"
    if absent := re.search(r"File does not exist: '(.+)'", text):
        return f"there is no recipe {absent[1]}"
    if stray := re.search(r"unrecognized arguments: (.+)", text):
        return f"{stray[1]!r} means nothing here: a recipe's name ends in .yaml, settings look like --optim.lr 0.02"
    if broken := re.search(r"Problems parsing config: (.+)", text):
        return f"the recipe is no valid YAML: {broken[1]}"
    return text


def _choices(text: str) -> list[str]:
    literal = re.search(r"Literal\[(.+?)\]", text)
    return re.findall(r"'([^']+)'", literal[1]) if literal else []


def _kind(text: str) -> str:
    """A type as a person says it."""
    if choices := _choices(text):
        return "one of " + ", ".join(choices)
    words = {
        "float": "a number",
        "int": "a whole number",
        "bool": "true or false",
        "list": "a list such as [4, 5]",
        "str": "text",
    }
    return next((said for name, said in words.items() if re.search(rf"\b{name}\b", text)), text)


def main(argv: list[str]) -> int:
    """Train, or go on; returns the exit code."""
    if any(word in ("-h", "--help") for word in argv):
        recipe_parser().print_help()
        return 0
    recipe, resume = parse_recipe(argv)
    from rich.console import Console

    from teinet.training.folder import RECIPE
    from teinet.training.run import train
    from teinet.training.state import STATE

    folder = None
    if resume:
        folder = Path(resume)
        if not (folder / RECIPE).is_file():
            raise ConfigError(f"{folder} is no run: it holds no {RECIPE}; name the folder that `teinet train` made")
        if len([w for w in expand(argv) if w.startswith("--")]) > 1:
            raise ConfigError("--resume goes on with the run's own recipe; other settings would make it another run")
        recipe = recipe_from_file(folder / RECIPE)
        if not (folder / STATE).is_file():
            raise ConfigError(f"{folder} holds no {STATE}: it stopped before its first state was saved; start it anew")
        if not zipfile.is_zipfile(folder / STATE):
            raise ConfigError(f"{folder / STATE} is cut off or of another kind, so the run cannot go on; start it anew")
    console = Console()
    folder = train(recipe, resume=folder, console=console)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes the first one speaks
        console.print(
            f"\nTrained. Next:\n  teinet test {folder}\n  teinet predict {folder} VIDEO",
            highlight=False,
            soft_wrap=True,
        )
    return 0
