"""The order of images by the numbers in their names, where the names show one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any

_DATE = r"(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])"
_CLOCK = r"(?:[01]\d|2[0-3]){0}[0-5]\d{0}[0-5]\d(?:[-_.,]?(?:\d{{9}}|\d{{6}}|\d{{3}}))?(?!\d| ?[ap]m)"
_START = r"(?<![^\W_])"  # not within a word or a longer number
# How the numbers of a name can be read: "-" and "." are a sign and a point, or separate two numbers.
_READINGS = {
    "number": re.compile(r"\d+"),
    "signed number": re.compile(rf"(?P<decimal>{_START}-\d+)|\d+"),
    "decimal number": re.compile(rf"(?P<decimal>{_START}(?<!\.)-?\d+\.\d+(?!\.?\d))|\d+"),
    "date and time": re.compile(
        rf"(?<!\d)(?P<date>{_DATE}(?:(?:[-_. T]| at )?{_CLOCK.format('[-_.:]?')})?(?!\d))"
        rf"|{_START}(?P<time>{_CLOCK.format('[-.:]')})|\d+",
        re.IGNORECASE,
    ),
}
_SIGN_OR_POINT = re.compile(r"(?:^|[^\w\0]|_)-\0|\0\.\0")  # \0: a number
_TWELVE_HOURS = re.compile(r"\d ?[ap]m(?![a-z])", re.IGNORECASE)
_FIELD = re.compile(r"%0?(?P<width>\d*)d|%(?:\.\d+)?(?P<decimal>f)|\*")  # of a pattern


class UnclearOrder(Exception):
    """The order is not shown: names `one` and `other` contradict each other as `why` says; `pattern` may settle it."""

    def __init__(self, one: str, other: str, why: str, pattern: str):
        self.pattern = pattern
        super().__init__(f"{one} and {other} {why}")


@lru_cache(maxsize=1024)
def in_order(names: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return names that have numbers in the order of these, and what orders them: a key of `_READINGS`.

    A number orders the names that is another one in each; numbers that differ besides it must rise with it. Names that
    can be read in several ways must have one order in all of them.

    Raises:
        UnclearOrder: there is no such number, or the order depends on how the names are read.
    """
    stems = [os.path.splitext(name)[0] for name in names]
    orders: dict[str, list[int]] = {}
    for reading, units in _READINGS.items():
        shapes, values = zip(*(_read(stem, units) for stem in stems))
        if len(set(shapes)) > 1:
            continue
        columns = [column for column in zip(*values) if len(set(column)) > 1]
        if len(columns) > 1 and _TWELVE_HOURS.search(stems[0]):
            continue
        order = _rising(columns, len(names))
        if order is not None:
            orders[reading] = order
        if order is not None and len(columns) == 1 and not _SIGN_OR_POINT.search("\0".join(shapes[0])):
            break  # usual, and the same in all readings
    if "decimal number" in orders and _is_padded_as_fraction(stems):  # 1.04 is less than 1.1
        orders.pop("number", None)
    if "number" not in orders and _are_counts(stems):  # 1.9, 1.10, 2.1
        orders.pop("decimal number", None)
    if not orders:
        raise _contradiction(names, stems)
    reading, order = next(iter(orders.items()))
    for other in orders.values():
        if other != order:
            one, two = next((a, b) for a, b in zip(order, other) if a != b)
            raise _two_ways(names[one], names[two])
    return tuple(names[i] for i in order), reading


def _read(stem: str, units: re.Pattern[str]) -> tuple[tuple[str, ...], list[Any]]:
    """Return a name without its numbers, and the numbers."""
    texts, values, end = [], [], 0
    for unit in units.finditer(stem):
        kind, text = unit.lastgroup, unit[0]
        texts.append(stem[end : unit.start()].casefold())
        if kind == "decimal":
            values.append(Decimal(text))
        elif kind is None:
            values.append(int(text))
        else:  # digits of one length: year, month, day; hour, minute, second and its fraction
            texts[-1] += kind
            values.append("".join(filter(str.isdecimal, text)).ljust(23, "0"))
        end = unit.end()
    return (*texts, stem[end:].casefold()), values


def _rising(columns: Sequence[Sequence[Any]], count: int) -> list[int] | None:
    """Return the order of the first column without repetitions if all columns rise in it."""
    for column in columns:
        if len(set(column)) == count:
            order = sorted(range(count), key=column.__getitem__)
            if all(other[a] <= other[b] for other in columns for a, b in pairwise(order)):
                return order
    return [0] if count == 1 else None


