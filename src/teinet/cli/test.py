"""`teinet test`: top-1, top-5, mean class accuracy, classes, confusion matrix; of one network, or several together."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.options import add_list_options, add_optimize_option, data_config

if TYPE_CHECKING:
    from teinet.evaluation.scores import Scores
    from teinet.evaluation.session import Plan, Tested


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "networks",
        nargs="+",
        metavar="NETWORK",
        help="a run's folder (its last weights), a .safetensors file, or earlier scores; several are averaged",
    )
    parser.add_argument(
        "--weights", default=None, metavar="1,1", help="of several networks' scores (default: all alike)"
    )
    parser.add_argument("--data", default=None, help="clips to test on; by default those that the run names")
    add_list_options(parser)
    parser.add_argument(
        "--select",
        default=None,
        metavar="COLUMN=VALUE,...",
        help="test these rows of the list, whatever split they are in",
    )
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default=None, help="by default test, else val, else all"
    )
    parser.add_argument("--views", default="1x1", help="clips x crops: 1x1, 10x3, any other (default: 1x1)")
    parser.add_argument(
        "--backwards", action="store_true", help="play each clip backwards: how far does order matter to the network?"
    )
    parser.add_argument("--average", choices=("probabilities", "logits"), default="probabilities", help="over views")
    parser.add_argument(
        "--batch-size", type=int, default=8, help="views in one pass of the network: bounds the memory (default: 8)"
    )
    parser.add_argument(
        "--workers", type=int, default=None, help="decoding processes (default: one per core, at most 8)"
    )
    parser.add_argument(
        "--read-timeout",
        type=float,
        default=120,
        help="seconds after which a file that cannot be read to its end stops the test; 0: never (default: 120)",
    )
    parser.add_argument("--devices", type=int, default=1, help="how many devices; on a CPU, processes")
    parser.add_argument(
        "--accelerator", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="auto: a GPU if there is one"
    )
    parser.add_argument(
        "--precision", choices=("32-true", "bf16-mixed", "16-mixed"), default="32-true", help="default: 32-true"
    )
    add_optimize_option(parser)
    parser.add_argument("--again", action="store_true", help="run networks whose scores lie on disk already")
    parser.add_argument(
        "--submit", default=None, metavar="FILE", help="write predictions of unlabelled clips, by their ids"
    )
    parser.add_argument(
        "--output", default=None, help="folder for the results; by default test-VIEWS beside the weights"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Test and print; returns 0, or 1 when some clip could not be read."""
    from rich.console import Console

    from teinet.evaluation.ensemble import average
    from teinet.evaluation.evaluate import TestProgress
    from teinet.evaluation.session import test

    plan = _plan(args)
    weights = _weights(args)
    console = Console(stderr=args.json)
    several = len(args.networks) > 1
    tested: list[Tested] = []
    for network in args.networks:
        bar = TestProgress(Console(stderr=True), title=str(network) if several else "testing")
        result = test(
            network, plan, reuse=several and not args.again, output=None if several else args.output, callbacks=[bar]
        )
        if several and _speaks():
            how = "scores on disk" if result.from_disk else f"tested, {result.folder}"
            console.print(f"{network}: {how}", highlight=False, soft_wrap=True)
        tested.append(result)
    if not _speaks():
        return 0
    scores, folder = tested[0].scores, tested[0].folder
    if several:
        scores = average([t.scores for t in tested], weights, args.networks)
        folder = Path(args.output) if args.output else _beside(args.networks, tested)
        scores.save(folder)
    _notes(console, tested)
    _print(console, args, scores, tested, folder)
    if args.submit:
        _submit(console, args, scores, tested)
    return 1 if scores.num_unreadable else 0


