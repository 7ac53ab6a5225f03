"""Decodes every file of a list once, in several processes, and writes down how each is."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from rich.console import Console

from teinet.data.lists.annotations import end_beyond
from teinet.data.lists.rows import Row, absent
from teinet.data.video import image_folder
from teinet.data.video.reader import VideoReader
from teinet.errors import ConfigError, Interrupted, VideoError
from teinet.utils import worker_pool as pool
from teinet.utils.files import write_csv
from teinet.utils.journal import Journal
from teinet.utils.progress import file_progress
from teinet.utils.signals import StopSignal


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How one file is.

    Args:
        path: as the list gives it.
        frames, width, height, seconds, codec: empty where it cannot be read; a folder of images has no seconds.
        status: stuck where it gave no frame for too long.
        reason: why it is not ok, in one line.
        list, line: where the list names it, for the first time or with the span that is wrong.
        bytes, modified: size and time of last change (ns) when it was looked at; of images the sum and the latest.
        spans: a checksum of the clips' seconds in it, as the list gave them.
    """

    path: str
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    codec: str = ""
    status: Literal["ok", "broken", "missing", "stuck"] = "ok"
    reason: str = ""
    list: str = ""
    line: int | None = None
    bytes: int | None = None
    modified: int | None = None
    spans: str = ""


T = TypeVar("T")
Examine = Callable[[Sequence[Row], pool.Beat], Finding]
COLUMNS = tuple(field.name for field in fields(Finding))
MISSING = "no such file or folder"


@dataclass(frozen=True)
class Checked:
    """All files of a list, in its order; `resumed` were known from an earlier check, which had `dropped` others."""

    findings: list[Finding]
    clips: int
    resumed: int
    dropped: int
    output: Path

    @property
    def bad(self) -> list[Finding]:
        """The files that are not ok."""
        return [finding for finding in self.findings if finding.status != "ok"]

    def counts(self) -> dict[str, int]:
        """Return the number of files by status."""
        counted = Counter(finding.status for finding in self.findings)
        return {status: counted[status] for status in ("ok", "broken", "missing", "stuck")}

    def to_dict(self) -> dict[str, object]:
        """Return counts, and what is not ok, as JSON values."""
        bad = [{key: getattr(f, key) for key in ("path", "status", "reason", "list", "line")} for f in self.bad]
        return {
            "clips": self.clips,
            "files": len(self.findings),
            **self.counts(),
            "frames": sum(finding.frames or 0 for finding in self.findings),
            "output": str(self.output),
            "bad": bad,
        }


def check(
    rows: Sequence[Row],
    output: Path,
    *,
    workers: int,
    timeout: float = 60.0,
    again: bool = False,
    console: Console | None = None,
    examine: Examine | None = None,
) -> Checked:
    """Decode all frames of each file that `rows` name, and write a csv of all of them.

    A journal next to `output` keeps each file that is done; it is not read again, unless it or the list's seconds in it
    have changed, or it was stuck.

    Args:
        output: the csv; see `Finding`.
        workers: number of processes; 0 works in this one, without a time limit.
        timeout: seconds without a new frame after which a file is stuck.
        again: forget what earlier checks found.
        examine: used in place of `examine_file`.

    Raises:
        ConfigError: `output` is another kind of file or holds the check of other files; nothing is read then.
        Interrupted: Ctrl-C or SIGTERM; what was found is in `output`.
    """
    files: dict[str, list[Row]] = {}
    for row in rows:
        files.setdefault(row.path, []).append(row._replace(columns={}))  # not needed
    journal = Journal(output.with_name(f"{output.name}.journal"), "data check")
    before = _earlier(journal, output, files, again)
    missing = {rows[i].path for i in absent(rows)}
    found: dict[str, Finding] = {}
    for path, clips in files.items():
        if path in missing:
            found[path] = _start(clips, status="missing", reason=MISSING)
        elif path in before and _holds(before[path], clips):
            found[path] = replace(before[path], list=clips[0].file, line=clips[0].line)
    resumed, todo = len(found) - len(missing), [clips for path, clips in files.items() if path not in found]
    journal.start(map(vars, found.values()))
    try:
        bars = file_progress(console or Console(quiet=True), "checking", len(files), done=len(found))
        with StopSignal() as stop, bars as advance:
            bad = sum(finding.status != "ok" for finding in found.values())
            for done in pool.run(examine or examine_file, todo, workers=workers, timeout=timeout, stop=stop):
                finding = done.value
                if isinstance(finding, pool.Lost):  # without size and time, so that the next check reads it again
                    status = "stuck" if finding.kind == "stuck" else "broken"
                    finding = _start(done.task, status=status, reason=finding.reason)
                found[finding.path] = finding
                journal.add(vars(finding))
                bad += finding.status != "ok"
                advance(f"{bad} bad" if bad else "")
    finally:
        journal.close()
    ordered = [found[path] for path in files if path in found]
    write_csv(output, COLUMNS, (vars(finding).values() for finding in ordered))
    if len(found) < len(files):
        raise Interrupted(f"stopped after {len(found)} of {len(files)} files ({output}); the same command continues")
    return Checked(ordered, len(rows), resumed, len(before.keys() - files.keys()), output)


