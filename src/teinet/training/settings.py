"""Settings of a recipe: their names, and plain values (YAML, words of a command line, Python) as their types."""

from __future__ import annotations

import operator
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from numbers import Real
from operator import attrgetter
from os import PathLike
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from teinet.errors import ConfigError, nearest
from teinet.training.recipe_files import Settings, compose, of_network, override
from teinet.utils.other_words import BY_WORD
from teinet.utils.text import documented_arguments, short_repr

T = TypeVar("T")

# Short forms of settings, as options with dashes; `backbone` is the name of a teinet_ network without that prefix.
SHORT = {
    "data": "data.path",
    "format": "data.format",
    "root": "data.root",
    "labels": "data.labels",
    "val_path": "data.val_path",
    "test_path": "data.test_path",
    "official_split": "data.official_split",
    "multi_label": "data.multi_label",
    "image_names": "data.image_names",
    "model": "model.name",
    "backbone_weights": "model.backbone_weights",
    "weights": "model.weights",
    "pretrained": "model.pretrained",
    "frames": "model.num_frames",
    "modality": "model.modality",
    "size": "clip.size",
    "epochs": "optim.epochs",
    "batch_size": "optim.batch_size",
    "lr": "optim.lr",
    "device": "run.device",
    "devices": "run.devices",
    "precision": "run.precision",
    "workers": "run.workers",
    "read_timeout": "run.read_timeout",
    "background": "run.background",
    "seed": "run.seed",
    "name": "run.name",
    "output": "run.output",
}


_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def load(kind: type[T], *sources: str | PathLike[str] | Mapping[str, Any]) -> T:
    """Return a recipe of `sources`, later ones overriding earlier ones; `kind` is the dataclass Recipe.

    See `Recipe.load`.
    """
    merged: Settings = {}
    for source in sources:
        if isinstance(source, Mapping):
            layer, where = _by_section(source, kind), ""
        else:
            layer, where = compose(source), f"{source}: "
        refuse_unknown(layer, kind, where)
        try:
            build(kind, layer)
        except ConfigError as error:  # now, while the source is known
            raise ConfigError(f"{where}{error}") from None
        merged = override(merged, layer)
    return build(kind, override(of_network(merged), merged))


def _by_section(settings: Mapping[str, Any], kind: type) -> Settings:
    """Return settings by section, of those with dots, by section already, or in their short form."""
    found: Settings = {}
    for key, value in settings.items():
        if key == "backbone":
            if "model" in settings or "model.name" in settings:
                raise ConfigError("backbone and model both name the network; give one")
            key, value = "model.name", f"teinet_{value}"
        if key in _sections(kind) and isinstance(value, Mapping):
            found = override(found, {key: value})
            continue
        section, dot, name = SHORT.get(key, key).partition(".")
        found = override(found, {section: {name: value} if dot else value})
    return found


def setting_names(settings: Mapping[str, Any], kind: type) -> set[str]:
    """Return the names, such as optim.lr, of settings in any form that `load` takes."""
    return {
        f"{section}.{name}"
        for section, values in _by_section(settings, kind).items()
        for name in (values if isinstance(values, Mapping) else ())
    }


def _sections(kind: type) -> dict[str, Any]:
    return {name: section for name, section in get_type_hints(kind).items() if is_dataclass(section)}


def refuse_unknown(settings: Mapping[str, Any], kind: type, before: str = "") -> None:
    """Raise ConfigError at a section or setting that does not exist, by its whole name and with the nearest one."""
    for section, values in settings.items():
        if section in _sections(kind) and not isinstance(values, Mapping):
            raise ConfigError(f"{before}section {section!r} must hold settings, such as {section}: {{...}}")
        for setting in [f"{section}.{key}" for key in values] if isinstance(values, Mapping) else [section]:
            refuse_setting(setting, kind, before)


def refuse_setting(name: str, kind: type, before: str = "") -> None:
    """Raise ConfigError with the nearest name at a setting that does not exist."""
    known = field_names(kind)
    if name not in known:  # or right, but outside its section
        home = next((f for f in known if f.endswith(f".{name}")), None)
        words = (word.replace("-", "_") for word in BY_WORD.get(name.lower().replace("_", "-"), ()))
        home = home or next((word for word in words if word in SHORT or word in known), None)
        hint = f" Did you mean {home!r}?" if home else nearest(name, [*known, *SHORT, "backbone"])
        raise ConfigError(f"{before}there is no setting {name!r}.{hint} teinet train --help lists all")


