"""`--truth` of `teinet timeline`: what was found, held against what a list says happens."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from teinet.errors import ConfigError, VideoError
from teinet.utils.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from teinet.data.lists.annotations import Recording
    from teinet.data.lists.rows import Row
    from teinet.detection.events import Rules
    from teinet.detection.recording import Timeline
    from teinet.evaluation.segments import Detection, Measures, SegmentReport
    from teinet.recognition import Recognizer

_SHOWN = 3
_WIDE = 120  # columns; a narrower terminal wraps the lines itself


def add_truth(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument(
        "--truth",
        default=None,
        metavar="ANNOTATIONS.csv",
        help="what truly happens (path, start, end, label): measures how well it was found, by label and overall",
    )


class Truth:
    """Gathers the timelines of annotated videos and measures them at the end.

    Args:
        path: the list.
        videos: the files that are looked through.
        recognizer, rules: by which they are.

    Raises:
        AnnotationError: the list, before any video is looked through; see `read_annotations`.
        ConfigError: it annotates none of the videos.
    """

    def __init__(self, path: str, videos: Sequence[Path], recognizer: Recognizer, rules: Rules):
        from teinet.data.lists.annotations import annotated_rows, read_recording, recording_until

        self._rules = rules
        rows = {
            os.path.realpath(file): own
            for file, own in annotated_rows(
                path, class_names=recognizer.class_names, nothing=rules.nothing or ()
            ).items()
        }
        names = [os.path.realpath(video) for video in videos]
        self.without = [str(video) for video, name in zip(videos, names, strict=True) if name not in rows]
        self.unused = [own[0].path for file, own in rows.items() if file not in set(names)]
        if len(self.without) == len(videos):
            where = f"{path} annotates other files, such as {self.unused[0]}"
            raise ConfigError(f"none of the videos is annotated: {where}; its paths start from the list's folder")
        self._recordings: dict[int, Recording] = {}
        self._cut: dict[int, tuple[str, list[Row]]] = {}  # what can be read of these, only looking through them tells
        twice = []
        for number, name in enumerate(names):
            if name in names[:number]:
                twice.append(str(videos[number]))
            elif name in rows:
                try:
                    self._recordings[number] = read_recording(name, rows[name], nothing=rules.nothing or ())
                except VideoError:
                    recording_until(name, rows[name], math.inf)  # finds wrong rows now
                    self._cut[number] = name, rows[name]
        self._found: dict[int, list[Detection]] = {}
        self._say("named twice, and measured once", twice, "videos")
        self._say("without annotations, so not measured", self.without, "videos")
        self._say("not among the videos", self.unused, "annotated files")

    @staticmethod
    def _say(what: str, names: Sequence[str], kind: str) -> None:
        if names:
            shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            print(printable(f"{len(names)} {kind} {what}: {shown}"), file=sys.stderr)

    def take(self, number: int, timeline: Timeline) -> None:
        """Take the timeline of video `number`."""
        from teinet.data.lists.annotations import recording_until
        from teinet.evaluation.segments import detections

        if number in self._cut:
            name, rows = self._cut[number]
            self._recordings[number] = recording_until(name, rows, timeline.end, nothing=self._rules.nothing or ())
        if number in self._recordings:
            self._found[number] = detections(timeline.events, timeline.reaches, least=self._rules.least)

    def report(self) -> SegmentReport:
        """The measures of all videos taken so far."""
        from teinet.evaluation.segments import measure

        numbers = sorted(self._found)
        return measure([self._recordings[n] for n in numbers], [self._found[n] for n in numbers])

    def beside(self, timelines: list[dict[str, Any]]) -> dict[str, Any]:
        """The JSON of timelines and measures together."""
        return {
            "recordings": timelines,
            "measures": self.report().to_dict(),
            "without_annotations": [printable(name) for name in self.without],
            "annotated_only": [printable(name) for name in self.unused],
        }

    def write(self, form: str, file: IO[str]) -> None:
        """Write the measures as a table: behind timelines in words, and to standard error beside other forms."""
        from rich.console import Console

        report = self.report()
        console = Console(file=file if form == "table" else sys.stderr, highlight=False)
        print_report(report, console)


def print_report(report: SegmentReport, console: Console) -> None:
    """Print the measures as a table, as wide as it is."""
    console.width = max(console.width, _WIDE)
    console.print(table(report))
    if report.quiet is not None:
        quiet = f"{100 * report.quiet:.1f} % of {report.quiet_seconds:.0f} s"
        console.print(f"where nothing happens, nothing was found in {quiet}", style="dim", soft_wrap=True)


def table(report: SegmentReport) -> Table:
    """The measures as a table, a row for each label and one for all."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    overlaps = list(report.overall.f1)
    scope = f"{report.recordings} recordings, {report.overall.seconds / 60:.1f} min"
    made = Table(
        title=f"against the truth: {scope}; in %, delays in s",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    made.add_column("label", overflow="fold")
    heads = [*(f"F1@{100 * overlap:g}" for overlap in overlaps), "detected", "delay", "median", "false/h", "accuracy"]
    for head in ("segments", "events", *heads):
        made.add_column(head, justify="right")

    def cells(measures: Measures) -> list[str]:
        shares = [*measures.f1.values(), measures.detected]
        return [
            str(measures.segments),
            str(measures.events),
            *(_share(value) for value in shares),
            *("-" if d is None else f"{d:.2f}" for d in (measures.delay_mean, measures.delay_median)),
            f"{measures.false_alarms_per_hour:.1f}",
            _share(measures.accuracy),
        ]

    for name, measures in report.labels.items():
        made.add_row(Text(printable(name)), *cells(measures))
    made.add_section()
    made.add_row("all", *cells(report.overall), style="bold")
    return made


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
