"""Small copies of all clips of a list, written by several processes, and a list of them for training.

Copies keep the relative paths of their sources; the same command resumes from a journal in the new folder.
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
from teinet.utils.files import write_findings
from teinet.utils.journal import Journal
from teinet.utils.progress import file_progress
from teinet.utils.signals import StopSignal
from teinet.utils.text import file_size

CLIPS, LABELS, JOURNAL = "clips.csv", "labels.txt", "shrink.jsonl"
UNREADABLE, DAMAGED = "unreadable.csv", "damaged.csv"


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """The result of `shrink`.

    Args:
        clips: number of clips in the new list.
        files: number of copies, `resumed` of them from an earlier command.
        before, after: bytes of the sources and of the copies.
        unreadable: clips that were left out, with reasons.
        damaged: files that lack frames and were copied all the same, with their damage.
        list, labels: the csv, and the file of class names next to it (None: no clip has a label).
    """

    clips: int
    files: int
    resumed: int
    before: int
    after: int
    list: Path
    labels: Path | None
    unreadable: list[tuple[Row, str]] = field(repr=False)
    damaged: list[tuple[str, str]] = field(repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return counts, and the clips that were left out, as JSON values."""
        left_out = [{"path": r.path, "reason": why, "list": r.file, "line": r.line} for r, why in self.unreadable]
        labels = None if self.labels is None else str(self.labels)
        damaged = [{"path": path, "reason": reason} for path, reason in self.damaged]
        told = {"list": str(self.list), "labels": labels, "unreadable": left_out, "damaged": damaged}
        return vars(self) | told


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The planned or finished copy of one file or folder of images; a record of the journal.

    Args:
        key: path below the new folder, with slashes: an .mp4 file, or a folder of images, with the `pattern` of their
            names if the list has one.
        source: path in the list; it may have several clips.
        reason: why there is no copy; empty if there is one.
        before, modified: size and time of last change (ns) of the source when it was read; None if the process died.
        bytes: size of the copy.
        shift: seconds by which frames are shown earlier in the copy.
        damage: of the source, in words; empty if there is none.
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
    damage: str = ""

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
    """Write small copies of a list's clips below `folder`, and their list to `folder/clips.csv`.

    Copies of an earlier command are kept, unless the source has changed.

    Args:
        folder: a new folder, or one that this function began to fill.
        root: the folder that the list's paths are relative to, if given.
        workers: number of processes; 0 works in this one, without a timeout.
        timeout: seconds without a new frame after which a file is skipped.

    Raises:
        ConfigError: `folder` is unsuitable; nothing is written.
        OSError: `folder` cannot be written to, or the disk is full.
        Interrupted: Ctrl-C or SIGTERM; finished copies are kept.
        RunError: no clip could be read.
    """
    rows = listing.rows
    plan = _plan(listing, folder, root)
    present = list({copy.key: copy for copy in plan.values() if not copy.reason}.values())
    if not present:
        reason = f"none of its clips exist, for example {rows[0].path}; set the folder of its paths with --root"
        raise ConfigError(f"{listing.source}: {reason}")
    refuse_unwritable([plan[row.path].row(row, folder) for row in rows], folder)
    journal = Journal(folder / JOURNAL, "data shrink", asdict(settings))
    copies = {copy.key: copy for copy in records(journal, Copy)}
    if not journal.path.exists() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: was not written by `teinet data shrink`; choose a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    journal.start(map(vars, copies.values()))
    try:
        todo = [copy for copy in present if not _is_done(copies.get(copy.key), copy.source, folder)]
        resumed, left = len(present) - len(todo), len(todo)
        names = listing.class_names or sorted({label for row in rows for label in row.labels})
        if names:
            write_labels(folder / LABELS, names)
        saved = sum((e.before or 0) - e.bytes for e in copies.values() if not e.reason)
        bars = file_progress(console or Console(quiet=True), "shrinking", len(present), done=resumed)
        with StopSignal() as stop, bars as advance:
            work = partial(_work, folder, settings)
            for done in pool.run(work, todo, workers=workers, timeout=timeout, stop=stop):
                copy = done.value
                if isinstance(copy, pool.TaskFailure):  # without size and time, so that the next command tries again
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
        done = f"stopped after {total - left} of {total} files in {folder}"
        raise Interrupted(f"{done}; run the same command to continue")
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
    left_out = [(row.path, reason, row.file, row.line or "") for row, reason in unreadable]
    damaged = [(copy.source, copy.damage) for copy in kept.values() if copy.damage]
    write_findings(folder / UNREADABLE, ("path", "reason", "list", "line"), left_out)
    write_findings(folder / DAMAGED, ("path", "reason"), damaged)
    return Shrunk(
        clips=len(written),
        files=len(kept),
        resumed=resumed,
        before=sum(copy.before or 0 for copy in kept.values()),
        after=sum(copy.bytes for copy in kept.values()),
        list=folder / CLIPS,
        labels=folder / LABELS if names else None,
        unreadable=unreadable,
        damaged=damaged,
    )


def _work(folder: Path, settings: Shrinking, copy: Copy, beat: pool.Beat) -> Copy:
    """Make one copy, in a worker process."""
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
        shift, damage = shrink_video(copy.source, target, settings, beat)
        return replace(copy, bytes=target.stat().st_size, shift=shift, damage=damage)
    except VideoError as error:
        return replace(copy, reason=error.reason)
    except OSError:  # the disk is full or read-only: stop everything
        raise
    except Exception as error:  # a bug of ours or FFmpeg's: the others continue
        return replace(copy, reason=" ".join(f"{type(error).__name__}: {error}".split()))


def _is_done(copy: Copy | None, source: str, folder: Path) -> bool:
    """Return true if there is nothing to do: the source is unchanged, and its copy exists or is impossible."""
    try:
        if copy is None or copy.modified is None or (copy.before, copy.modified) != stamp(source):
            return False
        return bool(copy.reason) or (folder / copy.target).stat().st_size == copy.bytes or copy.is_images
    except OSError:
        return False


def _plan(listing: Listing, folder: Path, root: str | None) -> dict[str, Copy]:
    """Return the planned copy of each path of the list; ConfigError if copies collide or mix with clips."""
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
    """Return the absolute file or folder of a path, and the pattern of its image names."""
    if image_folder.is_folder(path) and not os.path.isdir(path):
        folder, pattern = image_folder.split(path)
        return os.path.abspath(folder), pattern or ""
    return os.path.abspath(path), ""


def _base(listing: Listing, root: str | None, folders: set[str]) -> str:
    """Return the base of relative paths: `root` or the list's folder, if above all clips, else their common folder."""
    try:
        shared = os.path.commonpath(folders)
    except ValueError:  # two drives
        raise ConfigError("the clips are on several drives; shrink a list for each drive") from None
    source = listing.source if listing.source.is_dir() else listing.source.parent
    for base in (root, source):
        if base is not None and Path(shared).is_relative_to(os.path.abspath(base)):
            return os.path.abspath(base)
    return shared


def _refuse_source(folder: Path, folders: set[str]) -> None:
    """Raise ConfigError if `folder` is inside a folder of clips or of class folders, or contains one."""
    real = {Path(os.path.realpath(name)) for name in folders}
    parents = Counter(path.parent for path in real)
    target = Path(os.path.realpath(folder))
    for source in (*real, *(path for path, count in parents.items() if count > 1)):
        if target == source or source in target.parents or target in source.parents:
            raise ConfigError(
                f"{folder}: is inside a folder of the clips ({source}), or contains it; choose a folder elsewhere, to "
                "keep originals and copies apart"
            )
