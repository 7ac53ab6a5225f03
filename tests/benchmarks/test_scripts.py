"""The scripts next to the studies: one makes a file that ships, one compares a cell that was run again."""

from __future__ import annotations

import csv
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.study.plan import Study
from benchmarks.study.results import append, results_file
from teinet.data.lists.splits import DataConfig, load_splits

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "evidence"


@pytest.fixture
def chosen_from(tmp_path, monkeypatch):
    """Runs choose.py over candidates, of each what its networks say of clips a and b (fold 1), c and d (fold 2)."""
    listing = tmp_path / "clips.csv"
    listing.write_text("path,label,fold\na,x,1\nb,y,1\nc,x,2\nd,y,2\n")
    script = runpy.run_path(str(SCRIPTS / "choose.py"))
    monkeypatch.setitem(script["main"].__globals__, "RESULTS", tmp_path)
    monkeypatch.setitem(script["main"].__globals__, "HERE", tmp_path)

    def run(candidates: dict[str, dict[str, list[int]]], *words: str) -> None:
        for name, networks in candidates.items():
            write_candidate(tmp_path, name, networks)
        monkeypatch.setattr(sys, "argv", ["choose.py", str(listing), "--studies", *candidates, *words])
        script["main"]()

    return run


def write_candidate(folder: Path, name: str, networks: dict[str, list[int] | None]) -> None:
    """A study and its results; a network that says None is not done."""
    said = {"title": name, "recipe": "small_data", "data": "clips.csv", "views": "5x1"}
    said |= {"networks": {network: {"name": f"{network.lower()}_resnet10t"} for network in networks}}
    said |= {"folds": {"1 and 2": {"train": "fold=3"}}, "settings": {"optim": {"epochs": len(name)}}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(said))
    study = Study.load(folder / f"{name}.yaml")
    for cell in study.cells():
        if networks[cell.network] is None:
            continue
        clips = {"clips": list("abcd"), "clusters": list("abcd"), "labels": [0, 1, 0, 1], "class_names": ["x", "y"]}
        said = {"cell": str(cell), "settings": study.digest(cell), "test": {"predicted": networks[cell.network]}}
        append(results_file(folder, study), said | clips)


CANDIDATES = {"calm": {"TSM": [0, 1, 1, 0], "TSN": [0, 1, 1, 0]}, "hot": {"TSM": [1, 0, 0, 1], "TSN": [1, 0, 0, 1]}}


def test_each_folds_recipe_is_chosen_by_the_clips_of_the_other(chosen_from, tmp_path, capsys):
    """Of folds 1 and 2, `calm` is right in all of 1 and none of 2, `hot` the other way round: each wins the other's."""
    chosen_from(CANDIDATES)
    said = yaml.safe_load("fold_settings" + capsys.readouterr().out.partition("fold_settings")[2])["fold_settings"]
    assert said == {
        "fold 1": {"optim": {"epochs": 3}, "views": "5x1"},  # hot, which is right in fold 2
        "fold 2": {"optim": {"epochs": 4}, "views": "5x1"},  # calm, which is right in fold 1
    }


@pytest.fixture
def run_twice(study_file):
    """Writes two results of a study's first cell: which clips are right then and now; their folders follow."""
    study = Study.load(study_file)
    (cell, *_) = study.cells()

    def write(then: list[bool], now: list[bool], **other) -> tuple[Study, str, str]:
        for name, right in (("then", then), ("now", now)):
            said = {"top1": sum(right) / len(right), "predicted": [int(not each) for each in right]}
            result = {"cell": str(cell), "settings": study.digest(cell), "test": said, "data": "a"}
            clips = {"clips": [], "clusters": [], "labels": [0] * len(right), "class_names": []}
            append(results_file(study_file.parent / name, study), result | clips | (other if name == "now" else {}))
        return study, str(study_file.parent / "then"), str(study_file.parent / "now")

    return write


@pytest.mark.parametrize(
    ("lost", "gained", "holds"), [(0, 0, True), (16, 4, False), (14, 6, True), (6, 14, True), (4, 16, False)]
)
def test_a_cell_run_again_may_not_lose_more_clips_than_chance_does(run_twice, lost, gained, holds):
    """Twenty of a hundred clips change sides: by chance the two counts differ by at most 2.576 sqrt(20) = 11.5."""
    then = [True] * 60 + [False] * 40
    now = [False] * lost + [True] * (60 - lost) + [True] * gained + [False] * (40 - gained)
    study, *folders = run_twice(then, now)
    script = runpy.run_path(str(SCRIPTS / "check.py"))
    (cell, *_) = study.cells()
    row = script["compare"](study, cell, *folders)
    assert (row["lost"], row["gained"], row["holds"]) == (lost, gained, holds)
    assert row["then"] == 0.6 and row["now"] == pytest.approx(0.6 + (gained - lost) / 100)


def test_folds_keep_recordings_whole_and_are_those_of_training(tmp_path, monkeypatch, capsys):
    taken = [(label, video, take) for label in "xy" for video in range(4) for take in "ab"]
    rows = [(f"{label}/{video}{take}.mp4", label, f"{label}{video}") for label, video, take in taken]
    for path, *_ in rows:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    listing = tmp_path / "clips.csv"
    listing.write_text("\n".join(["path,label,video", *map(",".join, rows)]) + "\n")
    monkeypatch.setattr(sys, "argv", ["lists.py", "folds", str(listing), "--folds", "4", "--group", "video"])
    for _ in range(2):  # a second time the column is written again, not next to
        runpy.run_path(str(SCRIPTS / "lists.py"), run_name="__main__")
    with listing.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [list(row) for row in written[:1]] == [["path", "label", "video", "fold"]]
    folds = {row["video"]: set() for row in written}
    for row in written:
        folds[row["video"]].add(int(row["fold"]))
    assert all(len(found) == 1 for found in folds.values())
    assert sorted({fold for found in folds.values() for fold in found}) == [1, 2, 3, 4]
    for fold in range(4):
        splits = load_splits(DataConfig(path=str(listing), folds=4, test_fold=fold, group="video"))
        tested = {Path(path).relative_to(tmp_path).as_posix() for path in splits["test"].paths}
        assert tested == {row["path"] for row in written if int(row["fold"]) == fold + 1}
    assert "fold 1: 4, fold 2: 4, fold 3: 4, fold 4: 4" in capsys.readouterr().out


def test_what_is_checked_by_itself_has_a_result_to_compare_with():
    """`make results-check` names no study: these cells then."""
    script = runpy.run_path(str(SCRIPTS / "check.py"))
    study = Study.load(f"{SCRIPTS}/{script['STUDY']}")
    assert len(script["choose"]([study], list(script["CELLS"]), str(script["RESULTS"]), most=2)) == 2
