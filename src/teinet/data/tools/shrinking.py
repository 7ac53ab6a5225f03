"""Small copies of all clips of a list, written by several processes, and a list of them for training.

Copies keep their sources' relative paths; a journal in the new folder lets the same command continue.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from teinet.data.lists.formats import Listing
from teinet.data.lists.rows import Row, absent
from teinet.data.lists.write_list import refuse_unwritable, write_labels, write_rows
from teinet.data.tools.checking import MISSING, records, stamp
from teinet.data.tools.small_copy import Shrinking, shrink_images, shrink_video
from teinet.data.video import image_folder
from teinet.errors import ConfigError, Interrupted, RunError, VideoError
from teinet.utils import worker_pool as pool
from teinet.utils.files import write_csv
from teinet.utils.journal import Journal
from teinet.utils.progress import file_progress
from teinet.utils.signals import StopSignal
from teinet.utils.text import file_size

CLIPS, LABELS, UNREADABLE, JOURNAL = "clips.csv", "labels.txt", "unreadable.csv", "shrink.jsonl"


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """What `shrink` has done.

    Args:
        clips: written to the list.
        files: copies, `resumed` of them from an earlier command.
        before, after: bytes of these files and of their copies.
        unreadable: clips that are left out, each with the reason.
        list: the csv, and `labels` the file of class names next to it (None: no clip has a label).
    """

    clips: int
    files: int
    resumed: int
    before: int
    after: int
    list: Path
    labels: Path | None
    unreadable: list[tuple[Row, str]] = field(repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return counts, and what was left out, as JSON values."""
        left_out = [{"path": r.path, "reason": why, "list": r.file, "line": r.line} for r, why in self.unreadable]
        labels = None if self.labels is None else str(self.labels)
        return vars(self) | {"list": str(self.list), "labels": labels, "unreadable": left_out}


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One file or folder of images and its copy, as it is planned and as the journal holds it.

    Args:
        key: path below the new folder, with slashes: an .mp4 file, or a folder of images with the `pattern` of their
            names, where the list gives one.
        source: as the list gives it; several clips may lie in it.
        reason: why there is no copy; empty where there is one.
        before, modified: size and time of last change (ns) of the source when it was read; None where it was lost.
        bytes: size of the copy.
        shift: seconds by which frames are shown earlier in it.
    """

    key: str
    source: str
    pattern: str = ""
    is_images: bool = False
    reason: str = ""
    before: int | None = None
    modified: int | None = None
    bytes: int = 0
    shift: float = 0.0

    @property
    def target(self) -> str:
        """The path below the new folder, without a pattern."""
        return self.key.removesuffix(f"/{self.pattern}") if self.pattern else self.key

    def row(self, row: Row, folder: Path) -> Row:
        """Return the row of a clip's copy."""
        start, end = (None if second is None else max(0.0, second - self.shift) for second in (row.start, row.end))
        return row._replace(path=str(folder / self.key), start=start, end=end)


def shrink(
    listing: Listing,
    folder: Path,
    settings: Shrinking,
    *,
    root: str | None = None,
    workers: int,
    timeout: float = 60.0,
    console: Console | None = None,
) -> Shrunk:
    """Write small copies of a list's clips below `folder`, and the list of them to `folder/clips.csv`.

    Copies that an earlier command wrote are not written again, unless the source has changed.

    Args:
        folder: a new folder, or one that this function began to fill.
        root: the folder that the list's paths start from, where it was said.
        workers: number of processes; 0 works in this one, without a time limit.
        timeout: seconds without a new frame after which a file is given up.

    Raises:
        ConfigError: `folder` is unsuitable; nothing is written.
        OSError: `folder` cannot be written to, or the disk is full.
        Interrupted: Ctrl-C or SIGTERM; what was written is kept.
        RunError: no clip could be read.
    """
    rows = listing.rows
    plan = _plan(listing, folder, root)
    present = list({copy.key: copy for copy in plan.values() if not copy.reason}.values())
    if not present:
        raise ConfigError(f"{listing.source}: none of its clips exist, for example {rows[0].path}; say --root FOLDER")
    refuse_unwritable([plan[row.path].row(row, folder) for row in rows], folder)
    journal = Journal(folder / JOURNAL, "data shrink", asdict(settings))
    copies = {copy.key: copy for copy in records(journal, Copy)}
    if not journal.path.exists() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is there already and is not from `teinet data shrink`; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    journal.start(map(vars, copies.values()))
    try:
        todo = [copy for copy in present if not _holds(copies.get(copy.key), copy.source, folder)]
        resumed, left = len(present) - len(todo), len(todo)
        names = listing.class_names or sorted({row.label for row in rows if row.label is not None})
        if names:
            write_labels(folder / LABELS, names)
        saved = sum((e.before or 0) - e.bytes for e in copies.values() if not e.reason)
        bars = file_progress(console or Console(quiet=True), "shrinking", len(present), done=resumed)
        with StopSignal() as stop, bars as advance:
            work = partial(_work, folder, settings)
            for done in pool.run(work, todo, workers=workers, timeout=timeout, stop=stop):
                copy = done.value
                if isinstance(copy, pool.Lost):  # without size and time, so that the next command tries again
                    copy = replace(done.task, reason=copy.reason)
                copies[copy.key] = copy
                journal.add(vars(copy))
                left -= 1
                saved += 0 if copy.reason else (copy.before or 0) - copy.bytes
                advance(f"{file_size(saved)} saved")
    finally:
        journal.close()
    if left:
        total = len(present)
        raise Interrupted(f"stopped after {total - left} of {total} files in {folder}; the same command continues")
    written: list[Row] = []
    unreadable: list[tuple[Row, str]] = []
    kept: dict[str, Copy] = {}
    for row in rows:
        planned = plan[row.path]
        copy = planned if planned.reason else copies[planned.key]
        small = copy.row(row, folder)
        if copy.reason:
            unreadable.append((row, copy.reason))
        elif small.end is not None and small.end <= (small.start or 0):
            unreadable.append((row, f"no frames before {row.end:g} s"))
        else:
            written.append(small)
            kept[copy.key] = copy
    if not written:
        raise RunError(f"none of the clips could be read; the first: {unreadable[0][0].path}: {unreadable[0][1]}")
    write_rows(folder / CLIPS, written)
    if unreadable:
        left_out = ((row.path, reason, row.file, row.line or "") for row, reason in unreadable)
        write_csv(folder / UNREADABLE, ("path", "reason", "list", "line"), left_out)
    else:
        (folder / UNREADABLE).unlink(missing_ok=True)  # of an earlier command
    return Shrunk(
        clips=len(written),
        files=len(kept),
        resumed=resumed,
        before=sum(copy.before or 0 for copy in kept.values()),
        after=sum(copy.bytes for copy in kept.values()),
        list=folder / CLIPS,
        labels=folder / LABELS if names else None,
        unreadable=unreadable,
    )


