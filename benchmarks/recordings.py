"""Measures what recognizers find in annotated recordings: python benchmarks/recordings.py ANNOTATIONS.csv --tune
split=val --report split=test --causal RUN --bidirectional RUN

A causal network takes one frame at a time (what `Recognizer.stream` gives), a bidirectional one looks at overlapping
windows; both see every recording once. --windows RUN has a causal network look at windows too: with --causal RUN that
tells what stepping does, with --bidirectional RUN what sight of the next frame does. When an event begins and ends
(`Rules`) is chosen for each network from a fixed grid by the mean of F1 at overlaps 0.1, 0.25 and 0.5 on the recordings
of --tune, and then measured on those of --report; no file may be in both. Neither should be among what the networks
were trained on: that, only you can see to. Delays count what a network must wait for, not what it takes to compute.

--across COLUMN, instead of --tune and --report, is for folds: each network is named with the value of the column whose
recordings it did not learn from (--causal 1=RUN --causal 2=RUN ...), looks at those alone, and takes the rules that are
best on the recordings of the other values, each seen by its own network. All recordings are reported together. A value
named again begins the next set of networks, such as another seed's.
Writes results/recordings-NAME.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from teinet import Recognizer
from teinet.cli.timeline_output import print_report
from teinet.data.lists.annotations import Recording, read_annotations
from teinet.detection import timeline
from teinet.detection.events import Rules
from teinet.detection.recording import events_of
from teinet.errors import TeinetError
from teinet.evaluation.segments import Detection, SegmentReport, detections, measure
from teinet.models.header import weights_file
from teinet.models.insertion import is_causal
from teinet.utils.files import digest
from teinet.utils.machine import machine

RESULTS = Path(__file__).parent / "results"
BEGIN = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
END = (0.5, 0.8)  # times begin
LEAST = (0.0, 0.1, 0.2, 0.5, 1.0)  # seconds


@dataclass(frozen=True, eq=False)
class Looked:
    """One recording seen by one network: intervals, scores and resets as in `Timeline`."""

    recording: Recording
    intervals: np.ndarray
    scores: np.ndarray
    resets: np.ndarray


def look(
    recognizer: Recognizer, recordings: Sequence[Recording], every: float | None, **options: int | bool | None
) -> tuple[list[Looked], float]:
    """The scores of each recording, and how many seconds of video a second of work takes through."""
    began, found = time.perf_counter(), []
    for recording in track(recordings, description="looking", console=Console(stderr=True), transient=True):
        seen = timeline(recognizer, recording.path, frame_interval=every, **options)
        found.append(Looked(recording, seen.intervals, seen.scores, seen.resets))
    return found, sum(r.seconds for r in recordings) / max(time.perf_counter() - began, 1e-9)


def found_in(looked: Sequence[Looked], class_names: Sequence[str], rules: Rules) -> list[list[Detection]]:
    """What is detected in each recording under some rules."""
    found = []
    for each in looked:
        events = events_of(each.intervals, each.scores, each.resets, class_names, rules)
        found.append(detections(events, each.intervals, min_duration=rules.min_duration))
    return found


def measured(looked: Sequence[Looked], class_names: Sequence[str], rules: Rules, *, step: float) -> SegmentReport:
    """The measures of some recordings under some rules."""
    return measure([each.recording for each in looked], found_in(looked, class_names, rules), step=step)


def quality(report: SegmentReport) -> float:
    """What rules are chosen by: the mean of F1 over the overlaps; 0 where nothing is there and nothing found."""
    return mean(value or 0.0 for value in report.overall.f1.values())


def rate(
    looked: Sequence[Looked], class_names: Sequence[str], background: tuple[str, ...], *, step: float
) -> dict[Rules, float]:
    """How good each rule of the grid is on these recordings."""
    grid = (
        Rules(threshold=begin, off_threshold=round(share * begin, 3), min_duration=least, background=background)
        for begin, share, least in product(BEGIN, END, LEAST)
    )
    return {rules: quality(measured(looked, class_names, rules, step=step)) for rules in grid}


def best_of(rated: Sequence[dict[Rules, float]]) -> tuple[Rules, float]:
    """The rules with the highest mean over several ratings, the first of those that are alike, and that mean."""
    means = {rules: mean(each[rules] for each in rated) for rules in rated[0]}
    return max(means.items(), key=lambda pair: pair[1])


class Network:
    """One network of the command line, and how it looks."""

    def __init__(self, weights: str, kind: str, args: argparse.Namespace):
        self.weights, self.kind, self.args = weights, kind, args
        self.recognizer = recognizer = Recognizer.load(weights)
        if is_causal(recognizer.model) is (kind == "bidirectional"):
            is_one, wanted = ("bidirectional", "causal") if kind != "bidirectional" else ("causal", "bidirectional")
            raise SystemExit(f"{weights} is {is_one}, not {wanted}")
        self.background = recognizer.background if args.background is None else tuple(args.background)
        Rules(background=self.background).check(recognizer.class_names)
        self.windows = kind != "causal"

    def recordings(self, selection: str) -> list[Recording]:
        """Those of the list that a selection names."""
        names, args = self.recognizer.class_names, self.args
        return read_annotations(
            args.annotations, class_names=names, background=self.background, selection=selection, root=args.root
        )

    def look(self, recordings: Sequence[Recording]) -> tuple[list[Looked], float]:
        """See `look`."""
        how = {"stride": self.args.stride, "windows": True} if self.windows else {"smoothing": self.args.smoothing}
        return look(self.recognizer, recordings, self.args.frame_interval, **how)

    def to_dict(self) -> dict:
        """What it is."""
        file, frames = weights_file(self.weights).resolve(), self.recognizer.num_frames
        stride, smoothing = self.args.stride or max(1, frames // 2), self.args.smoothing or frames
        return {
            "run": file.parent.name,
            "weights": file.name,
            "sha256": digest(file)[:16],
            "causal": self.kind != "bidirectional",
            "windows": self.windows,
            "num_frames": frames,
            "frame_interval": self.args.frame_interval or self.recognizer.frame_interval,
            **({"stride": stride} if self.windows else {"smoothing": smoothing}),
        }


def say(title: str, rules: Sequence[Rules], report: SegmentReport) -> None:
    """Prints what was found."""
    Console().print(title, style="bold", markup=False)
    for each in rules:
        Console().print(f"rules: {', '.join(f'{k} {v}' for k, v in asdict(each).items() if v != ())}", markup=False)
    print_report(report, Console())


def of_one(weights: str, kind: str, args: argparse.Namespace) -> dict:
    """All about one network: its rules of --tune, measured on --report."""
    network = Network(weights, kind, args)
    tuning, reported = network.recordings(args.tune), network.recordings(args.report)
    if both := {r.path for r in tuning} & {r.path for r in reported}:
        raise SystemExit(f"{len(both)} recordings are in --tune and in --report, such as {min(both)}")
    names = network.recognizer.class_names
    seen, _ = network.look(tuning)
    rules, tuned = best_of([rate(seen, names, network.background, step=args.step)])
    seen, speed = network.look(reported)
    report = measured(seen, names, rules, step=args.step)
    say(f"{weights} ({kind})", [rules], report)
    return {
        **network.to_dict(),
        "rules": asdict(rules),
        "tuning": {"recordings": len(tuning), "mean_f1": round(tuned, 4)},
        "times_real_time": round(speed, 2),
        "report": report.to_dict(),
    }


def of_folds(weights: dict[str, str], kind: str, args: argparse.Namespace) -> dict:
    """All about the networks of folds: the rules of each are chosen by the others; reported together."""
    networks = {value: Network(file, kind, args) for value, file in weights.items()}
    seen = {value: network.look(network.recordings(f"{args.across}={value}"))[0] for value, network in networks.items()}
    names = {value: network.recognizer.class_names for value, network in networks.items()}
    rated = {value: rate(seen[value], names[value], n.background, step=args.step) for value, n in networks.items()}
    rules, recordings, found = {}, [], []
    for value in networks:
        rules[value], _ = best_of([each for other, each in rated.items() if other != value])
        recordings += [each.recording for each in seen[value]]
        found += found_in(seen[value], names[value], rules[value])
    if twice := len(recordings) - len({r.path for r in recordings}):
        raise SystemExit(f"{twice} recordings are of several values of {args.across!r}")
    report = measure(recordings, found, step=args.step)
    say(f"{len(networks)} networks by {args.across} ({kind})", list(rules.values()), report)
    return {
        "networks": {value: network.to_dict() for value, network in networks.items()},
        "causal": kind != "bidirectional",
        "windows": kind != "causal",
        "rules": {value: asdict(each) for value, each in rules.items()},
        "report": report.to_dict(),
    }


def sets_of(named: Sequence[str]) -> list[dict[str, str]]:
    """`VALUE=RUN`s as sets that name each value once."""
    sets: list[dict[str, str]] = []
    for word in named:
        value, mark, file = word.partition("=")
        if not (value and mark and file):
            raise SystemExit(f"{word!r}: with --across a network is named VALUE=RUN")
        free = next((one for one in sets if value not in one), None)
        if free is None:
            sets.append({value: file})
        else:
            free[value] = file
    if sets and len(sets[0]) < 2:
        raise SystemExit("--across chooses the rules of one value by the others: name a second VALUE=RUN")
    for one in sets:
        if missing := sets[0].keys() - one.keys():
            raise SystemExit(f"--across: the second network of {', '.join(one)} has none for {', '.join(missing)}")
    return sets


def say_means(networks: Sequence[dict]) -> None:
    """Prints the mean of each kind of network."""
    table = Table(box=SIMPLE_HEAD, title="means, in %, delays in s", pad_edge=False)
    for head in ("kind", "of", "F1@10", "F1@25", "F1@50", "detected", "delay", "false/h", "accuracy"):
        table.add_column(head, justify="left" if head == "kind" else "right")
    for causal, windows in sorted({(n["causal"], n["windows"]) for n in networks}, reverse=True):
        alike = [n["report"]["overall"] for n in networks if (n["causal"], n["windows"]) == (causal, windows)]
        rows = [
            (*o["f1"].values(), o["detected"], o["delay_mean"], o["false_alarms_per_hour"], o["accuracy"])
            for o in alike
        ]
        known = [[value for value in column if value is not None] for column in zip(*rows)]
        scale = (100, 100, 100, 100, 1, 1, 100)
        cells = [f"{k * mean(column):.1f}" if column else "-" for k, column in zip(scale, known)]
        kind = f"{'causal' if causal else 'bidirectional'}, {'windows' if windows else 'stepping'}"
        table.add_row(kind, str(len(alike)), *cells)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path, help="csv with path, start, end, label and a column to select by")
    parser.add_argument("--tune", metavar="COLUMN=VALUES", help="recordings that rules are chosen on")
    parser.add_argument("--report", metavar="COLUMN=VALUES", help="recordings that are reported")
    parser.add_argument("--across", metavar="COLUMN", help="of folds, instead of --tune and --report")
    parser.add_argument("--causal", action="append", default=[], metavar="WEIGHTS", help="a run or a weights file")
    parser.add_argument("--bidirectional", action="append", default=[], metavar="WEIGHTS", help="likewise")
    parser.add_argument(
        "--windows", action="append", default=[], metavar="WEIGHTS", help="causal, by windows as if bidirectional"
    )
    parser.add_argument("--background", action="append", default=None, metavar="LABEL", help="a background class")
    parser.add_argument("--frame-interval", type=float, default=None, help="seconds (default: as in training)")
    parser.add_argument(
        "--smoothing", type=int, default=None, help="--causal: frames a score averages over (default: T)"
    )
    parser.add_argument("--stride", type=int, default=None, help="windows: frames from one to the next (default: T/2)")
    parser.add_argument("--step", type=float, default=0.1, help="of the grid of the frame accuracy, seconds")
    parser.add_argument("--root", default=None, help="folder that the list's paths start from")
    parser.add_argument("--name", default=None, help="of the results (default: the annotations' folder)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    args = parser.parse_args()
    if not (args.causal or args.windows or args.bidirectional):
        parser.error("name weights with --causal, --windows, --bidirectional")
    if args.smoothing is not None and not args.causal:
        parser.error("--smoothing is for networks of --causal alone; windows have --stride")
    if args.stride is not None and not (args.windows or args.bidirectional):
        parser.error("--stride is for networks of --windows and --bidirectional; those of --causal have --smoothing")
    if bool(args.across) is bool(args.tune or args.report) or bool(args.tune) is not bool(args.report):
        parser.error("say --tune and --report, or --across alone")
    kinds = {"causal": args.causal, "causal, windows": args.windows, "bidirectional": args.bidirectional}
    try:
        if args.across:
            networks = [of_folds(one, kind, args) for kind, named in kinds.items() for one in sets_of(named)]
        else:
            networks = [of_one(weights, kind, args) for kind, named in kinds.items() for weights in named]
    except TeinetError as error:
        raise SystemExit(str(error)) from None
    say_means(networks)
    said = {
        "annotations": args.annotations.name,
        **({"across": args.across} if args.across else {"tune": args.tune, "report": args.report}),
        "machine": machine(),
        "networks": networks,
    }
    name = args.name or args.annotations.absolute().parent.name
    target = args.output / f"recordings-{name}.json"
    target.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