def _is_padded_as_fraction(stems: Sequence[str]) -> bool:
    """Return true if numbers at one place begin with a zero without having one length: .04, .1."""
    for column in zip(*(re.findall(r"\d+", stem) for stem in stems)):
        shortest = min(map(len, column))
        if any(text[0] == "0" and len(text) > shortest for text in column):
            return True
    return False


def _are_counts(stems: Sequence[str]) -> bool:
    """Return true if digits after a point end in a zero without having one length: 9, 10; no fraction is so written."""
    for column in zip(*(re.findall(r"\d\.(\d+)(?!\.?\d)", stem) for stem in stems)):
        shortest = min(map(len, column))
        if any(text[-1] == "0" and len(text) > shortest for text in column):
            return True
    return False


def _contradiction(names: Sequence[str], stems: Sequence[str]) -> UnclearOrder:
    """Return two names that contradict each other: of one number, of two kinds, or of two orders."""
    shapes, values = zip(*(_read(stem, _READINGS["number"]) for stem in stems))
    columns = list(zip(*values))
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    last = varying[-1] if varying else -1
    seen: dict[int, str] = {}
    for name, numbers in zip(names, values):
        if (other := seen.setdefault(numbers[last], name)) != name:
            return _same_number(other, name, last)
    if len(set(shapes)) > 1:
        two = next(i for i, shape in enumerate(shapes) if shape != shapes[0])
        pattern = _pattern(names[0], {-1: "%d"})
        if shapes[0][0] == shapes[two][0]:  # 0001_a8f3.png: a number, and other text
            start = re.split(r"(?<=\d)(?!\d)", names[0], maxsplit=1)[0]
            pattern = f"{_pattern(start, {0: '%d'})}*{os.path.splitext(names[0])[1]}"
        return UnclearOrder(names[0], names[two], "are named differently", pattern)
    fields = dict.fromkeys(varying, "*") | {next(i for i in varying if len(set(columns[i])) == len(names)): "%d"}
    order = sorted(range(len(names)), key=columns[last].__getitem__)
    for one, two in pairwise(order):
        if any(column[one] > column[two] for column in columns):
            return UnclearOrder(names[one], names[two], "have numbers of two orders", _pattern(names[one], fields))
    return UnclearOrder(names[0], names[1], "have times of 12 hours", _pattern(names[0], dict.fromkeys(varying, "%d")))


def _same_number(one: str, other: str, place: int = -1) -> UnclearOrder:
    pattern = _pattern(other, {place: "%d"})
    if pattern_regex(pattern).fullmatch(one):  # 1.jpg and 001.jpg
        pattern = _pattern(one, {place: "%d"})
    return UnclearOrder(one, other, "have the same number", pattern)


def _two_ways(one: str, other: str) -> UnclearOrder:
    pattern = re.sub(r"-\d+$", "%d", os.path.splitext(one)[0]) + os.path.splitext(one)[1]
    if pattern == one:
        pattern = re.sub(r"\d+\.\d+", "%f", one, count=1)
    return UnclearOrder(one, other, "have numbers that can be read in two ways", pattern)


def _pattern(name: str, fields: Mapping[int, str]) -> str:
    """Return a name with fields in the place of some of its numbers; %d gets the number's length."""
    stem, suffix = os.path.splitext(name)
    parts = re.split(r"(\d+)", stem)
    for place, field in fields.items():
        i = 2 * place + 1 if place >= 0 else 2 * place + len(parts)
        padded = field == "%d" and len(parts[i]) > 1
        parts[i] = f"%0{len(parts[i])}d" if padded else field
    return "".join(parts) + suffix


def pattern_regex(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern such as img_%05d.jpg; its groups are the numbers.

    %d is a number, %05d one of at least 5 digits, %f one that may have a fraction, and * any text.
    """
    parts, end = [], 0
    for field in _FIELD.finditer(pattern):
        parts.append(re.escape(pattern[end : field.start()]))
        if field[0] == "*":
            parts.append(".*?")
        else:
            parts.append(r"(-?\d+(?:\.\d+)?)" if field["decimal"] else rf"(-?\d{{{field['width'] or 1},}})")
        end = field.end()
    return re.compile("".join(parts) + re.escape(pattern[end:]))


def is_pattern(name: str) -> bool:
    """Return true if a name has a field for a number."""
    return "%" in name and any(field[0] != "*" for field in _FIELD.finditer(name))


def in_order_of(pattern: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that a pattern matches in the order of its numbers, the first before the others.

    Raises:
        UnclearOrder: two names have the same numbers.
    """
    regex, found = pattern_regex(pattern), dict[tuple[Decimal, ...], str]()
    for name in names:
        if match := regex.fullmatch(name):
            other = found.setdefault(tuple(map(Decimal, match.groups())), name)
            if other != name:
                raise _same_number(other, name)
    return tuple(found[key] for key in sorted(found))
