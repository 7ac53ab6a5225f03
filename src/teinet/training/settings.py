"""Plain values (YAML, words of a command line, Python) as the types of a recipe's settings."""

from __future__ import annotations

import operator
import types
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from numbers import Real
from os import PathLike
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from teinet.errors import ConfigError, nearest

_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


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
    except (_Misfit, yaml.YAMLError):
        choices = [str(choice) for each in _alternatives(kind) for choice in get_args(each) if _is(each, Literal)]
        allowed = " or ".join(dict.fromkeys(_in_words(each) for each in _alternatives(kind)))
        raise ConfigError(f"{name} is {value!r}; it must be {allowed}.{nearest(str(value), choices)}") from None


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
        except (ValueError, TypeError):
            pass
    raise _Misfit
