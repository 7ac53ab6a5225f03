"""Recipes: small YAML files that build on each other, the library's own by name, and settings that override them.

`extends: FILE` overrides another file; `rows:` holds variants of it, called FILE/ROW: something_v1/teinet_8f.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from teinet.errors import ConfigError, nearest
from teinet.training.recipe import Recipe
from teinet.training.settings import build

Settings = dict[str, Any]

# Short forms of settings, as options with dashes; `backbone` is the name of a teinet_ network without that prefix.
SHORT = {
    "data": "data.path",
    "format": "data.format",
    "root": "data.root",
    "labels": "data.labels",
    "model": "model.name",
    "backbone_weights": "model.backbone_weights",
    "weights": "model.weights",
    "frames": "model.num_frames",
    "size": "clip.size",
    "epochs": "optim.epochs",
    "batch_size": "optim.batch_size",
    "lr": "optim.lr",
    "device": "run.device",
    "devices": "run.devices",
    "precision": "run.precision",
    "workers": "run.workers",
    "seed": "run.seed",
    "name": "run.name",
    "output": "run.output",
}


def load(*sources: str | PathLike[str] | Mapping[str, Any], **settings: Any) -> Recipe:
    """See `Recipe.load`."""
    merged: Settings = {}
    for source in (*sources, settings):
        if isinstance(source, Mapping):
            layer, where = _by_section(source), ""
        else:
            layer, where = compose(source), f"{source}: "
        refuse_unknown(layer, where)
        try:
            build(Recipe, layer)
        except ConfigError as error:  # now, while the source is known
            raise ConfigError(f"{where}{error}") from None
        merged = override(merged, layer)
    return build(Recipe, merged)


def _by_section(settings: Mapping[str, Any]) -> Settings:
    """Return settings by section, of those with dots, by section already, or in their short form."""
    found: Settings = {}
    for key, value in settings.items():
        if key == "backbone":
            if "model" in settings or "model.name" in settings:
                raise ConfigError("backbone and model both name the network; give one")
            key, value = "model.name", f"teinet_{value}"
        if key in _sections() and isinstance(value, Mapping):
            found = override(found, {key: value})
            continue
        section, dot, name = SHORT.get(key, key).partition(".")
        found = override(found, {section: {name: value} if dot else value})
    return found


def setting_names(settings: Mapping[str, Any]) -> set[str]:
    """Return the names, such as optim.lr, of settings in any form that `load` takes."""
    return {
        f"{section}.{name}"
        for section, values in _by_section(settings).items()
        for name in (values if isinstance(values, Mapping) else ())
    }


def _sections() -> set[str]:
    return {name for name, kind in get_type_hints(Recipe).items() if is_dataclass(kind)}


def folder() -> Path:
    """Return the folder of the library's recipes: in the installed package, or at the root of a source tree."""
    package = Path(__file__).parents[1]
    places = (package / "recipes", package.parents[1] / "recipes")
    return next((place for place in places if place.is_dir()), places[0])


def list_recipes() -> dict[str, Settings]:
    """Return the settings of every recipe of the library by its name; of files with rows, those of the rows."""
    found = {}
    for path in sorted(folder().glob("[!_]*.yaml")):
        names = [f"{path.stem}/{row}" for row in _read(path).get("rows") or ()] or [path.stem]
        found |= {name: compose(name) for name in names}
    return found


def is_recipe(name: str) -> bool:
    """Return whether a word is a recipe: a YAML file, or one of the library's names."""
    return name.endswith((".yaml", ".yml")) or _locate(name)[0] is not None


def compose(name: str | PathLike[str]) -> Settings:
    """Return the settings of a recipe by section: those of the files that it extends, then its own, then its row's.

    Args:
        name: a YAML file, or the name of one of the library's, with /ROW after it where the file has rows.

    Raises:
        ConfigError: there is no such recipe or row, or a file of it is no recipe.
    """
    path, row = _locate(str(name))
    if path is None:
        stem = Path(name).stem
        if (folder() / f"{stem}.yaml").is_file():
            raise ConfigError(f"there is no file {name}; the library's recipe goes by its name alone: {stem}")
        near = nearest(str(name), list_recipes())
        raise ConfigError(f"there is no recipe {name}.{near} teinet recipes lists the library's")
    settings = _extended(path, ())
    rows = settings.pop("rows", None) or {}
    if row is None and rows:
        raise ConfigError(f"{path} holds {len(rows)} rows; take one, such as {path.stem}/{next(iter(rows))}")
    if row is None:
        return settings
    if row not in rows:
        raise ConfigError(f"{path} has no row {row!r}.{nearest(row, rows)} It has: {', '.join(rows)}")
    settings = override(settings, rows[row] or {})
    settings.setdefault("row", f"{path.stem}/{row}")
    return settings


