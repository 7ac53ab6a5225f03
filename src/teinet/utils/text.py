"""Names and messages as they may be shown, and sorted."""

from __future__ import annotations

import re
from pathlib import Path

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def printable(text: object) -> str:
    """Return a name or message without what would steer a terminal or end a line.

    File names are bytes on Linux; what is not UTF-8 among them is shown as a question mark, and so are control
    characters, such as a label may hold; a line break is a space.
    """
    shown = str(text).encode("utf-8", "replace").decode("utf-8")
    return _CONTROLS.sub(lambda found: " " if found[0] in "\n\r\t" else "?", shown)


def natural(name: str | Path) -> list[tuple[int, int, str]]:
    """Return a sort key that reads the numbers in a name as numbers."""
    parts = re.split(r"(\d+)", str(name).casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