def _plan(args: argparse.Namespace) -> Plan:
    from teinet.data.views import Views
    from teinet.errors import ConfigError
    from teinet.evaluation.hardware import Hardware
    from teinet.evaluation.session import Plan

    for name, value, low in (
        ("--batch-size", args.batch_size, 1),
        ("--devices", args.devices, 1),
        ("--workers", args.workers, 0),
        ("--read-timeout", args.read_timeout, 0),
        ("--division", args.division, 1),
    ):
        if value is not None and value < low:
            raise ConfigError(f"{name} is {value}; it must be at least {low}")
    if args.data is None and (idle := [n for n in ("val_path", "test_path", "labels") if getattr(args, n)]):
        raise ConfigError(f"--{idle[0].replace('_', '-')} belongs to a list; name it with --data")
    return Plan(
        data=data_config(args, args.data) if args.data else None,
        root=args.root,
        split=args.split,
        select=args.select,
        unlabelled=bool(args.submit),
        backwards=args.backwards,
        views=Views.parse(args.views),
        averaging=args.average,
        batch_size=args.batch_size,
        workers=args.workers,
        read_timeout=args.read_timeout,
        optimize=args.optimize,
        hardware=Hardware(accelerator=args.accelerator, devices=args.devices, precision=args.precision),
    )


def _weights(args: argparse.Namespace) -> list[float] | None:
    from teinet.errors import ConfigError

    if args.weights is None:
        return None
    if len(args.networks) == 1:
        raise ConfigError("--weights weighs several networks' scores; one was given")
    try:
        return [float(weight) for weight in args.weights.split(",")]
    except ValueError:
        raise ConfigError(f"--weights {args.weights!r}: write numbers with commas between them, such as 1,1") from None


def _speaks() -> bool:
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _beside(networks: list[str], tested: list[Tested]) -> Path:
    """Where an ensemble's results go: beside the first network's, named after the others."""
    first = tested[0].folder or Path(networks[0]).absolute()
    home = first.parent if first.is_file() else first
    others = "+".join(
        (t.folder.parent if t.folder else Path(n).absolute()).name for n, t in zip(networks[1:], tested[1:])
    )
    return home.parent / f"{home.name}-with-{others}"


def _notes(console, tested: list[Tested]) -> None:
    said = dict.fromkeys(note for t in tested if t.source for note in t.source.notes)
    for note in said:
        console.print(note, style="dim", highlight=False, soft_wrap=True)


def _print(console, args: argparse.Namespace, scores: Scores, tested: list[Tested], folder: Path | None) -> None:
    from teinet.evaluation.published import comparable, departures_note, notes, published_table
    from teinet.evaluation.session import measured
    from teinet.evaluation.summary import tables

    rows = [t.row for t in tested if t.row]
    members = rows if 1 < len(tested) == len(rows) else []
    unique = list({(p.table, p.row): p for t in tested for p in t.published}.values())
    beside = comparable(unique, views=str(scores.meta.get("views")), members=members)
    if (len(tested) > 1 and not members) or args.select or args.backwards or args.split == "train":
        beside = []  # nothing that a paper measured
    unlabelled = not (scores.labels >= 0).any()
    if args.json:
        print(
            json.dumps({**scores.metrics(), "published": [p.to_dict() for p in beside]}, indent=2, ensure_ascii=False)
        )
        return
    name = " + ".join(str(t.scores.meta.get("network", n)) for n, t in zip(args.networks, tested))
    for table in tables(scores, title=f"{name} on {scores.meta.get('split', 'its clips')}"):
        console.print(table)
    if unlabelled:  # what the makers' server measured with such an answer
        for p in beside:
            if p.test is not None:
                console.print(f"printed for the makers' test clips: table {p.table}, {p.row}, top-1 {p.test}")
        beside = []
    if (table := published_table(beside, measured(scores))) is not None:
        console.print(table)
        for t in tested:
            if departs := (t.scores.meta.get("recipe") or {}).get("departs"):
                console.print(departures_note(t.row, departs), style="dim", highlight=False, soft_wrap=True)
    for note in notes(beside):
        console.print(note, style="dim", highlight=False, soft_wrap=True)
    if folder is not None:
        console.print(f"clip by clip, per class and as a picture: {folder}", highlight=False, soft_wrap=True)


def _submit(console, args: argparse.Namespace, scores: Scores, tested: list[Tested]) -> None:
    from teinet.evaluation.submission import write_submission

    told = next((t.scores.meta["submission"] for t in tested if t.scores.meta.get("submission")), {})
    count = write_submission(scores, args.submit, form=told.get("form", "names"), class_names=told.get("class_names"))
    left = f", {len(scores) - count} unreadable ones left out" if count < len(scores) else ""
    console.print(f"{args.submit}: predictions of {count} clips{left}", highlight=False, soft_wrap=True)
