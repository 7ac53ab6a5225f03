"""Small copies of all clips of a list, written by several processes, and a list of them for training."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from teinet.data.lists.formats import Listing
from teinet.data.lists.rows import absent
from teinet.data.lists.write_list import refuse_unwritable
from teinet.data.tools.checking import stamp
from teinet.data.tools.shrink.journal import Entry, Journal
from teinet.data.tools.shrink.lists import Report, copied, finish, labels_beside
from teinet.data.tools.shrink.pictures import shrink_pictures
from teinet.data.tools.shrink.plan import Job, plan
from teinet.data.tools.shrink.settings import Shrinking
from teinet.data.tools.shrink.video import shrink_video
from teinet.errors import ConfigError, Interrupted, VideoError
from teinet.utils import worker_pool as pool
from teinet.utils.progress import file_progress
from teinet.utils.signals import stop_on_signal
from teinet.utils.text import file_size


def shrink(
    listing: Listing,
    folder: Path,
    settings: Shrinking,
    *,
    root: str | None = None,
    workers: int,
    timeout: float = 60.0,
    console: Console | None = None,
) -> Report:
    """Write small copies of a list's clips below `folder`, and the list of them to `folder/clips.csv`.

    Copies that an earlier command wrote are not written again, unless the source has changed.

    Args:
        listing: the clips; they are not changed.
        folder: a new folder, or one that this function began to fill.
        settings: size and quality.
        root: the folder that the list's paths start from, where it was said.
        workers: number of processes; 0 works in this one, without a limit of time.
        timeout: seconds without a new frame after which a file is given up.
        console: where progress is shown.

    Raises:
        ConfigError: `folder` is unsuitable; nothing is written.
        OSError: `folder` cannot be written to, or the disk is full.
        Interrupted: Ctrl-C or SIGTERM; what was written is kept.
    """
    if workers < 0 or not timeout > 0:
        raise ConfigError(f"workers is {workers} and timeout {timeout:g}; expected 0 or more, and seconds above 0")
    rows = listing.rows
    missing = {rows[i].path for i in absent(rows)}
    jobs = plan(listing, folder, root)
    present = list({job.key: job for path, job in jobs.items() if path not in missing}.values())
    if not present:
        raise ConfigError(f"{listing.source}: none of its clips exist, for example {rows[0].path}; say --root FOLDER")
    refuse_unwritable([copied(row, jobs[row.path], Entry(key=""), folder) for row in rows], folder)
    journal = Journal(folder, settings, present)
    try:
        todo = [job for job in present if not _holds(journal.entries.get(job.key), job, folder)]
        resumed, left = len(present) - len(todo), len(todo)
        labels = labels_beside(listing, folder)
        saved = sum((e.before or 0) - e.bytes for e in journal.entries.values() if not e.reason)
        with (
            stop_on_signal() as stop,
            file_progress(console or Console(quiet=True), "shrinking", len(present), done=resumed) as advance,
        ):
            work = partial(_work, folder, settings)
            for done in pool.run(work, todo, workers=workers, timeout=timeout, stop=stop):
                entry = done.value
                if isinstance(entry, pool.Lost):  # without size and time, so that the next command tries again
                    entry = Entry(key=done.task.key, reason=entry.reason)
                journal.add(entry)
                left -= 1
                saved += 0 if entry.reason else (entry.before or 0) - entry.bytes
                advance(f"{file_size(saved)} saved")
    finally:
        journal.close()
    if left:
        total = len(present)
        raise Interrupted(f"stopped after {total - left} of {total} files in {folder}; the same command goes on")
    return finish(rows, jobs, missing, journal, folder, resumed, labels)


def _work(folder: Path, settings: Shrinking, job: Job, beat: pool.Beat) -> Entry:
    """Make one copy, in a process of its own."""
    target = folder / job.target
    try:
        size, modified = stamp(job.source)
    except OSError:
        return Entry(key=job.key, reason="no such file or folder")
    entry = Entry(key=job.key, before=size, modified=modified)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if job.pictures:
            written, renamed = shrink_pictures(job.source, target, settings, beat)
            return replace(entry, bytes=written, renamed=renamed)
        shift = shrink_video(job.source, target, settings, beat)
        return replace(entry, bytes=target.stat().st_size, shift=shift)
    except VideoError as error:
        return replace(entry, reason=error.reason)
    except OSError:  # the disk's; nothing else could be written either
        raise
    except Exception as error:  # a mistake of ours, or of FFmpeg's: the others go on
        return replace(entry, reason=" ".join(f"{type(error).__name__}: {error}".split()))


def _holds(entry: Entry | None, job: Job, folder: Path) -> bool:
    """Whether nothing is left to do: the source is as it was, and its copy is there, or cannot be."""
    if entry is None or entry.modified is None:
        return False
    try:
        if (entry.before, entry.modified) != stamp(job.source):
            return False
        target = (folder / job.target).stat() if not entry.reason else None
        return target is None or job.pictures or target.st_size == entry.bytes
    except OSError:
        return False
