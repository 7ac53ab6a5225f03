"""Readers of the data sets' own lists, a module for each family of formats, all with the same rows."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from teinet.data import remote
from teinet.data.lists.data_config import check_path
from teinet.data.lists.formats.base import DataPath, Format, Listing, Options, image_pattern
from teinet.data.lists.formats.index_lists import MMACTION, SLOWFAST, TSN
from teinet.data.lists.formats.kinetics import KINETICS
from teinet.data.lists.formats.labeling_tools import CVAT, ELAN, LABEL_STUDIO, VIA
from teinet.data.lists.formats.plain import FOLDERS, TABLE
from teinet.data.lists.formats.segment_lists import ACTIVITYNET, AVA, CHARADES, EPIC
from teinet.data.lists.formats.shard_index import SHARDS
from teinet.data.lists.formats.something import JESTER, SOMETHING_V1, SOMETHING_V2
from teinet.data.lists.formats.ucf_hmdb import HMDB51, UCF101
from teinet.data.lists.rows import Row, absent
from teinet.data.video.reader import is_video
from teinet.data.video.source import refuse_address
from teinet.errors import AnnotationError, ConfigError, nearest

__all__ = ["FORMATS", "Listing", "Options", "find_format", "read_listing"]

# Add new formats here. The first group with a match decides, since formats look alike: any csv is a table.
_GROUPS = (
    (SHARDS,),
    (LABEL_STUDIO, CVAT, VIA, ELAN, ACTIVITYNET, AVA, CHARADES, EPIC),
    (SOMETHING_V1, SOMETHING_V2, JESTER, KINETICS, UCF101, HMDB51),
    (TSN, MMACTION, SLOWFAST),
    (TABLE,),
    (FOLDERS,),
)
FORMATS: dict[str, Format] = {format.name: format for group in _GROUPS for format in group}


def find_format(data: DataPath) -> Format:
    """Return the format of a file or folder; AnnotationError if it is a video, or matches several formats or none."""
    if not data.is_folder and is_video(data.path):
        raise AnnotationError(data.path, "this is a video; give a folder of class folders, or a list of clips")
    for group in _GROUPS:
        found = [format for format in group if format.recognize(data)]
        if len(found) > 1:
            names = ", ".join(f.name for f in found)
            raise AnnotationError(data.path, f"has lists of several formats ({names}); choose one with data.format")
        if found:
            return found[0]
    raise AnnotationError(
        data.path,
        "is not a known list of clips; give a csv or .jsonl with columns path and label, or set data.format to one of "
        f"{', '.join(FORMATS)}",
    )


def read_listing(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",
    root: str | os.PathLike[str] | None = None,
    options: Options | None = None,
) -> Listing:
    """Read a list of clips, or a folder of clips.

    Args:
        path: a folder of class folders, a data set's folder, or one of its lists.
        format: one of `FORMATS`, or "auto".
        root: the folder of the clips; None takes the usual places next to the list.

    Raises:
        AnnotationError: the file or folder is missing, or a line is invalid; names file and line.
        ConfigError: a format or an official split that does not exist; a pattern of image names without a number.
    """
    if format not in ("auto", *FORMATS):
        hint = nearest(format, FORMATS)
        raise ConfigError(f"data.format {format!r} does not exist; use one of {', '.join(FORMATS)}.{hint}")
    if root is not None and remote.address_of(root) is None:
        refuse_address(root)
    if isinstance(path := check_path(path), remote.RemotePath):
        return _read_remote(str(path), format, root, options)
    data = DataPath(path, None if root is None else remote.RemotePath(root) if remote.address_of(root) else Path(root))
    kind = find_format(data) if format == "auto" else FORMATS[format]
    options = options or Options()
    pattern = image_pattern(options.image_names)
    listing = kind.read(data, options)
    if pattern is None:
        return listing

    def with_pattern(row: Row) -> Row:
        return row._replace(path=os.path.join(row.path, pattern)) if os.path.isdir(row.path) else row

    return replace(listing, rows=list(map(with_pattern, listing.rows)))


def _read_remote(address: str, format: str, root: str | os.PathLike[str] | None, options: Options | None) -> Listing:
    """Read a list or folder at an address through files that stand for it."""
    with remote.standing_in(address, None if root is None else os.fspath(root)) as (local, videos, back):
        listing = read_listing(local, format=format, root=videos, options=options)
        if images := next((row.path for row in listing.rows if os.path.isdir(row.path)), None):
            raise AnnotationError(images, "is a folder of images, which is not read from an address; download it")
        rows = [row._replace(path=back(row.path), file=back(row.file)) for row in listing.rows]
        missing = None if local.is_file() else absent(listing.rows)
        notes = list(map(back, listing.notes))
        return replace(listing, source=remote.RemotePath(address), rows=rows, notes=notes, absent=missing)
