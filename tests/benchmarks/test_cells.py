"""Cells run for real, on a network of seconds: what is written, what is done again, what fails alone."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from types import SimpleNamespace

import pytest
import yaml

from benchmarks.study.__main__ import main
from benchmarks.study.plan import Study
from benchmarks.study.results import Done, append, read_result, read_results
from tests.benchmarks.conftest import write_study

pytestmark = pytest.mark.filterwarnings("ignore")
NETWORK = {"name": "tsn_test_resnet"}


def words(study_file):
    root = study_file.parent
    where = ["--data-root", f"{root}/data", "--work", f"{root}/work", "--results", f"{root}/results"]
    return [*where, "--threads", "1", "--workers", "0"]


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A study of four cells, three run one by one, then the last, next to one of another study that cannot be."""
    study_file = write_study(tmp_path_factory.mktemp("studied"))
    impossible = {"extends": "tiny.yaml", "folds": {"nobody": {"train": "subject=carl"}}, "networks": {"TSN": NETWORK}}
    study_file.with_name("impossible.yaml").write_text(yaml.safe_dump(impossible))
    for cell in ("TSN/ann/0", "TIM/ann/0", "TSN/bob/0"):
        assert main(["cell", str(study_file), cell, *words(study_file)]) == 0
    before = (study_file.parent / "results" / "tiny.jsonl").read_text().splitlines()
    with redirect_stdout(StringIO()) as out:
        studies = [str(study_file.with_name("impossible.yaml")), str(study_file)]
        code = main(["run", *studies, *words(study_file), "--jobs", "2"])
    return SimpleNamespace(file=study_file, before=before, code=code, out=out.getvalue())


def test_a_cell_writes_what_its_test_said(studied):
    result = read_results(studied.file.parent / "results" / "tiny.jsonl")["TSN/ann/0"]
    assert result["clips"] == [f"{label}-ann-{take}.mp4" for label in ("left", "right") for take in range(3)]
    assert result["clusters"] == ["ann / left"] * 3 + ["ann / right"] * 3
    assert result["labels"] == [0, 0, 0, 1, 1, 1] and result["class_names"] == ["left", "right"]
    right = [label == said for label, said in zip(result["labels"], result["test"]["predicted"])]
    top1 = result["test"]["top1"]
    assert top1 == pytest.approx(sum(right) / 6, abs=1e-6)
    assert result["backwards"]["top1"] == top1  # TSN does not see order
    assert result["curve"]["epoch"] == [1, 2] and result["curve"]["val_top1"][1] == pytest.approx(top1, abs=1e-5)


def test_what_is_done_is_not_done_again_and_what_fails_stops_no_other(studied, capsys):
    assert studied.code == 1
    assert "2 of 5 cells to run, 2 at a time" in studied.out and studied.out.count(" min") == 1
    assert "has no value 'carl'" in " ".join(studied.out.split())
    after = (studied.file.parent / "results" / "tiny.jsonl").read_text().splitlines()
    assert after[: len(studied.before)] == studied.before and len(after) == 6  # each fold's clips once
    assert main(["run", str(studied.file), *words(studied.file), "--list"]) == 0
    assert "4 of 4 done" in capsys.readouterr().out


def test_the_tables_of_a_study(studied, capsys):
    results = ["--results", f"{studied.file.parent}/results"]
    assert main(["table", str(studied.file), *results, "--folds", "--pairs", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["tiny"]
    table = said["networks"]
    assert [row["network"] for row in table] == ["TSN", "TIM"] and [row["cells"] for row in table] == [2, 2]
    assert table[0]["difference"] is None and table[1]["difference"]["clips"] == 12
    assert table[1]["difference"]["clusters"] == 4
    assert table[1]["difference"]["value"] == pytest.approx(table[1]["top1"] - table[0]["top1"], abs=1e-5)
    assert table[0]["reversals"][0] == pytest.approx(table[0]["top1"], abs=1e-5)  # both classes are of the pair
    assert table[0]["reversals"][0] + table[0]["reversals"][1] == pytest.approx(1)
    assert len(said["pairs"]) == 1
    assert said["folds"]["TIM"]["top1"].keys() == {"ann", "bob"} and len(said["folds"]["TIM"]["difference"]) == 3

    page = studied.file.with_name("page.md")
    page.write_text("# Page\n\n<!-- study tiny -->\nold\n<!-- end of tiny -->\n\nafter\n")
    images = studied.file.with_name("images")
    more = ["--folds", "--markdown", "--fill", str(page), "--images", str(images)]
    assert main(["table", str(studied.file), *results, *more]) == 0
    text = page.read_text()
    assert "\nold\n" not in text and text.endswith("\n\nafter\n")
    assert "| TIM | " in text and "4 of 4 cells; seed 0" in text
    assert sorted(p.name for p in images.iterdir()) == ["tiny-calibration.png", "tiny-curves.png", "tiny.png"]
    assert "| network | ann | bob | − TSN over folds (95 %) |" in capsys.readouterr().out


def test_a_cell_of_two_studies_is_measured_once(studied, capsys):
    networks = {"causal": {"name": "tim_test_resnet", "causal": True}, "bidirectional": {"name": "tim_test_resnet"}}
    other = studied.file.with_name("other.yaml")
    other.write_text(yaml.safe_dump({"extends": "tiny.yaml", "networks": networks, "reference": "causal"}))
    results = studied.file.parent / "results"
    tiny, study = Study.load(studied.file), Study.load(other)
    assert [str(cell) for cell in Done.load(study, results).cells] == ["bidirectional/ann/0", "bidirectional/bob/0"]
    there = Done.load(tiny, results).cells[tiny.cell("TIM/ann/0")]
    assert Done.load(study, results).cells[study.cell("bidirectional/ann/0")] == there
    assert main(["run", str(other), *words(studied.file), "--list"]) == 0
    assert "2 of 4 done" in capsys.readouterr().out

    other.write_text(other.read_text() + "settings: {optim: {epochs: 3}}\n")
    assert not Done.load(Study.load(other), results).cells
    other.write_text(other.read_text().replace("epochs: 3", "epochs: 2") + "backwards: false\n")
    assert not Done.load(Study.load(other), results).cells  # its results would lack what this one shows, or hold more


def test_a_result_of_other_settings_counts_as_not_done(study_file, caplog):
    study = Study.load(study_file)
    cell = study.cell("TSN/ann/0")
    path = study_file.parent / "results" / "tiny.jsonl"
    clips = {"clips": ["a"], "clusters": ["a"], "labels": [0], "class_names": ["left"]}
    append(path, {"cell": str(cell), "settings": "0123", "test": {"top1": 1.0}, **clips})
    assert not Done.load(study, path.parent).cells
    assert "measured with other settings" in caplog.text
    append(path, {"cell": str(cell), "settings": study.digest(cell), "test": {"top1": 0.5}, **clips})
    found = read_result(study, cell, path.parent)  # the later line counts
    assert found["test"] == {"top1": 0.5} and found["clips"] == ["a"] and path.read_text().count('"key"') == 1
    path.write_text(path.read_text() + "{")
    assert main(["run", str(study_file), *words(study_file), "--list"]) == 2