def refuse_unknown(settings: Mapping[str, Any], before: str = "") -> None:
    """Raise ConfigError at a section or setting that does not exist, by its whole name and with the nearest one."""
    for section, values in settings.items():
        if section in _sections() and not isinstance(values, Mapping):
            raise ConfigError(f"{before}section {section!r} must hold settings, such as {section}: {{...}}")
        for setting in [f"{section}.{key}" for key in values] if isinstance(values, Mapping) else [section]:
            refuse_setting(setting, before)


def refuse_setting(name: str, before: str = "") -> None:
    """Raise ConfigError with the nearest name at a setting that does not exist."""
    known = field_names()
    if name not in known:  # or right, but outside its section
        home = next((f for f in known if f.endswith(f".{name}")), None)
        hint = f" Did you mean {home!r}?" if home else nearest(name, [*known, *SHORT])
        raise ConfigError(f"{before}there is no setting {name!r}.{hint} teinet train --help lists all")


def field_names(value: Any = None, prefix: str = "") -> list[str]:
    """Return the name of every setting of a recipe: optim.lr and the like."""
    value = Recipe() if value is None else value
    names = []
    for f in fields(value):
        inner = getattr(value, f.name)
        names += field_names(inner, f"{prefix}{f.name}.") if is_dataclass(inner) else [prefix + f.name]
    return names


def meanings() -> dict[str, str]:
    """Return what each setting of a recipe's sections means, from the docstrings of their classes."""
    found = {}
    for section, kind in get_type_hints(Recipe).items():
        if is_dataclass(kind):
            _, _, arguments = str(inspect.getdoc(kind)).partition("Args:")
            for names, text in re.findall(r"^    (\w[\w, ]*): (.*(?:\n        .*)*)", arguments, re.MULTILINE):
                found |= {f"{section}.{name}": " ".join(text.split()) for name in names.split(", ")}
    return found


def changed_settings(recipe: Recipe) -> dict[str, Any]:
    """Return the settings that are not at their defaults, by their names."""
    defaults = Recipe()
    values = {name: (attrgetter(name)(recipe), attrgetter(name)(defaults)) for name in field_names()}
    return {name: own for name, (own, default) in values.items() if own != default and "." in name}


# Where weights come from, and how a batch is made up of steps: the rate follows the batch.
_MACHINE = ("model.weights", "model.backbone_weights", "model.pretrained", "optim.batch_size", "optim.accumulate")


def departures(recipe: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Return the settings of network, clip and optimizer in which a run departs from the row that it is named after.

    `recipe` holds the effective settings by section, and `row`; `defaults` those of a recipe in which nothing is set.
    """
    row = recipe.get("row")
    if not row or _locate(row)[0] is None:
        return []
    own = override(defaults, compose(row))
    return [
        f"{section}.{name}"
        for section in ("model", "clip", "optim")
        for name, value in recipe[section].items()
        if f"{section}.{name}" not in _MACHINE and value != own[section].get(name)
    ]


def _locate(name: str) -> tuple[Path | None, str | None]:
    """Return the file of a recipe and its row; None and None where there is no such file."""
    for base, row in ((name, None), (name.rpartition("/")[0], name.rpartition("/")[2])):
        if not base:
            continue
        for path in (Path(base), Path(f"{base}.yaml"), folder() / f"{base}.yaml"):
            if path.suffix in (".yaml", ".yml") and path.is_file():
                return path, row
    return None, None


def _extended(path: Path, through: tuple[Path, ...]) -> Settings:
    if path.resolve() in through:
        raise ConfigError(f"{path} extends itself, through {' and '.join(str(p) for p in through)}")
    settings = _read(path)
    base = settings.pop("extends", None)
    if base is None:
        return settings
    below = next((p for p in (path.parent / str(base), folder() / f"{base}.yaml") if p.is_file()), None)
    if below is None:
        raise ConfigError(f"{path} extends {base}, which does not exist")
    inherited = _extended(below, (*through, path.resolve()))
    if any(settings.get(section) for section in ("model", "clip", "optim")):
        for row in (
            inherited.get("rows") or {}
        ).values():  # other settings: the published results are no longer its own
            row.pop("published", None)
    return override(inherited, settings)


def _read(path: Path) -> Settings:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid YAML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path} is no recipe: it must hold sections with settings in them")
    return content


def override(below: Mapping[str, Any], above: Mapping[str, Any]) -> Settings:
    """Return settings `above` over those `below`, section by section; lists are replaced."""
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = override(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged
