"""A check of a list: decodes each of its files once, in several processes, and writes the findings to a csv."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from rich.console import Console

from teinet.data.lists.annotations import end_beyond
from teinet.data.lists.data_config import MAX_DAMAGED
from teinet.data.lists.rows import Row, absent
from teinet.data.shards import status_of
from teinet.data.video import image_folder
from teinet.data.video.reader import VideoReader, file_of_list
from teinet.errors import ConfigError, Interrupted, VideoError
from teinet.utils import worker_pool as pool
from teinet.utils.files import changed_ns, other_spelling, write_csv
from teinet.utils.journal import Journal
from teinet.utils.progress import file_progress
from teinet.utils.signals import StopSignal
from teinet.utils.text import other_names


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of the check of one file.

    Args:
        path: as in the list.
        frames, width, height, seconds, codec: empty if it cannot be read; a folder of images has no seconds.
        status: "damaged" if frames are lost or damaged, but not too many; "stuck" if it gave no frame in time.
        reason: why it is not ok, in one line.
        list, line: its first line in the list, or the line with invalid times.
        bytes, modified: size and time of last change (ns) when it was read; of images the sum and the latest.
        spans: a checksum of the times of its clips in the list.
        order: what orders the images of a folder.
        others: number and examples of the other names in it, which are not taken.
    """

    path: str
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    codec: str = ""
    status: Literal["ok", "damaged", "broken", "missing", "stuck"] = "ok"
    reason: str = ""
    list: str = ""
    line: int | None = None
    bytes: int | None = None
    modified: int | None = None
    spans: str = ""
    order: str = ""
    others: str = ""


T = TypeVar("T")
Examine = Callable[[Sequence[Row], pool.Beat], Finding]
COLUMNS = tuple(field.name for field in fields(Finding))
MISSING = "no such file or folder"


@dataclass(frozen=True)
class Checked:
    """Findings of all files of a list, in order; `resumed` were from an earlier check, of which `dropped` are not."""

    findings: list[Finding]
    clips: int
    resumed: int
    dropped: int
    output: Path

    @property
    def bad(self) -> list[Finding]:
        """The findings of files that cannot be used."""
        return [finding for finding in self.findings if finding.status not in ("ok", "damaged")]

    @property
    def damaged(self) -> list[Finding]:
        """The findings of files that lack some frames, and can be used."""
        return [finding for finding in self.findings if finding.status == "damaged"]

    def orders(self) -> dict[str, int]:
        """Return the number of folders of images by what orders them."""
        return dict(Counter(finding.order for finding in self.findings if finding.order))

    def counts(self) -> dict[str, int]:
        """Return the number of files by status; damaged ones only where there are any."""
        counted = Counter(finding.status for finding in self.findings)
        statuses = ("ok", *(["damaged"] if counted["damaged"] else []), "broken", "missing", "stuck")
        return {status: counted[status] for status in statuses}

    def to_dict(self) -> dict[str, object]:
        """Return counts, and the files that are not ok, as JSON values."""
        columns = ("path", "status", "reason", "list", "line")
        bad, lacking = ([{key: getattr(f, key) for key in columns} for f in some] for some in (self.bad, self.damaged))
        return {
            "clips": self.clips,
            "files": len(self.findings),
            "damaged": 0,
            **self.counts(),
            "frames": sum(finding.frames or 0 for finding in self.findings),
            "image_orders": self.orders(),
            "output": str(self.output),
            "bad": bad,
            "damaged_files": lacking,
        }


def check(
    rows: Sequence[Row],
    output: Path,
    *,
    workers: int,
    timeout: float = 60.0,
    max_damaged: float = MAX_DAMAGED,
    overwrite: bool = False,
    console: Console | None = None,
    examine: Examine | None = None,
) -> Checked:
    """Decode all frames of each file in `rows`, and write a csv of the findings.

    A journal next to `output` records finished files. They are not read again, unless they or their clips' times in
    the list have changed, or they were stuck.

    Args:
        output: the csv; see `Finding`.
        workers: number of processes; 0 works in this one, without a timeout.
        timeout: seconds without a new frame after which a file is stuck.
        max_damaged: largest share of a file's frames that may be lost or damaged.
        overwrite: ignore earlier checks.
        examine: used in place of `examine_file`.

    Raises:
        ConfigError: `output` is another kind of file, or the check of other files; nothing is read then.
        Interrupted: Ctrl-C or SIGTERM; the findings so far are in `output`.
    """
    files: dict[str, list[Row]] = {}
    for row in rows:
        files.setdefault(row.path, []).append(row._replace(columns={}))  # unused here
    journal = Journal(output.with_name(f"{output.name}.journal"), "data check")
    before = _previous(journal, output, files, overwrite)
    missing = {rows[i].path for i in absent(rows)}
    found: dict[str, Finding] = {}
    for path, clips in files.items():
        if path in missing:
            hint = other_spelling(path)
            found[path] = _start(clips, status="missing", reason=f"{MISSING}; {hint}" if hint else MISSING)
        elif path in before and _is_valid(before[path], clips):
            found[path] = replace(before[path], list=clips[0].file, line=clips[0].line)
    resumed, todo = len(found) - len(missing), [clips for path, clips in files.items() if path not in found]
    journal.start(map(vars, found.values()))
    try:
        bars = file_progress(console or Console(quiet=True), "checking", len(files), done=len(found))
        with StopSignal() as stop, bars as advance:
            bad = sum(finding.status not in ("ok", "damaged") for finding in found.values())
            work = examine or partial(examine_file, max_damaged=max_damaged)
            for done in pool.run(work, todo, workers=workers, timeout=timeout, stop=stop):
                finding = done.value
                if isinstance(finding, pool.TaskFailure):  # without size and time, so the next check reads it
                    status = "stuck" if finding.kind == "stuck" else "broken"
                    finding = _start(done.task, status=status, reason=finding.reason)
                found[finding.path] = finding
                journal.add(vars(finding))
                bad += finding.status not in ("ok", "damaged")
                advance(f"{bad} bad" if bad else "")
    finally:
        journal.close()
    ordered = [found[path] for path in files if path in found]
    write_csv(output, COLUMNS, (vars(finding).values() for finding in ordered))
    if len(found) < len(files):
        done = f"stopped after {len(found)} of {len(files)} files ({output})"
        raise Interrupted(f"{done}; run the same command to continue")
    return Checked(ordered, len(rows), resumed, len(before.keys() - files.keys()), output)


