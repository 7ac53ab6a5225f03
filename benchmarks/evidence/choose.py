"""Chooses the recipe of each reported fold of fights by clips of other folds:
python benchmarks/evidence/choose.py DATA/fights/clips.csv

Each cell of the searches trained on three folds and named the clips of two, j and k. For fold k the mean over
networks of what was right among the clips of j decides, and for j that among those of k: no clip chooses its own.
At the end it prints what was chosen as `fights.yaml` holds it.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import yaml

from teinet.study.plan import Study

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "evidence"


def shares(study: str, fold_of: dict[str, int]) -> dict[int, dict[str, list[bool]]]:
    """By reported fold and network of a study: was each clip of another fold, that it did not train on, named right?"""
    right: dict[int, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted((RESULTS / study).glob("*.json")):
        cell = json.loads(file.read_text())
        folds = [fold_of[clip] for clip in cell["clips"]]
        for reported in set(folds):
            for fold, said, true in zip(folds, cell["test"]["predicted"], cell["labels"], strict=True):
                if fold != reported:
                    right[reported][cell["cell"]["network"]].append(said == true)
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    candidates = [f"search_fights_{name}" for name in ("whole_calm", "whole_gentle", "whole_modules")]
    parser.add_argument("--studies", nargs="+", default=candidates)
    args = parser.parse_args()
    with args.list.open(newline="", encoding="utf-8") as file:
        fold_of = {row["path"]: int(row["fold"]) for row in csv.DictReader(file)}
    chosen = {}
    found = {study: shares(study, fold_of) for study in args.studies}
    for reported in sorted(set(fold_of.values())):
        means = {}
        for study, right in found.items():
            networks = {name: fmean(clips) for name, clips in right[reported].items()}
            if networks:
                means[study] = fmean(networks.values())
                each = ", ".join(f"{name} {100 * share:.1f}" for name, share in networks.items())
                print(f"fold {reported}  {study:<22} {100 * means[study]:.1f} %  ({each})")
        if len(means) == len(found):
            best = max(means, key=means.get)
            study = Study.load(HERE / f"{best}.yaml")
            chosen[f"fold {reported}"] = {**study.settings, "views": str(study.views)}
            print(f"fold {reported}  -> {best}\n")
    print(yaml.safe_dump({"fold_settings": chosen}, sort_keys=False, default_flow_style=None) if chosen else "")


if __name__ == "__main__":
    main()
