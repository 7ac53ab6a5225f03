"""Writes the list of the fights that were used: python -m benchmarks.evidence.fights_list DATA/fights

Which clips of the Surveillance Camera Fight Dataset those are, and which recording (`source_video`) each was cut from,
stands in the results of the study `fights`: of each fold its test clips. DATA/fights holds the data set's folders
fight/ and noFight/; its clips.csv will name path, label and source_video. A clip that is not there is an error.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from benchmarks.study.plan import Study
from benchmarks.study.results import read_result

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "evidence"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    study, rows = Study.load(f"{HERE}/fights.yaml#fights"), {}
    for fold in study.folds:
        result = read_result(study, study.cell(f"{study.reference}/{fold}/0"), str(RESULTS))
        for path, label, source in zip(result["clips"], result["labels"], result["clusters"], strict=True):
            rows[path] = {"path": path, "label": result["class_names"][label], "source_video": source}
    if missing := [path for path in rows if not (folder / path).is_file()]:
        raise SystemExit(f"{folder} has not {missing[0]} ({len(missing)} of {len(rows)} clips are missing)")
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "label", "source_video"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[path] for path in sorted(rows))
    print(
        f"{folder / 'clips.csv'}: {len(rows)} clips of {len({row['source_video'] for row in rows.values()})} recordings"
    )


if __name__ == "__main__":
    main()
