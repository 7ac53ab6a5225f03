"""Lists of clips as their makers distribute them, a module for each family of formats, all giving the same rows."""

from __future__ import annotations

import os
from pathlib import Path

from teinet.data.lists.formats.base import Format, Listing, Options, Place
from teinet.data.lists.formats.index_lists import MMACTION, SLOWFAST, TSN
from teinet.data.lists.formats.kinetics import KINETICS
from teinet.data.lists.formats.plain import FOLDERS, TABLE
from teinet.data.lists.formats.something import JESTER, SOMETHING_V1, SOMETHING_V2
from teinet.data.lists.formats.ucf_hmdb import HMDB51, UCF101
from teinet.data.video.reader import is_video
from teinet.errors import AnnotationError, ConfigError, nearest

__all__ = ["FORMATS", "Listing", "Options", "find_format", "read_listing"]

# A new format is named here. The first group that recognizes a place decides: lists may look alike, any csv is a table.
_GROUPS = (
    (SOMETHING_V1, SOMETHING_V2, JESTER, KINETICS, UCF101, HMDB51),
    (TSN, MMACTION, SLOWFAST),
    (TABLE,),
    (FOLDERS,),
)
FORMATS: dict[str, Format] = {format.name: format for group in _GROUPS for format in group}


def find_format(place: Place) -> Format:
    """Return the format of a place; AnnotationError: it is a video, or holds several formats or none that is known."""
    if not place.is_folder and is_video(place.path):
        raise AnnotationError(place.path, "this is one video; give a folder of class folders, or a list that names it")
    for group in _GROUPS:
        found = [format for format in group if format.recognize(place)]
        if len(found) > 1:
            names = ", ".join(f.name for f in found)
            raise AnnotationError(place.path, f"holds lists of several formats ({names}); say which with data.format")
        if found:
            return found[0]
    raise AnnotationError(
        place.path,
        "no list of clips that is known: a csv or .jsonl with columns path and label, or a format of another project "
        f"({', '.join(FORMATS)}; data.format says which)",
    )


def read_listing(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",
    root: str | os.PathLike[str] | None = None,
    options: Options | None = None,
) -> Listing:
    """Read a list of clips, or a folder that holds them.

    Args:
        path: a folder of class folders, a data set's folder, or one of its lists.
        format: one of `FORMATS`, or "auto".
        root: the folder that the clips lie in; None takes the usual places next to the list.

    Raises:
        AnnotationError: nothing there, or a line that does not say what it should; names file and line.
        ConfigError: a format or an official split that does not exist.
    """
    if format not in ("auto", *FORMATS):
        raise ConfigError(f"no data.format {format!r}; there are {', '.join(FORMATS)}.{nearest(format, FORMATS)}")
    place = Place(Path(path), None if root is None else Path(root))
    if not place.path.exists():
        raise AnnotationError(path, "no such file or folder; give a folder of class folders or a list of clips")
    kind = find_format(place) if format == "auto" else FORMATS[format]
    return kind.read(place, options or Options())
