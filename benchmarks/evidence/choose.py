"""Chooses the recipe of each reported fold of fights by clips of other folds:
python benchmarks/evidence/choose.py DATA/fights/clips.csv

Each cell of the searches trained on three folds and named the clips of two, j and k. For fold k the mean over
networks of what was right among the clips of j decides, and for j that among those of k: no clip chooses its own.
A fold's choice stands once every network of every candidate is done for it, printed as a study's `fold_settings`.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import yaml

from teinet.study.plan import Study
from teinet.study.results import read_result

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "evidence"


def shares(study: Study, fold_of: dict[str, int]) -> dict[int, dict[str, list[bool]]]:
    """By reported fold and network of a study: was each clip of another fold, that it did not train on, named right?"""
    right: dict[int, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for cell in study.cells():
        if (result := read_result(study, cell, RESULTS)) is None:
            continue
        folds = [fold_of[clip] for clip in result["clips"]]
        for reported in set(folds):
            for fold, said, true in zip(folds, result["test"]["predicted"], result["labels"], strict=True):
                if fold != reported:
                    right[reported][cell.network].append(said == true)
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    candidates = [f"search_fights_{name}" for name in ("whole_calm", "whole_gentle", "whole_modules")]
    parser.add_argument("--studies", nargs="+", default=candidates)
    args = parser.parse_args()
    with args.list.open(newline="", encoding="utf-8") as file:
        fold_of = {row["path"]: int(row["fold"]) for row in csv.DictReader(file)}
    studies = {name: Study.load(HERE / f"{name}.yaml") for name in args.studies}
    found = {name: shares(study, fold_of) for name, study in studies.items()}
    chosen = {}
    for reported in sorted(set(fold_of.values())):
        means = {}
        for name, study in studies.items():
            networks = {network: fmean(clips) for network, clips in found[name][reported].items()}
            if networks:
                each = ", ".join(f"{network} {100 * share:.1f}" for network, share in networks.items())
                print(f"fold {reported}  {name:<26} {each}")
            if set(networks) == set(study.networks):  # means over other networks would not compare
                means[name] = fmean(networks.values())
        if len(means) == len(studies):
            best = max(means, key=means.get)
            chosen[f"fold {reported}"] = {**studies[best].settings, "views": str(studies[best].views)}
            print(f"fold {reported}  -> {best}\n")
        else:
            print(f"fold {reported}  no choice: not all networks of all candidates are done\n")
    print(yaml.safe_dump({"fold_settings": chosen}, sort_keys=False, default_flow_style=None) if chosen else "")


if __name__ == "__main__":
    main()