def _work(folder: Path, settings: Shrinking, copy: Copy, beat: pool.Beat) -> Copy:
    """Make one copy, in a process of its own."""
    target = folder / copy.target
    try:
        size, modified = stamp(copy.source)
    except OSError:
        return replace(copy, reason=MISSING)
    copy = replace(copy, before=size, modified=modified)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if copy.is_images:
            return replace(copy, bytes=shrink_images(copy.source, target, settings, beat))
        shift = shrink_video(copy.source, target, settings, beat)
        return replace(copy, bytes=target.stat().st_size, shift=shift)
    except VideoError as error:
        return replace(copy, reason=error.reason)
    except OSError:  # the disk's; nothing else could be written either
        raise
    except Exception as error:  # a mistake of ours, or of FFmpeg's: the others continue
        return replace(copy, reason=" ".join(f"{type(error).__name__}: {error}".split()))


def _holds(copy: Copy | None, source: str, folder: Path) -> bool:
    """Say whether nothing is left to do: the source is as it was, and its copy is there, or cannot be."""
    try:
        if copy is None or copy.modified is None or (copy.before, copy.modified) != stamp(source):
            return False
        return bool(copy.reason) or (folder / copy.target).stat().st_size == copy.bytes or copy.is_images
    except OSError:
        return False


def _plan(listing: Listing, folder: Path, root: str | None) -> dict[str, Copy]:
    """What to do with each path of the list; ConfigError where clips and copies could get mixed up."""
    places = {row.path: _place(row.path) for row in listing.rows}
    folders = {os.path.dirname(place) for place, _ in places.values()}
    _refuse_source(folder, folders | ({str(listing.source)} if listing.format == "folders" else set()))
    base = _base(listing, root, folders)
    missing = {listing.rows[i].path for i in absent(listing.rows)}
    plan: dict[str, Copy] = {}
    owners: dict[str, str] = {}
    for path, (place, pattern) in places.items():
        target, is_images = os.path.relpath(place, base).replace(os.sep, "/"), os.path.isdir(place)
        target = target if is_images else f"{os.path.splitext(target)[0]}.mp4"
        key, reason = f"{target}/{pattern}" if pattern else target, MISSING if path in missing else ""
        if (other := owners.setdefault(key.casefold(), place)) != place:
            raise ConfigError(f"{other} and {place} would both be written to {target}; rename one of them")
        plan[path] = Copy(key=key, source=path, pattern=pattern, is_images=is_images, reason=reason)
    return plan


def _place(path: str) -> tuple[str, str]:
    """The file or folder that a path means, whole, and the pattern of images' names."""
    if image_folder.is_folder(path) and not os.path.isdir(path):
        folder, pattern = image_folder.split(path)
        return os.path.abspath(folder), pattern or ""
    return os.path.abspath(path), ""


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
    """Refuse a new folder in one that holds clips or, as class folders next to each other, the clips' folders."""
    real = {Path(os.path.realpath(name)) for name in folders}
    parents = Counter(path.parent for path in real)
    target = Path(os.path.realpath(folder))
    for source in (*real, *(path for path, count in parents.items() if count > 1)):
        if target == source or source in target.parents or target in source.parents:
            raise ConfigError(
                f"{folder}: lies in a folder of the clips, or around it ({source}); name a folder elsewhere, so that "
                "originals and copies are never mixed up"
            )