def examine_file(clips: Sequence[Row], beat: pool.Beat) -> Finding:
    """Read one file from its first frame to its last, and look for each of the clips in it."""
    path, finding = clips[0].path, _start(clips)
    try:
        size, modified = stamp(path)  # before it is read: what changes meanwhile is read again the next time
        finding = replace(finding, bytes=size, modified=modified)
        video = VideoReader(path, threads=1)
        video.verify(beat)
        (width, height), seconds = video.size, video.duration
    except VideoError as error:
        return replace(finding, status="broken", reason=error.reason)
    except Exception as error:  # a mistake of ours; training would stop at this file just so
        return replace(finding, status="broken", reason=" ".join(f"{type(error).__name__}: {error}".split()))
    finding = replace(
        finding,
        frames=len(video),
        width=width,
        height=height,
        seconds=None if seconds is None else round(seconds, 6),
        codec=video.codec,
    )
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
    """Return size and time of last change in ns, of a video or of all its images; OSError where it is gone."""
    if not image_folder.is_folder(path):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    folder = path if os.path.isdir(path) else image_folder.split(path)[0]
    latest, size = os.stat(folder).st_mtime_ns, 0
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat()
            size, latest = size + status.st_size, max(latest, status.st_mtime_ns)
    return size, latest


def records(journal: Journal, kind: type[T]) -> list[T]:
    """Return what an earlier command recorded, each record as one of `kind`; ConfigError as of `Journal.read`."""
    try:
        return [kind(**record) for record in journal.read()]
    except TypeError:  # other fields
        raise ConfigError(f"{journal.path}: another version of teinet wrote it; name another output") from None


def _earlier(journal: Journal, output: Path, files: Iterable[str], again: bool) -> dict[str, Finding]:
    """What earlier checks of these files found, by path."""
    if output.exists() and not journal.path.exists():
        raise ConfigError(f"{output}: exists, and not from `teinet data check`; name another file with --output")
    if again:
        journal.read()
        return {}
    before = {finding.path: finding for finding in records(journal, Finding)}
    if before and not before.keys() & set(files):
        raise ConfigError(
            f"{output}: holds a check of other files ({next(iter(before))}, ...); name another one with --output, "
            "or replace it with --overwrite"
        )
    return before


def _start(clips: Sequence[Row], **facts: Any) -> Finding:
    first = clips[0]
    return Finding(path=first.path, list=first.file, line=first.line, spans=_checksum(clips), **facts)


def _holds(finding: Finding, clips: Sequence[Row]) -> bool:
    """Whether what was found still holds: the same file, the same clips in it, and an answer about the whole file."""
    if finding.status != "ok" and (finding.status != "broken" or finding.frames is not None):
        return False
    try:
        return (finding.bytes, finding.modified) == stamp(clips[0].path) and finding.spans == _checksum(clips)
    except OSError:
        return False


def _checksum(rows: Sequence[Row]) -> str:
    """A text that changes when the seconds of the clips in a file do; empty where they are whole files."""
    spans = sorted({(row.start or 0.0, row.end or 0.0) for row in rows if (row.start, row.end) != (None, None)})
    return f"{zlib.crc32(repr(spans).encode()):08x}" if spans else ""
