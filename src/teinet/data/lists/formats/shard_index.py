"""The index of shards that `teinet data shard` writes: where each clip's bytes are, and its classes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from teinet.data.lists.formats import base
from teinet.data.lists.formats.base import DataPath, Format, Listing, Options
from teinet.data.lists.labels import read_text
from teinet.data.lists.rows import Row
from teinet.data.shards import path_in_shard
from teinet.errors import AnnotationError

INDEX = "shards.json"
MARK = "teinet_shards"  # its first key, with the version of its form


def _index(data: DataPath) -> Path:
    return data.path / INDEX if data.is_folder else data.path


def _is_index(data: DataPath) -> bool:
    return base.head(_index(data)).startswith(f'{{"{MARK}"')


def _read(data: DataPath, options: Options) -> Listing:
    path = _index(data)
    try:
        index = json.loads(read_text(path))
        folder = data.videos or path.parent
        shards = [str(folder / shard["name"]) for shard in index["shards"]]
        sizes = [shard["bytes"] for shard in index["shards"]]
        rows = [_row(clip, shards, path) for clip in index["clips"]]
        names = index["class_names"]
    except base.DAMAGED as error:
        raise base.invalid(path, "shards", error) from None
    for shard, size in zip(shards, sizes):
        if os.path.isfile(shard) and 0 < os.path.getsize(shard) < size:  # 0: it stands for one at an address
            raise AnnotationError(path, f"{shard} is shorter than it was written; write or copy it again")
    return Listing(format="shards", source=path, rows=rows, class_names=options.class_names or names)


def _row(clip: list, shards: list[str], path: Path) -> Row:
    shard, offset, length, file, labels, split, start, end, name, columns = clip
    place = path_in_shard(shards[shard], offset, length, file)
    label = labels[0] if labels else None
    return Row(place, label, split, start, end, name, str(path), None, columns, tuple(labels[1:]))


SHARDS = Format("shards", "shards of clips and their index", _is_index, _read)
