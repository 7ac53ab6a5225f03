"""Sets once how hard motion_pairs is for motion_1a: python -m benchmarks.evidence.difficulty DATA

From the easiest level on, clips are drawn and TSM is trained with seed 100, until its top-1 on the validation clips
lies between 55 and 75 %. No other network is looked at. Writes ../results/evidence/motion_difficulty.json, and leaves
the clips of the level that was chosen in DATA/motion_pairs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from benchmarks.study.plan import Cell, Study
from teinet.data.motion_pairs import MotionPairs, draw_with_progress
from teinet.training.run_dir import LOG, STATE, read_log
from teinet.training.trainer import train
from teinet.utils.machine import machine

HERE = Path(__file__).parent
RESULT = HERE.parent / "results" / "evidence" / "motion_difficulty.json"
LEVELS = [
    MotionPairs(val=15, distractors=1 + k, drift=0.2 + 0.1 * k, shake=0.008 + 0.004 * k, noise=4.0 + 4.0 * k)
    for k in range(8)
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder that benchmarks.study takes as --data-root")
    parser.add_argument("--work", type=Path, default=Path("runs/difficulty"))
    args = parser.parse_args()
    study, console, tried = Study.load(f"{HERE}/motion_pairs.yaml#motion_1a"), Console(), []
    cell = Cell(network="TSM", fold="drawn", seed=100)
    for level, settings in enumerate(LEVELS):
        clips = draw_with_progress(args.work / f"level{level}", settings, console)
        recipe = study.recipe_of(cell)
        recipe = replace(recipe, data=replace(recipe.data, path=str(clips / "clips.csv")))
        recipe = replace(
            recipe, run=replace(recipe.run, output=str(args.work), name=f"tsm{level}", threads=1, workers=1)
        )
        folder = args.work / f"tsm{level}"
        train(recipe, resume=folder if (folder / STATE).is_file() else None, console=console)
        top1 = float(read_log(folder / LOG)[-1]["val_top1"])
        tried.append({"level": level, "settings": asdict(settings), "tsm_val_top1": top1})
        console.print(f"level {level}: TSM {100 * top1:.1f} % on the validation clips")
        if 0.55 <= top1 <= 0.75:
            draw_with_progress(args.data / "motion_pairs", settings, console)
            RESULT.parent.mkdir(parents=True, exist_ok=True)
            RESULT.write_text(json.dumps({"machine": machine(), "chosen": level, "tried": tried}, indent=2) + "\n")
            return
    raise SystemExit("at no level does TSM lie between 55 and 75 %")


if __name__ == "__main__":
    main()
