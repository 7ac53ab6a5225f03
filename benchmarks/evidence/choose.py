"""Chooses the recipe of each reported fold by clips of other folds (nested validation):
python -m benchmarks.evidence.choose DATA/fights/clips.csv --studies search_fights_whole_calm search_fights_whole_gentle
python -m benchmarks.evidence.choose DATA/utd_mhad_depth/clips.csv --column subject --fold person \\
  --studies search_utd_alone search_utd_msr
python -m benchmarks.evidence.choose DATA/msr_action3d_depth/clips.csv --column subject \\
  --fold person --reported standard --studies search_msr_alone search_msr_utd

Each cell of the candidates left out two folds, j and k, and named their clips. For fold k the mean over networks of
what was right among the clips of j decides, and for j that among those of k: no clip chooses its own. A fold's choice
stands once every network of every candidate is done for it, printed as a study's `fold_settings`. Where the reported
fold takes none of the clips that the cells named (`--reported`), all of them decide.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import yaml

from benchmarks.study.plan import Study
from benchmarks.study.results import read_result

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "evidence"


def shares(study: Study, fold_of: dict[str, str], reported_folds: set[str]) -> dict[str, dict[str, list[bool]]]:
    """By reported fold and network of a study: was each clip of another fold, that it did not train on, named right?"""
    right: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for cell in study.cells():
        if (result := read_result(study, cell, RESULTS)) is None:
            continue
        folds = [fold_of[clip] for clip in result["clips"]]
        for reported in reported_folds & set(folds) or reported_folds - set(fold_of.values()):
            for fold, said, true in zip(folds, result["test"]["predicted"], result["labels"], strict=True):
                if fold != reported:
                    right[reported][cell.network].append(said == true)
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    parser.add_argument("--studies", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--column", default="fold", help="of the list, that names the folds (default: fold)")
    parser.add_argument("--fold", default="fold", help="what the study calls them, before their name (default: fold)")
    parser.add_argument("--reported", help="the only fold to choose for, which holds none of the clips that decide")
    args = parser.parse_args()
    with args.list.open(newline="", encoding="utf-8") as file:
        fold_of = {row["path"]: f"{args.fold} {row[args.column]}" for row in csv.DictReader(file)}
    known = {study.name: study for file in HERE.glob("*.yaml") for study in Study.load_all(file)}
    studies = {name: known[name] for name in args.studies}
    if len({tuple(study.networks) for study in studies.values()}) > 1:
        raise SystemExit(f"{', '.join(args.studies)} have not the same networks; their means would not compare")
    folds = {args.reported} if args.reported else set(fold_of.values())
    found = {name: shares(study, fold_of, folds) for name, study in studies.items()}
    chosen = {}
    for reported in sorted(folds):
        means = {}
        for name, study in studies.items():
            networks = {network: fmean(clips) for network, clips in found[name][reported].items()}
            if networks:
                each = ", ".join(f"{network} {100 * share:.1f}" for network, share in networks.items())
                print(f"{reported}  {name:<26} {each}")
            if set(networks) == set(study.networks):  # means over other networks would not compare
                means[name] = fmean(networks.values())
        if len(means) == len(studies):
            best = max(means, key=means.get)
            chosen[reported] = {**studies[best].settings, "views": str(studies[best].views)}
            print(f"{reported}  -> {best}\n")
        else:
            print(f"{reported}  no choice: not all networks of all candidates are done\n")
    print(yaml.safe_dump({"fold_settings": chosen}, sort_keys=False, default_flow_style=None) if chosen else "")


if __name__ == "__main__":
    main()
