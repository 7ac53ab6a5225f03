"""`teinet test`: top-1, top-5, mean class accuracy, classes, confusion matrix; of one network, or several together."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.options import add_list_options, add_optimize_option, data_config
from teinet.errors import ConfigError
from teinet.utils.signals import first_process

if TYPE_CHECKING:
    from rich.console import Console

    from teinet.evaluation.scores import Scores
    from teinet.evaluation.testing import Plan, Tested


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add = parser.add_argument
    add(
        "networks",
        nargs="+",
        metavar="NETWORK",
        help="a run's folder (its last weights), a .safetensors file, or earlier scores; several are averaged",
    )
    add("--weights", default=None, metavar="1,1", help="of several networks' scores (default: all alike)")
    add("--data", default=None, help="clips to test on; by default those that the run names")
    add_list_options(parser)
    add(
        "--select",
        default=None,
        metavar="COLUMN=VALUE,...",
        help="test these rows of the list, whatever split they are in",
    )
    add("--split", choices=("train", "val", "test"), default=None, help="by default test, else val, else all")
    add("--views", default="1x1", help="clips x crops: 1x1, 10x3, any other (default: 1x1)")
    add("--backwards", action="store_true", help="play each clip backwards: how far does order matter to the network?")
    add("--average", choices=("probabilities", "logits"), default="probabilities", help="over views")
    add("--batch-size", type=int, default=8, help="views in one pass of the network: bounds the memory (default: 8)")
    add("--workers", type=int, default=None, help="decoding processes (default: one per core, at most 8)")
    add(
        "--read-timeout",
        type=float,
        default=120,
        help="seconds after which a file that cannot be read to its end stops the test; 0: never (default: 120)",
    )
    add("--devices", type=int, default=1, help="how many devices; on a CPU, processes")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="fp32", help="default: fp32")
    add_optimize_option(parser)
    add("--again", action="store_true", help="run networks whose scores lie on disk already")
    add("--submit", default=None, metavar="FILE", help="write predictions of unlabeled clips, by their ids")
    add("--output", default=None, help="folder for the results; by default test-VIEWS next to the weights")
    add("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Test and print; returns 0, or 1 when some clip could not be read."""
    from rich.console import Console

    from teinet.evaluation.ensemble import average
    from teinet.evaluation.evaluate import TestProgress
    from teinet.evaluation.testing import test

    plan, weights = _plan(args), _weights(args)
    console = Console(stderr=args.json, highlight=False)
    several = len(args.networks) > 1
    tested: list[Tested] = []
    for network in args.networks:
        bar = TestProgress(Console(stderr=True), title=str(network) if several else "testing")
        output = None if several else args.output
        result = test(network, plan, reuse=several and not args.again, output=output, callbacks=[bar])
        if several and first_process():
            how = "scores on disk" if result.from_disk else f"tested, {result.folder}"
            console.print(f"{network}: {how}", soft_wrap=True)
        tested.append(result)
    if not first_process():
        return 0
    scores, folder = tested[0].scores, tested[0].folder
    if several:
        scores = average([t.scores for t in tested], weights, args.networks)
        folder = Path(args.output) if args.output else _next_to(args.networks, tested)
        scores.save(folder)
    for note in dict.fromkeys(note for t in tested if t.source for note in t.source.notes):
        console.print(note, style="dim", soft_wrap=True)
    _print(console, args, scores, tested, folder)
    if args.submit:
        from teinet.evaluation.submission import write_submission

        told = next((t.scores.meta["submission"] for t in tested if t.scores.meta.get("submission")), {})
        form, names = told.get("form", "names"), told.get("class_names")
        count = write_submission(scores, args.submit, form=form, class_names=names)
        left = f", {len(scores) - count} unreadable ones left out" if count < len(scores) else ""
        console.print(f"{args.submit}: predictions of {count} clips{left}", soft_wrap=True)
    return 1 if scores.num_unreadable else 0


def _plan(args: argparse.Namespace) -> Plan:
    from teinet.data.views import Views
    from teinet.evaluation.hardware import Hardware
    from teinet.evaluation.testing import Plan

    lowest = {"batch_size": 1, "devices": 1, "official_split": 1, "workers": 0, "read_timeout": 0}
    for name, low in lowest.items():
        if (value := getattr(args, name)) is not None and value < low:
            raise ConfigError(f"--{name.replace('_', '-')} is {value}; it must be at least {low}")
    if args.data is None and (idle := [n for n in ("val_path", "test_path", "labels") if getattr(args, n)]):
        raise ConfigError(f"--{idle[0].replace('_', '-')} belongs to a list; name it with --data")
    same = ("root", "split", "select", "backwards", "batch_size", "workers", "read_timeout", "optimize")
    return Plan(
        **{name: getattr(args, name) for name in same},
        data=data_config(args, args.data) if args.data else None,
        unlabeled=bool(args.submit),
        views=Views.parse(args.views),
        averaging=args.average,
        hardware=Hardware(device=args.device, devices=args.devices, precision=args.precision),
    )


def _weights(args: argparse.Namespace) -> list[float] | None:
    if args.weights is None:
        return None
    if len(args.networks) == 1:
        raise ConfigError("--weights weighs several networks' scores; one was given")
    try:
        return [float(weight) for weight in args.weights.split(",")]
    except ValueError:
        raise ConfigError(f"--weights {args.weights!r}: write numbers with commas between them, such as 1,1") from None


def _next_to(networks: list[str], tested: list[Tested]) -> Path:
    """Where an ensemble's results go: next to the first network's, named after the others."""
    first = tested[0].folder or Path(networks[0]).absolute()
    home = first.parent if first.is_file() else first
    rest = "+".join((t.folder.parent if t.folder else Path(n).resolve()).name for n, t in zip(networks[1:], tested[1:]))
    return home.parent / f"{home.name}-with-{rest}"


def _print(
    console: Console, args: argparse.Namespace, scores: Scores, tested: list[Tested], folder: Path | None
) -> None:
    from teinet.evaluation.published import comparable, print_published
    from teinet.evaluation.scores import tables
    from teinet.evaluation.testing import measured

    rows = [row for t in tested if (row := t.recipe.get("row"))]
    members = rows if 1 < len(tested) == len(rows) else []
    unique = list({(p.table, p.row): p for t in tested for p in t.published}.values())
    printed = comparable(unique, views=str(scores.meta.get("views")), members=members)
    if (len(tested) > 1 and not members) or args.select or args.backwards or args.split == "train":
        printed = []  # nothing that a paper measured
    if args.json:
        numbers = {**scores.metrics(), "published": [asdict(p) for p in printed]}
        print(json.dumps(numbers, indent=2, ensure_ascii=False))
        return
    name = " + ".join(str(t.scores.meta.get("network", n)) for n, t in zip(args.networks, tested))
    for table in tables(scores, title=f"{name} on {scores.meta.get('split', 'its clips')}"):
        console.print(table)
    if not (scores.labels >= 0).any():  # what the makers' server measured with such an answer
        for p in printed:
            if p.test is not None:
                console.print(f"printed for the makers' test clips: table {p.table}, {p.row}, top-1 {p.test}")
    elif printed:
        departures = {t.recipe.get("row"): t.recipe.get("departs") or () for t in tested}
        print_published(console, printed, measured(scores), departures)
    if folder is not None:
        console.print(f"clip by clip, per class and as an image: {folder}", soft_wrap=True)
