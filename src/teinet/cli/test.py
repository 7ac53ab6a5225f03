"""`teinet test`: top-1, top-5, mean class accuracy, per-class table and confusion matrix of a trained network."""

from __future__ import annotations

import argparse
import json
import os
import re
from dataclasses import replace
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("weights", help="a run's folder (its last weights) or a .safetensors file")
    parser.add_argument("--data", default=None, help="clips to test on; by default those that the run names")
    parser.add_argument("--root", default=None, help="folder that a csv's paths start from")
    parser.add_argument(
        "--select",
        default=None,
        metavar="COLUMN=VALUE,...",
        help="test these rows of the list, whatever split they are in",
    )
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default=None, help="by default test, else val, else all"
    )
    parser.add_argument("--views", default="1x1", help="clips x crops: 1x1, 10x3")
    parser.add_argument("--average", choices=("probabilities", "logits"), default="probabilities", help="over views")
    parser.add_argument("--batch-size", type=int, default=8, help="views per step, of one video at least (default: 8)")
    parser.add_argument(
        "--workers", type=int, default=None, help="decoding processes (default: one per core, at most 8)"
    )
    parser.add_argument("--devices", type=int, default=1, help="how many devices; on a CPU, processes")
    parser.add_argument(
        "--accelerator", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="auto: a GPU if there is one"
    )
    parser.add_argument(
        "--precision", choices=("32-true", "bf16-mixed", "16-mixed"), default="32-true", help="default: 32-true"
    )
    parser.add_argument(
        "--output", default=None, help="folder for the results; by default test-VIEWS beside the weights"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Test and print; returns 0, or 1 when some clip could not be read."""
    from rich.console import Console

    from teinet import __version__
    from teinet.data.views import Views
    from teinet.errors import ConfigError
    from teinet.evaluation.evaluate import evaluate
    from teinet.evaluation.hardware import Hardware
    from teinet.evaluation.progress import TestProgress
    from teinet.evaluation.report import tables
    from teinet.inference import Recognizer
    from teinet.models.checkpoint import weights_file

    views = Views.parse(args.views)
    for name, value, low in (
        ("--batch-size", args.batch_size, 1),
        ("--devices", args.devices, 1),
        ("--workers", args.workers, 0),
    ):
        if value is not None and value < low:
            raise ConfigError(f"{name} is {value}; it must be at least {low}")
    weights = weights_file(args.weights)
    recognizer = Recognizer.load(weights)
    clips, split = _clips(args, recognizer)
    workers = args.workers if args.workers is not None else max(1, min(8, (os.cpu_count() or 1) // args.devices))
    console = Console(stderr=args.json)
    scores = evaluate(
        recognizer.model,
        clips,
        sampling=recognizer.sampling,
        preprocessing=recognizer.preprocessing,
        views=views,
        averaging=args.average,
        batch_size=args.batch_size,
        workers=workers,
        hardware=Hardware(accelerator=args.accelerator, devices=args.devices, precision=args.precision),
        callbacks=[TestProgress(Console(stderr=True))],
        meta={"split": split, "weights": str(weights), "teinet": __version__},
    )
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return 0
    folder = Path(args.output) if args.output else weights.parent / _folder_name(args, str(views))
    scores.save(folder)
    if args.json:
        print(json.dumps(scores.metrics(), indent=2, ensure_ascii=False))
    else:
        for table in tables(scores, title=f"{recognizer.header['architecture']['name']} on {clips.source} ({split})"):
            console.print(table)
        console.print(f"clip by clip, per class and as a picture: {folder}", highlight=False, soft_wrap=True)
    return 1 if scores.num_unreadable else 0


def _folder_name(args: argparse.Namespace, views: str) -> str:
    """test-1x1 for the clips that the run held out; others get a name of their own and overwrite nothing."""
    data = Path(args.data).absolute() if args.data else None
    asked = (data and f"{data.parent.name}-{data.stem}", args.split, args.select)
    return re.sub(r"[^\w.=,-]+", "-", "-".join(["test", views, *filter(None, asked)]))


def _clips(args: argparse.Namespace, recognizer):
    """The clips that the arguments, or else the weights' own recipe, name; and what to call them."""
    from teinet.data.clips import read_rows, select, to_clips
    from teinet.data.splits import DataConfig, load_splits
    from teinet.errors import ConfigError

    stored = recognizer.header.get("recipe", {}).get("data") or {}
    if args.data is None and not stored.get("path"):
        raise ConfigError("no data given; name the clips to test on with --data PATH")
    if args.data is None:
        config = replace(DataConfig(**stored), **({"root": args.root} if args.root else {}))
    else:
        config = DataConfig(path=args.data, root=args.root, val_share=0.0)
    if args.select and args.split:
        raise ConfigError("--select chooses among all rows of the list; give it or --split, not both")
    if args.select:
        rows = select(read_rows(config.path, root=config.root), args.select, source=config.path)
        return to_clips(rows, recognizer.class_names, source=config.path), args.select
    splits = load_splits(config, recognizer.class_names)
    if args.split and args.split not in splits:
        raise ConfigError(f"{config.path} has no {args.split} split; it has {', '.join(splits)}")
    if args.split:
        return splits[args.split], args.split
    if args.data is not None and set(splits) == {"train"}:  # a plain list or folder: all of it is to be tested
        return splits["train"], "all clips"
    split = next((s for s in ("test", "val") if s in splits), None)
    if split is None:
        raise ConfigError("the run held out no clips; name those to test on with --data or --select")
    return splits[split], split