def field_names(kind: type) -> list[str]:
    """Return the name of every setting of a recipe: optim.lr and the like."""
    sections = _sections(kind)
    return [
        name
        for f in fields(kind)
        for name in ([f"{f.name}.{each.name}" for each in fields(sections[f.name])] if f.name in sections else [f.name])
    ]


def meanings(kind: type) -> dict[str, str]:
    """Return what each setting of a recipe's sections means, from the docstrings of their classes."""
    found = {}
    for section, config in _sections(kind).items():
        found |= {f"{section}.{name}": text for name, text in documented_arguments(config).items()}
    return found


def changed_settings(recipe: Any) -> dict[str, Any]:
    """Return the settings that are not at their defaults, by their names."""
    defaults = type(recipe)()
    values = {name: (attrgetter(name)(recipe), attrgetter(name)(defaults)) for name in field_names(type(recipe))}
    return {name: own for name, (own, default) in values.items() if own != default and "." in name}


class _Misfit(ValueError):
    """A value of another type."""


def convert(value: Any, kind: Any, name: str) -> Any:
    """Return `value` as a setting of type `kind`: a bool, number, str, Literal, list or dataclass, or None.

    A text is read as on a command line: `0.02`, `true`, `null`, `[4, 5]` or `4,5`.

    Raises:
        ConfigError: it does not fit; says the setting's `name`, the value, and what it must be.
    """
    try:
        return _convert(value, kind)
    except (_Misfit, yaml.YAMLError, RecursionError):
        choices = [str(choice) for each in _alternatives(kind) for choice in get_args(each) if _is(each, Literal)]
        allowed = " or ".join(dict.fromkeys(_in_words(each) for each in _alternatives(kind)))
        raise ConfigError(
            f"{name} is {short_repr(value)}; it must be {allowed}.{nearest(str(value), choices)}"
        ) from None


def build(kind: type, values: Mapping[str, Any], prefix: str = "") -> Any:
    """Return the dataclass `kind` with `values`, which may hold those of further dataclasses; see `convert`."""
    hints = get_type_hints(kind)
    given = {}
    for key, value in values.items():
        if key not in hints:
            raise ConfigError(f"there is no setting {prefix + key!r}.{nearest(key, hints)}")
        if is_dataclass(hints[key]) and isinstance(value, Mapping):
            given[key] = build(hints[key], value, f"{prefix}{key}.")
        else:
            given[key] = convert(value, hints[key], prefix + key)
    return kind(**given)


def _is(kind: Any, origin: Any) -> bool:
    return get_origin(kind) is origin


def _alternatives(kind: Any) -> list[Any]:
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return [each for each in kinds if each is not types.NoneType]


def _in_words(kind: Any) -> str:
    if _is(kind, Literal):
        choices = get_args(kind)
        return f"one of {', '.join(choices)}" if len(choices) > 1 else str(*choices)
    if _is(kind, list):
        return "a list such as [4, 5]"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")


def _convert(value: Any, kind: Any) -> Any:
    alternatives = _alternatives(kind)
    if [kind] != alternatives:
        if value is None or (isinstance(value, str) and value.lower() in ("null", "none")):
            if types.NoneType in get_args(kind):
                return None
            raise _Misfit
        for each in alternatives:
            try:
                return _convert(value, each)
            except _Misfit:
                continue
        raise _Misfit
    if _is(kind, list):
        return [_convert(item, get_args(kind)[0]) for item in _items(value)]
    if _is(kind, Literal):
        if value in get_args(kind):
            return value
        raise _Misfit
    if is_dataclass(kind) and isinstance(value, Mapping):
        return build(kind, value)  # pyright: ignore[reportArgumentType]: it is a class
    if is_dataclass(kind) and type(value) is kind:
        return value
    return _scalar(value, kind)


def _items(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        # all its words stay text: `no` is a class's name, 1e-4 a number that YAML 1.1 does not know
        found = yaml.load(value, yaml.BaseLoader) if value.startswith("[") else value.split(",")
        return [item.strip() if isinstance(item, str) else item for item in found]
    return value if isinstance(value, Sequence) else [value]


def _scalar(value: Any, kind: Any) -> Any:
    text = isinstance(value, str)
    if kind is bool and text:
        value = _FLAGS.get(value.lower(), value)
    fits: Any = {bool: bool, str: (str, Real, PathLike)}.get(kind, (str, Real))
    if isinstance(value, fits) and isinstance(value, bool) == (kind is bool):
        try:
            if kind is str:
                return str(value)
            return operator.index(value) if kind is int and not text else kind(value)
        except (ValueError, TypeError, OverflowError):
            pass
    raise _Misfit
