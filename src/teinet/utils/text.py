"""Names, times, durations and sizes formatted for people."""

from __future__ import annotations

import inspect
import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def printable(text: object) -> str:
    """Return text that is safe to print: line ends and tabs as spaces, other control and non-UTF-8 characters as ?."""
    shown = str(text).encode("utf-8", "replace").decode("utf-8")
    return _CONTROLS.sub(lambda found: " " if found[0] in "\n\r\t" else "?", shown)


def escaped(error: UnicodeError) -> tuple[str, int]:
    """Return what is printed for characters that an encoding lacks: # for bars, JSON's escapes for others."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = ("#" if "\u2580" <= c <= "\u259f" else json.dumps(c)[1:-1] for c in text)
    return "".join(plain), error.end


def spelling_key(name: str) -> str:
    """Return a key that is the same for names that differ by case or Unicode form only."""
    return unicodedata.normalize("NFKC", name).casefold()


def one_text(one: str, other: str) -> bool:
    """Return true if two names are the same text in Unicode forms that look alike."""
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def natural(name: str | Path) -> list[tuple[int, int, str]]:
    """Return a sort key that compares the numbers in names by value."""
    parts = re.split(r"(\d+)", str(name).casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def other_names(names: Sequence[str], most: int = 3) -> str:
    """Return the number of files that are ignored and the first of their names in brackets, or an empty string."""
    few = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f" ({count(len(names), 'other file')}: {few})" if names else ""


def count(number: int, what: str) -> str:
    """Return a number with its noun: 1 clip, 2 clips."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def clock(second: float) -> str:
    """Return seconds as hours, minutes, seconds and milliseconds: 00:01:02.500."""
    whole = round(max(second, 0.0) * 1000)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // 1000 % 60:02d}.{whole % 1000:03d}"


def short_clock(second: float) -> str:
    """Return seconds as minutes and seconds, with hours from one hour on: 1:02, 2:00:00."""
    whole = round(max(second, 0.0))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def duration(seconds: float) -> str:
    """Return seconds in units that fit: 45 s, 3 min 05 s, 2 h 10 min."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours:
        return f"{hours} h {m:02} min"
    return f"{m} min {s:02} s" if m else f"{s} s"


def file_size(count: int) -> str:
    """Return a number of bytes in units that fit: 812 MB, 1.4 GB."""
    size, units = abs(float(count)), ("B", "kB", "MB", "GB", "TB")
    place = 0
    while size >= 999.5 and place < len(units) - 1:
        size, place = size / 1000, place + 1
    return f"{'-' if count < 0 else ''}{size:.3g} {units[place]}"


def share(value: float | None, scale: float = 100) -> str:
    """Return a share in percent, such as 47.3, or a dash for None and NaN; `scale` is 1 if `value` is in percent."""
    return "-" if value is None or value != value else f"{scale * value:.1f}"


def percent(value: float | None) -> str:
    """Return a share with its unit: 47.3 %, or a dash for None and NaN."""
    text = share(value)
    return text if text == "-" else f"{text} %"


def number(value: float) -> str:
    """Return a number with up to two decimals, without trailing zeros: 58, 2.9, 29.97."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def short_repr(value: object) -> str:
    """Return the Python form of a value, cut off after 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def documented_arguments(documented: type) -> dict[str, str]:
    """Return the texts of a docstring's arguments by name, each in one line."""
    _, _, arguments = str(inspect.getdoc(documented)).partition("Args:")
    found = re.findall(r"^    (\w[\w, ]*): (.*(?:\n        .*)*)", arguments, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in found for name in names.split(", ")}
