"""Measures what recognisers find in annotated recordings: python benchmarks/recordings.py ANNOTATIONS.csv --tune
split=val --report split=test --causal RUN --two-sided RUN

A causal network goes on from frame to frame (what `Recognizer.stream` gives), a two-sided one looks at overlapping
windows; both see every recording once. --windows RUN has a causal network look at windows too: beside --causal RUN that
tells what stepping does, beside --two-sided RUN what sight of the next frame does. When an event begins and ends
(`Rules`) is chosen for each network from a fixed grid by the mean of F1 at overlaps 0.1, 0.25 and 0.5 on the recordings
of --tune, and then measured on those of --report; no file may be in both. Neither should be among what the networks
were trained on: that, only you can see to. Delays count what a network must wait for, not what it takes to compute.
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
from rich.console import Console
from rich.progress import track

from teinet import Recognizer
from teinet.benchmark.machine import machine
from teinet.cli.truth import print_report
from teinet.data.annotations import Recording, read_annotations
from teinet.errors import TeinetError
from teinet.evaluation.segments import SegmentReport, detections, measure
from teinet.evaluation.session import digest
from teinet.inference import timeline
from teinet.inference.events import Rules
from teinet.inference.timeline import events_of
from teinet.models.checkpoint import weights_file
from teinet.models.insertion import is_causal

RESULTS = Path(__file__).parent / "results"
BEGIN = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
END = (0.5, 0.8)  # times begin
LEAST = (0.0, 0.1, 0.2, 0.5, 1.0)  # seconds


@dataclass(frozen=True, eq=False)
class Looked:
    """One recording seen by one network: times, scores, begins and lag as in `Timeline`."""

    recording: Recording
    times: np.ndarray
    scores: np.ndarray
    begins: np.ndarray
    lag: float


def look(
    recognizer: Recognizer, recordings: Sequence[Recording], every: float | None, **options: int | bool | None
) -> tuple[list[Looked], float]:
    """The scores of each recording, and how many seconds of video a second of work takes through."""
    began, found = time.perf_counter(), []
    for recording in track(recordings, description="looking", console=Console(stderr=True), transient=True):
        seen = timeline(recognizer, recording.path, spacing=every, **options)
        found.append(Looked(recording, seen.times, seen.scores, seen.begins, seen.lag))
    return found, sum(r.seconds for r in recordings) / max(time.perf_counter() - began, 1e-9)


def measured(looked: Sequence[Looked], class_names: Sequence[str], rules: Rules, *, step: float) -> SegmentReport:
    """The measures of some recordings under some rules."""
    found = []
    for each in looked:
        events = events_of(each.times, each.scores, each.begins, class_names, rules)
        found.append(detections(events, each.times, least=rules.least, lag=each.lag))
    return measure([each.recording for each in looked], found, step=step)


def quality(report: SegmentReport) -> float:
    """What rules are chosen by: the mean of F1 over the overlaps; 0 where nothing is there and nothing found."""
    return mean(value or 0.0 for value in report.overall.f1.values())


def choose(
    looked: Sequence[Looked], class_names: Sequence[str], nothing: tuple[str, ...], *, step: float
) -> tuple[Rules, float]:
    """The best rules of the grid on these recordings, the first of those that are alike, and how good they are."""
    grid = (
        Rules(begin=begin, end=round(share * begin, 3), least=least, nothing=nothing)
        for begin, share, least in product(BEGIN, END, LEAST)
    )
    rated = [(rules, quality(measured(looked, class_names, rules, step=step))) for rules in grid]
    return max(rated, key=lambda pair: pair[1])


def run(weights: str, args: argparse.Namespace, *, causal: bool, windows: bool) -> dict:
    """All about one network, looking at windows or going on from frame to frame."""
    recognizer = Recognizer.load(weights)
    nothing = recognizer.nothing if args.nothing is None else tuple(args.nothing)
    if is_causal(recognizer.model) is not causal:
        raise SystemExit(
            f"{weights} is {'two-sided' if causal else 'causal'}, not {'causal' if causal else 'two-sided'}"
        )
    Rules(nothing=nothing).check(recognizer.class_names)
    names = recognizer.class_names
    tuning, reported = (
        read_annotations(args.annotations, class_names=names, nothing=nothing, selection=selection, root=args.root)
        for selection in (args.tune, args.report)
    )
    if both := {r.path for r in tuning} & {r.path for r in reported}:
        raise SystemExit(f"{len(both)} recordings are in --tune and in --report, such as {min(both)}")
    every = args.every or recognizer.spacing
    how = {"hop": args.hop, "windows": True} if windows else {"span": args.span}
    seen, _ = look(recognizer, tuning, args.every, **how)
    rules, tuned = choose(seen, names, nothing, step=args.step)
    seen, speed = look(recognizer, reported, args.every, **how)
    report = measured(seen, names, rules, step=args.step)
    kind = f"{'causal' if causal else 'two-sided'}, {'windows' if windows else 'stepping'}"
    Console().print(f"{weights} ({kind})", style="bold", markup=False)
    Console().print(f"rules: {', '.join(f'{k} {v}' for k, v in asdict(rules).items() if v != ())}", markup=False)
    print_report(report, Console())
    file = weights_file(weights).resolve()
    return {
        "run": file.parent.name,
        "weights": file.name,
        "sha256": digest(file)[:16],
        "causal": causal,
        "windows": windows,
        "num_frames": recognizer.num_frames,
        "spacing": every,
        "lag": round(seen[0].lag, 4),
        **(
            {"hop": args.hop or max(1, recognizer.num_frames // 2)}
            if windows
            else {"span": args.span or recognizer.num_frames}
        ),
        "rules": asdict(rules),
        "tuning": {"recordings": len(tuning), "mean_f1": round(tuned, 4)},
        "times_real_time": round(speed, 2),
        "report": report.to_dict(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path, help="csv with path, start, end, label and a column to select by")
    parser.add_argument("--tune", required=True, metavar="COLUMN=VALUES", help="recordings that rules are chosen on")
    parser.add_argument("--report", required=True, metavar="COLUMN=VALUES", help="recordings that are reported")
    parser.add_argument("--causal", action="append", default=[], metavar="WEIGHTS", help="a run or a weights file")
    parser.add_argument("--two-sided", action="append", default=[], metavar="WEIGHTS", help="likewise")
    parser.add_argument(
        "--windows", action="append", default=[], metavar="WEIGHTS", help="causal, by windows as if two-sided"
    )
    parser.add_argument("--nothing", action="append", default=None, metavar="LABEL", help="means that nothing happens")
    parser.add_argument("--every", type=float, default=None, help="seconds between frames (default: as in training)")
    parser.add_argument("--span", type=int, default=None, help="--causal: frames a score averages over (default: T)")
    parser.add_argument("--hop", type=int, default=None, help="windows: frames from one to the next (default: T/2)")
    parser.add_argument("--step", type=float, default=0.1, help="of the grid of the frame accuracy, seconds")
    parser.add_argument("--root", default=None, help="folder that the list's paths start from")
    parser.add_argument("--name", default=None, help="of the results (default: the annotations' folder)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    args = parser.parse_args()
    if not (args.causal or args.windows or args.two_sided):
        parser.error("name weights with --causal, --windows, --two-sided")
    if args.span is not None and not args.causal:
        parser.error("--span is for networks of --causal alone; windows have --hop")
    if args.hop is not None and not (args.windows or args.two_sided):
        parser.error("--hop is for networks of --windows and --two-sided; those of --causal have --span")
    try:
        networks = [run(weights, args, causal=True, windows=False) for weights in args.causal]
        networks += [run(weights, args, causal=True, windows=True) for weights in args.windows]
        networks += [run(weights, args, causal=False, windows=True) for weights in args.two_sided]
    except TeinetError as error:
        raise SystemExit(str(error)) from None
    said = {
        "annotations": args.annotations.name,
        "tune": args.tune,
        "report": args.report,
        "machine": machine(),
        "networks": networks,
    }
    name = args.name or args.annotations.absolute().parent.name
    target = args.output / f"recordings-{name}.json"
    target.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
