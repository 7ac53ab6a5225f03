"""Decodes every file of a list once, in several processes, and writes down how each is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from teinet.data.lists.annotations import end_beyond
from teinet.data.lists.presence import absent
from teinet.data.lists.rows import Row
from teinet.data.tools.findings import Finding, FindingsFile, checksum, read_findings, stamp, write_findings
from teinet.data.video.reader import count_frames
from teinet.data.video.scan import scan
from teinet.errors import ConfigError, Interrupted, VideoError
from teinet.utils import worker_pool as pool
from teinet.utils.progress import file_progress
from teinet.utils.signals import stop_on_signal

Examine = Callable[[Sequence[Row], pool.Beat], Finding]


@dataclass(frozen=True)
class Report:
    """All files of a list, in its order; `resumed` of them were known from an earlier check."""

    findings: list[Finding]
    clips: int
    resumed: int
    output: Path

    @property
    def bad(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.status != "ok"]

    def counts(self) -> dict[str, int]:
        """Files by status."""
        counted = Counter(finding.status for finding in self.findings)
        return {status: counted[status] for status in ("ok", "broken", "missing", "stuck")}

    def to_dict(self) -> dict[str, object]:
        """Counts, and what is not ok, for JSON."""
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
) -> Report:
    """Decode all frames of each file that `rows` name, and write a csv of all of them.

    Files that `output` knows already, from a check that was interrupted, are not read again, unless they or the list's
    seconds in them have changed, or they were stuck.

    Args:
        rows: of a list.
        output: the csv; see `Finding`.
        workers: number of processes; 0 works in this one, without a limit of time.
        timeout: seconds without a new frame after which a file is stuck.
        again: forget what `output` knows.
        console: where progress is shown.
        examine: what is done with the clips of one file; `examine` below.

    Raises:
        ConfigError: `output` is another kind of file or holds the check of other files; nothing is read then.
        Interrupted: Ctrl-C or SIGTERM; what was found is in `output`.
    """
    if workers < 0 or not timeout > 0:
        raise ConfigError(f"workers is {workers} and timeout {timeout:g}; expected 0 or more, and seconds above 0")
    files: dict[str, list[Row]] = {}
    for row in rows:
        files.setdefault(row.path, []).append(row._replace(columns={}))  # not needed
    before = read_findings(output)
    if before and not again and not before.keys() & files.keys():
        raise ConfigError(
            f"{output}: holds a check of other files ({next(iter(before))}, ...); name another one with --output, "
            "or write over it with --again"
        )
    missing = {rows[i].path for i in absent(rows)}
    found: dict[str, Finding] = {}
    for path, clips in files.items():
        if path in missing:
            found[path] = _start(clips, status="missing", reason="no such file or folder")
        elif not again and path in before and _holds(before[path], clips):
            found[path] = replace(before[path], list=clips[0].file, line=clips[0].line)
    resumed, todo = len(found) - len(missing), [clips for path, clips in files.items() if path not in found]
    table = FindingsFile(output, found.values())
    try:
        with (
            stop_on_signal() as stop,
            file_progress(console or Console(quiet=True), "checking", len(files), done=len(found)) as advance,
        ):
            bad = sum(finding.status != "ok" for finding in found.values())
            for done in pool.run(examine or examine_file, todo, workers=workers, timeout=timeout, stop=stop):
                finding = _lost(done.task, done.value) if isinstance(done.value, pool.Lost) else done.value
                found[finding.path] = finding
                table.add(finding)
                bad += finding.status != "ok"
                advance(f"{bad} bad" if bad else "")
    finally:
        table.close()
    if len(found) < len(files):
        raise Interrupted(
            f"stopped after {len(found)} of {len(files)} files, which are in {output}; the same command goes on"
        )
    ordered = [found[path] for path in files]
    write_findings(output, ordered)
    return Report(ordered, len(rows), resumed, output)


def examine_file(clips: Sequence[Row], beat: pool.Beat) -> Finding:
    """Read one file from its first frame to its last, and look for each of the clips in it."""
    path, finding = clips[0].path, _start(clips)
    try:
        size, modified = stamp(path)  # before it is read: what changes meanwhile is read again the next time
        finding = replace(finding, bytes=size, modified=modified)
        info = scan(path, beat)
    except VideoError as error:
        return replace(finding, status="broken", reason=error.reason)
    except Exception as error:  # a mistake of ours; training would stop at this file just so
        return replace(finding, status="broken", reason=" ".join(f"{type(error).__name__}: {error}".split()))
    finding = replace(
        finding,
        frames=info.num_frames,
        width=info.width,
        height=info.height,
        seconds=None if info.duration is None else round(info.duration, 6),
        codec=info.codec,
    )
    wrong: list[tuple[Row, str]] = []
    for row in clips:
        try:
            count_frames(path, start=row.start, end=row.end)
        except VideoError as error:
            wrong.append((row, error.reason))
            continue
        if reason := end_beyond(row, info):
            wrong.append((row, reason))
    if wrong:
        (row, reason), others = wrong[0], len(wrong) - 1
        more = f" (and {others} more of its {len(clips)} clips)" if others else ""
        return replace(finding, status="broken", reason=reason + more, list=row.file, line=row.line)
    return finding


def _start(clips: Sequence[Row], **facts: object) -> Finding:
    first = clips[0]
    return Finding(path=first.path, list=first.file, line=first.line, spans=checksum(clips), **facts)


def _lost(clips: Sequence[Row], lost: pool.Lost) -> Finding:
    # Without size and time, so that the next check reads it again: the disk or the memory may have been at fault.
    return _start(clips, status="stuck" if lost.kind == "stuck" else "broken", reason=lost.reason)


def _holds(finding: Finding, clips: Sequence[Row]) -> bool:
    """Whether what was found still holds: the same file, the same clips in it, and an answer about the whole file."""
    if finding.status != "ok" and (finding.status != "broken" or finding.frames is not None):
        return False
    try:
        return (finding.bytes, finding.modified) == stamp(clips[0].path) and finding.spans == checksum(clips)
    except OSError:
        return False
