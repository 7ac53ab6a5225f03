"""How far rounding alone moves a cell:
python -m benchmarks.evidence.rounding STUDY.yaml NETWORK/FOLD/SEED --data-root DATA

The cell is trained again, each time from weights that are moved by about a millionth of themselves: as much as another
machine or another order of additions makes of a step. Writes ../results/evidence/rounding.json: top-1 of each next to
the committed one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from rich.console import Console

from benchmarks.study.__main__ import add_where, where
from benchmarks.study.cell import run_cell
from benchmarks.study.plan import Study
from benchmarks.study.results import read_result, read_results
from teinet.models.classifier import VideoClassifier
from teinet.training import setup as parts
from teinet.utils.machine import machine

RESULTS = Path(__file__).parent.parent / "results" / "evidence"
AMOUNT = 1e-6  # standard deviation, as a share of each weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("cell")
    parser.add_argument("--times", type=int, default=2)
    add_where(parser)
    parser.set_defaults(work="runs/rounding", results=str(RESULTS))
    args = parser.parse_args()
    study = Study.load(args.study)
    cell = study.cell(args.cell)
    if (committed := read_result(study, cell, args.results)) is None:
        raise SystemExit(f"{args.results} has no result of {cell} to compare with")
    build, found = parts.build_model, []
    for time in range(1, args.times + 1):

        def moved(*arguments: object, time: int = time) -> VideoClassifier:
            return move(build(*arguments), seed=time)

        with tempfile.TemporaryDirectory() as folder, patch.object(parts, "build_model", moved):
            here = replace(where(args), work=f"{args.work}/{time}", results=folder)
            result = read_results(run_cell(study, cell, here, console=Console(stderr=True)))[str(cell)]
        found.append(result["test"]["top1"])
    said = {"machine": machine(), "study": study.name, "cell": str(cell), "amount": AMOUNT}
    said |= {"committed": committed["test"]["top1"], "moved": found}
    (RESULTS / "rounding.json").write_text(json.dumps(said, indent=2) + "\n")
    Console().print(f"{cell}: {100 * said['committed']:.1f} %; moved: {', '.join(f'{100 * x:.1f} %' for x in found)}")


def move(model: VideoClassifier, seed: int) -> VideoClassifier:
    """The network with every weight moved a little, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + AMOUNT * torch.randn(weight.shape, generator=generator))
    return model


if __name__ == "__main__":
    main()