def examine_file(clips: Sequence[Row], beat: pool.Beat, *, max_damaged: float = MAX_DAMAGED) -> Finding:
    """Decode a file from its first to its last frame, and check the times of each of its clips."""
    path, finding = clips[0].path, _start(clips)
    try:
        size, modified = stamp(path)  # before reading: a file that changes meanwhile is read again the next time
        finding = replace(finding, bytes=size, modified=modified)
        video = VideoReader(file_of_list(path), threads=1, max_damaged=1.0)
        video.verify(beat)
        (width, height), seconds = video.size, video.duration
    except VideoError as error:
        return replace(finding, status="broken", reason=error.reason)
    except OSError as error:  # a link among images without a target
        return replace(finding, status="broken", reason=f"{error.filename}: {error.strerror}")
    except Exception as error:  # a bug of ours, which would stop a training run at this file too
        return replace(finding, status="broken", reason=" ".join(f"{type(error).__name__}: {error}".split()))
    finding = replace(
        finding,
        frames=len(video),
        width=width,
        height=height,
        seconds=None if seconds is None else round(seconds, 6),
        codec=video.codec,
        status="damaged" if video.damage else "ok",
        reason=video.damage,
    )
    try:
        len(VideoReader(file_of_list(path), max_damaged=max_damaged))  # by the index that is known now
    except VideoError as error:  # with its frames, so that it is read again, maybe with another share
        return replace(finding, status="broken", reason=error.reason)
    if video.is_image_folder:
        _, order, others = image_folder.image_order(path)
        finding = replace(finding, order=order, others=other_names(others).strip(" ()"))
    wrong: list[tuple[Row, str]] = []
    for row in clips:
        try:
            video.frames_shown(row.start, row.end)
        except VideoError as error:
            wrong.append((row, error.reason))
            continue
        if reason := end_beyond(row, video):
            wrong.append((row, reason))
    if wrong:
        (row, reason), others = wrong[0], len(wrong) - 1
        more = f" (and {others} more of its {len(clips)} clips)" if others else ""
        return replace(finding, status="broken", reason=reason + more, list=row.file, line=row.line)
    return finding


def stamp(path: str) -> tuple[int, int]:
    """Return size and time of last change in ns, of a video or of all its images; OSError if it is missing."""
    if not image_folder.is_folder(path):
        _, size, modified, changed = status_of(path)
        return size, changed or modified
    folder = path if os.path.isdir(path) else image_folder.split(path)[0]
    latest, size = changed_ns(os.stat(folder)), 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except FileNotFoundError:  # a link to nothing; if it is an image, reading says so
                status = entry.stat(follow_symlinks=False)
            size, latest = size + status.st_size, max(latest, changed_ns(status))
    return size, latest


def records(journal: Journal, kind: type[T]) -> list[T]:
    """Return the records of an earlier command as instances of `kind`; ConfigError as in `Journal.read`."""
    try:
        return [kind(**record) for record in journal.read()]
    except TypeError:  # other fields
        reason = "was written by another version of teinet; choose another output"
        raise ConfigError(f"{journal.path}: {reason}") from None


def _previous(journal: Journal, output: Path, files: Iterable[str], overwrite: bool) -> dict[str, Finding]:
    """Return the findings of an earlier check of these files, by path."""
    if overwrite:
        return {}
    if output.exists() and not journal.path.exists():
        advice = "choose another file with --output, or replace it with --overwrite"
        raise ConfigError(f"{output} was not written by `teinet data check`; {advice}")
    before = {finding.path: finding for finding in records(journal, Finding)}
    if before and not before.keys() & set(files):
        raise ConfigError(
            f"{output} holds the check of other files ({next(iter(before))}, ...); choose another file with --output, "
            "or replace it with --overwrite"
        )
    return before


def _start(clips: Sequence[Row], **facts: Any) -> Finding:
    first = clips[0]
    return Finding(path=first.path, list=first.file, line=first.line, spans=_checksum(clips), **facts)


def _is_valid(finding: Finding, clips: Sequence[Row]) -> bool:
    """Return true if a finding is still valid: the same file and clips, and decoded completely."""
    if finding.status != "ok" and (finding.status != "broken" or finding.frames is not None):
        return False
    try:
        return (finding.bytes, finding.modified) == stamp(clips[0].path) and finding.spans == _checksum(clips)
    except OSError:
        return False


def _checksum(rows: Sequence[Row]) -> str:
    """Return a checksum of the times of a file's clips; empty if they are the whole file."""
    spans = sorted({(row.start or 0.0, row.end or 0.0) for row in rows if (row.start, row.end) != (None, None)})
    return f"{zlib.crc32(repr(spans).encode()):08x}" if spans else ""
