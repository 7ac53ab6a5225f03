"""Lists of clips as their makers distribute them, one format a file, all ending in the same rows.

Which format a place holds can be said, and is otherwise found out.
"""

from __future__ import annotations

from pathlib import Path

from teinet.data.lists.formats import (
    folders,
    hmdb51,
    jester,
    kinetics,
    mmaction,
    slowfast,
    something_v1,
    something_v2,
    table,
    tsn,
    ucf101,
)
from teinet.data.lists.formats.base import Format, Listing, Options, Place
from teinet.errors import AnnotationError, ConfigError, nearest

__all__ = ["FORMATS", "Listing", "Options", "find_format", "read_listing"]

_DATA_SETS = (something_v1, something_v2, jester, kinetics, ucf101, hmdb51)
_LISTS = (tsn, mmaction, slowfast)  # lines that the data sets' own lists may look like
_OWN = (table, folders)
FORMATS: dict[str, Format] = {m.FORMAT.name: m.FORMAT for m in (*_DATA_SETS, *_LISTS, *_OWN)}


def find_format(place: Place) -> Format:
    """The format of a place.

    Raises:
        AnnotationError: it holds lists of several, or nothing that is known.
    """
    for group in (_DATA_SETS, _LISTS):
        found = [m.FORMAT for m in group if m.FORMAT.recognise(place)]
        if len(found) > 1:
            names = ", ".join(f.name for f in found)
            raise AnnotationError(place.path, f"holds lists of several formats ({names}); say which with data.format")
        if found:
            return found[0]
    for module in _OWN:
        if module.FORMAT.recognise(place):
            return module.FORMAT
    raise AnnotationError(
        place.path,
        "no list of clips that is known: a csv or .jsonl with columns path and label, or a format of another project "
        f"({', '.join(FORMATS)}; data.format says which)",
    )


def read_listing(
    path: str | Path,
    *,
    format: str = "auto",
    root: str | Path | None = None,
    options: Options | None = None,
) -> Listing:
    """Read a list of clips, or a folder that holds them.

    Args:
        path: a folder of class folders, a data set's folder, or one of its lists.
        format: one of `FORMATS`, or "auto".
        root: the folder that the clips lie in; None takes the usual places beside the list.
        options: see `Options`.

    Raises:
        AnnotationError: nothing there, or a line that does not say what it should; names file and line.
        ConfigError: a format or a division that does not exist.
    """
    if format not in ("auto", *FORMATS):
        raise ConfigError(
            f"data.format {format!r} does not exist; there are {', '.join(FORMATS)}.{nearest(format, FORMATS)}"
        )
    place = Place(Path(path), None if root is None else Path(root))
    if not place.path.exists():
        raise AnnotationError(path, "no such file or folder; give a folder of class folders or a list of clips")
    kind = find_format(place) if format == "auto" else FORMATS[format]
    return kind.read(place, options or Options())
