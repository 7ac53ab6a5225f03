"""What `teinet data shrink` leaves beside the copies: their list, the class names, and what could not be read."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from teinet.data.lists.formats import Listing
from teinet.data.lists.rows import Row
from teinet.data.lists.write_list import write_labels, write_rows
from teinet.data.tools.shrink.journal import Entry, Journal
from teinet.data.tools.shrink.pictures import jpeg_name
from teinet.data.tools.shrink.plan import Job
from teinet.errors import RunError
from teinet.utils.files import replacing

CLIPS, LABELS, UNREADABLE = "clips.csv", "labels.txt", "unreadable.csv"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was done.

    Args:
        clips: written to the list.
        files: copies, `resumed` of them from an earlier command.
        before, after: bytes of these files and of their copies.
        unreadable: clips that are left out, each with the reason.
        list: the csv, and `labels` the file of class names beside it (None: no clip has a label).
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
        """For JSON."""
        facts = {key: getattr(self, key) for key in ("clips", "files", "resumed", "before", "after")}
        left_out = [{"path": r.path, "reason": why, "list": r.file, "line": r.line} for r, why in self.unreadable]
        labels = None if self.labels is None else str(self.labels)
        return {**facts, "list": str(self.list), "labels": labels, "unreadable": left_out}


def finish(
    rows: Sequence[Row],
    jobs: dict[str, Job],
    missing: set[str],
    journal: Journal,
    folder: Path,
    resumed: int,
    labels: Path | None,
) -> Report:
    """Write the lists, and count.

    Raises:
        RunError: no clip could be read.
        OSError: a list cannot be written.
    """
    copies: list[Row] = []
    unreadable: list[tuple[Row, str]] = []
    done: dict[str, Entry] = {}
    for row in rows:
        job = jobs[row.path]
        entry = journal.entries.get(job.key, Entry(key=job.key))
        copy = copied(row, job, entry, folder)
        if row.path in missing:
            unreadable.append((row, "no such file or folder"))
        elif entry.reason:
            unreadable.append((row, entry.reason))
        elif copy.end is not None and copy.end <= (copy.start or 0):
            unreadable.append((row, f"no frames before {row.end:g} s"))
        else:
            copies.append(copy)
            done[job.key] = entry
    if not copies:
        raise RunError(f"none of the clips could be read; the first: {unreadable[0][0].path}: {unreadable[0][1]}")
    write_rows(folder / CLIPS, copies)
    _write_unreadable(folder / UNREADABLE, unreadable)
    return Report(
        clips=len(copies),
        files=len(done),
        resumed=resumed,
        before=sum(entry.before or 0 for entry in done.values()),
        after=sum(entry.bytes for entry in done.values()),
        list=folder / CLIPS,
        labels=labels,
        unreadable=unreadable,
    )


def copied(row: Row, job: Job, entry: Entry, folder: Path) -> Row:
    """The row of a clip's copy."""
    path = folder / job.target
    if job.pattern:
        path /= jpeg_name(job.pattern) if entry.renamed else job.pattern
    start, end = (None if second is None else max(0.0, second - entry.shift) for second in (row.start, row.end))
    return row._replace(path=str(path), start=start, end=end)


def labels_beside(listing: Listing, folder: Path) -> Path | None:
    """Write the class names in their order; None where no clip has a label."""
    names = listing.class_names or sorted({row.label for row in listing.rows if row.label is not None})
    if not names:
        return None
    write_labels(folder / LABELS, names)
    return folder / LABELS


def _write_unreadable(path: Path, unreadable: Sequence[tuple[Row, str]]) -> None:
    if not unreadable:
        path.unlink(missing_ok=True)  # of an earlier command
        return
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "reason", "list", "line"))
        writer.writerows((row.path, reason, row.file, row.line or "") for row, reason in unreadable)
