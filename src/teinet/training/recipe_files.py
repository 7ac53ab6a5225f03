"""Recipes as files: small YAML files that build on each other, the library's own by name.

`extends: FILE` overrides another file; `rows:` holds variants of it, called FILE/ROW: something_v1/teinet_8f.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from teinet.errors import ConfigError, nearest
from teinet.models.names import usual_clip
from teinet.models.systems.table import SYSTEMS

_MOST_VALUES = 100_000  # of a recipe, far more than any has

Settings = dict[str, Any]


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
    own = rows[row] or {}
    settings = override(override(settings, of_network(own)), own)
    settings.setdefault("row", f"{path.stem}/{row}")
    return settings


def of_network(settings: Mapping[str, Any]) -> Settings:
    """Return the settings that the network in `settings` brings by itself, those of its authors; of most, none.

    They stand below what is set for that network: below all of a recipe, or below the row that names it, and so above
    the settings of the row's file, which are for the file's network.
    """
    model, clip = (part if isinstance(part := settings.get(key), Mapping) else {} for key in ("model", "clip"))
    name = str(model.get("name"))
    system, size = SYSTEMS.get(name), usual_clip(name)[1]
    if system is None:
        return {"clip": {"size": size, "short_side": None}} if size != usual_clip("")[1] else {}
    asked = clip.get("strategy")
    if system.stride and asked != "sparse":
        sampled = {"strategy": "dense", "window": system.frames * system.stride}
    else:
        sampled = {"strategy": "sparse", "adjacent": 1 if asked == "dense" else system.adjacent}
    return {
        "model": {"num_frames": system.frames, "pretrained": system.images is not None, "dropout": system.dropout},
        "clip": {"size": size, "short_side": None, **sampled},
        "optim": {"head_lr_scale": 1.0, "bias_lr_scale": 1.0},  # 5 and 2 are TSM's
    }


# Where weights come from, and how a batch is made up of steps: the rate follows the batch.
_MACHINE = ("model.weights", "model.backbone_weights", "model.pretrained", "optim.batch_size", "optim.accumulate")


def changed_settings(recipe: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Return the settings of network, clip and optimizer that a run changed from the row that it is named after.

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


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; yaml.YAMLError if it is none, too deep, or huge through its aliases."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if _count(content, {}) > _MOST_VALUES:
            raise yaml.YAMLError(f"it holds more than {_MOST_VALUES} values, by its aliases")
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    return content


def _count(value: Any, known: dict[int, float]) -> float:
    """Return the number of values in a value, those of an alias at each of its places; `known` are by object."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if id(value) not in known:
        known[id(value)] = math.inf  # if it holds itself
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(value)]


def _read(path: Path) -> Settings:
    try:
        content = read_yaml(path)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: other bytes than UTF-8, wrong dates
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
