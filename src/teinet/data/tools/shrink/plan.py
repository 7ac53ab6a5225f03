"""Where each clip's small copy goes: to the same relative path below the new folder; and where none may be written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from teinet.data.lists.formats import Listing
from teinet.data.video import image_folder
from teinet.errors import ConfigError


@dataclass(frozen=True)
class Job:
    """One file or folder of pictures.

    Args:
        source: as the list gives it; several clips may lie in it.
        target: path below the new folder, with slashes: an .mp4 file, or a folder of pictures.
        pictures: whether it is pictures.
        pattern: of their names, where the list gives one.
    """

    source: str
    target: str
    pictures: bool = False
    pattern: str | None = None

    @property
    def key(self) -> str:
        """Its name in the journal: several patterns may lie in one folder."""
        return f"{self.target}/{self.pattern}" if self.pattern else self.target


def plan(listing: Listing, folder: Path, root: str | None) -> dict[str, Job]:
    """A job for each file that is there, by its path in the list.

    Args:
        listing: the clips.
        folder: the new folder.
        root: the folder that the list's paths start from, where it was said.

    Raises:
        ConfigError: `folder` lies among the clips or around them, or the clips share no folder.
    """
    places = {row.path: _place(row.path) for row in listing.rows}
    folders = {os.path.dirname(place) for place, _ in places.values()}
    _refuse_source(folder, folders | ({str(listing.source)} if listing.format == "folders" else set()))
    base = _base(listing, root, folders)
    names = {place: os.path.relpath(place, base).replace(os.sep, "/") for place, _ in places.values()}
    pictures = {place: os.path.isdir(place) for place in names}
    stems = {place: n if pictures[place] else f"{os.path.splitext(n)[0]}.mp4" for place, n in names.items()}
    # a.avi beside a.mp4, and A.mp4 beside a.mp4 where a file system takes them for one: these keep their suffix
    count = Counter(stem.casefold() for stem in stems.values())
    jobs = {}
    for path, (place, pattern) in places.items():
        alone = pictures[place] or count[stems[place].casefold()] == 1
        jobs[path] = Job(path, stems[place] if alone else f"{names[place]}.mp4", pictures[place], pattern)
    _refuse_one_target_for_two({places[path]: job for path, job in jobs.items()}.values())
    return jobs


def _place(path: str) -> tuple[str, str | None]:
    """The file or folder that a path means, whole, and the pattern of pictures' names."""
    if image_folder.is_folder(path) and not os.path.isdir(path):
        folder, pattern = image_folder.split(path)
        return os.path.abspath(folder), pattern
    return os.path.abspath(path), None


def _base(listing: Listing, root: str | None, folders: set[str]) -> str:
    """The folder that relative paths start from: the list's, where all clips lie below it, or what they share."""
    try:
        shared = os.path.commonpath(folders)
    except ValueError:  # two drives
        raise ConfigError("the clips lie on several drives and share no folder; shrink them by several lists") from None
    source = listing.source if listing.source.is_dir() else listing.source.parent
    for base in (root, source):
        if base is not None and Path(shared).is_relative_to(os.path.abspath(base)):
            return os.path.abspath(base)
    return shared


def _refuse_source(folder: Path, folders: set[str]) -> None:
    """Refuse a new folder in one that holds clips or, as class folders beside each other, the clips' folders."""
    real = {Path(os.path.realpath(name)) for name in folders}
    parents = Counter(path.parent for path in real)
    target = Path(os.path.realpath(folder))
    for source in (*real, *(path for path, count in parents.items() if count > 1)):
        if target == source or source in target.parents or target in source.parents:
            raise ConfigError(
                f"{folder}: lies in a folder of the clips, or around it ({source}); name a folder elsewhere, so that "
                "originals and copies are never mixed up"
            )


def _refuse_one_target_for_two(jobs: Iterable[Job]) -> None:
    seen: dict[str, Job] = {}
    for job in jobs:
        if (other := seen.setdefault(job.key.casefold(), job)) is not job:
            raise ConfigError(f"{other.source} and {job.source} would both be written to {job.target}; rename one")
