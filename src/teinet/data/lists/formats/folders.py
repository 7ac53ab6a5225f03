"""A folder per class, with videos or folders of pictures in it; these may lie in train/, val/ and test/."""

from __future__ import annotations

from teinet.data.lists.formats.base import Format, Listing, Options, Place, split_of
from teinet.data.lists.rows import Row
from teinet.data.video.reader import is_video
from teinet.errors import AnnotationError


def _recognise(place: Place) -> bool:
    return place.is_folder  # asked last


def _read(place: Place, options: Options) -> Listing:
    root = place.path
    folders = [d for d in sorted(root.iterdir()) if d.is_dir() and not d.name.startswith(".")]
    splits = {d: split for d in folders if (split := split_of(d.name)) and d.name.isalpha()}
    if "train" not in splits.values() or any(is_video(p) for d in splits for p in d.iterdir()):
        splits = {}  # a class may well be called "test", or "train": then it holds videos, not class folders
    rows: list[Row] = []
    for folder, split in (splits or {root: ""}).items():
        for directory in sorted(d for d in folder.iterdir() if d.is_dir() and not d.name.startswith(".")):
            videos = sorted(p for p in directory.iterdir() if not p.name.startswith(".") and is_video(p))
            if not videos:
                raise AnnotationError(directory, "this class folder holds no videos; put some in or remove the folder")
            rows += [Row(str(p), directory.name, split) for p in videos]
    if not rows:
        flat = any(is_video(p) for p in root.iterdir())
        found = "its videos lie in no class folder" if flat else "no videos found"
        raise AnnotationError(
            root, f"{found}; expected one folder per class with videos in it, or a list of clips (data.format)"
        )
    return Listing(format="folders", source=root, rows=rows, class_names=options.class_names)


FOLDERS = Format("folders", "a folder per class", _recognise, _read)
