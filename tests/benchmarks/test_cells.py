"""Cells run for real, on a network of seconds: what is written, what is done again, what fails alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import yaml

from benchmarks.study.__main__ import main
from benchmarks.study.cell import Where, run_cell, run_folder
from benchmarks.study.plan import Study
from benchmarks.study.results import Done, append, read_result, read_results
from benchmarks.study.tables import cells_of, fill, markdown, rows
from teinet.training.run_dir import read_log

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def words(study_file):
    root = study_file.parent
    return ["--data-root", f"{root}/data", "--work", f"{root}/work", "--results", f"{root}/results"]


def test_a_study_from_its_first_cell_to_its_table(study_file, words, capsys):
    options = [str(study_file), *words]
    assert main(["cell", str(study_file), "TSN/ann/0", *words, "--threads", "1", "--workers", "0"]) == 0
    target = study_file.parent / "results" / "tiny.jsonl"
    result = read_results(target)["TSN/ann/0"]
    assert result["clips"] == [f"{label}-ann-{take}.mp4" for label in ("left", "right") for take in range(3)]
    assert result["clusters"] == ["ann / left"] * 3 + ["ann / right"] * 3
    assert result["labels"] == [0, 0, 0, 1, 1, 1] and result["class_names"] == ["left", "right"]
    right = [label == said for label, said in zip(result["labels"], result["test"]["predicted"])]
    assert result["test"]["top1"] == pytest.approx(sum(right) / 6, abs=1e-6)
    assert result["backwards"]["top1"] == result["test"]["top1"]  # TSN does not see order
    assert result["curve"]["epoch"] == [1, 2] and result["curve"]["val_top1"][1] == pytest.approx(
        result["test"]["top1"], abs=1e-5
    )
    before = target.read_text().splitlines()
    assert len(before) == 2  # its clips, and the cell

    assert main(["run", *options, "--threads", "1", "--workers", "0", "--jobs", "2"]) == 0
    out = capsys.readouterr().out
    assert "3 of 4 cells to run, 2 at a time" in out and out.count(" min") == 3
    after = target.read_text().splitlines()
    assert after[:2] == before and len(after) == 6  # what is done is not done again; each fold's clips once
    assert main(["run", *options, "--list"]) == 0
    assert "4 of 4 done" in capsys.readouterr().out

    assert main(["table", str(study_file), "--results", f"{study_file.parent}/results", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)["tiny"]["networks"]
    assert [row["network"] for row in table] == ["TSN", "TIM"] and [row["cells"] for row in table] == [2, 2]
    assert table[0]["difference"] is None and table[1]["difference"]["clips"] == 12
    assert table[1]["difference"]["clusters"] == 4
    assert table[1]["difference"]["value"] == pytest.approx(table[1]["top1"] - table[0]["top1"], abs=1e-5)
    assert table[0]["reversals"][0] == pytest.approx(table[0]["top1"], abs=1e-5)  # both classes are of the pair
    assert table[0]["reversals"][0] + table[0]["reversals"][1] == pytest.approx(1)

    page = study_file.with_name("page.md")
    page.write_text("# Page\n\n<!-- study tiny -->\nold\n<!-- end of tiny -->\n\nafter\n")
    pictures = study_file.with_name("pictures")
    results = ["--results", f"{study_file.parent}/results"]
    assert main(["table", str(study_file), *results, "--fill", str(page), "--pictures", str(pictures)]) == 0
    text = page.read_text()
    assert (
        "\nold\n" not in text and text.endswith("\n\nafter\n") and "| TIM | " in text and "4 of 4 cells; seed 0" in text
    )
    assert sorted(p.name for p in pictures.iterdir()) == ["tiny-calibration.png", "tiny-curves.png", "tiny.png"]
    capsys.readouterr()
    assert main(["table", str(study_file), *results, "--folds", "--pairs", "--json"]) == 0
    more = json.loads(capsys.readouterr().out)["tiny"]
    assert more["networks"] == table and len(more["pairs"]) == 1
    assert more["folds"]["TIM"]["top1"].keys() == {"ann", "bob"} and len(more["folds"]["TIM"]["difference"]) == 3
    assert main(["table", str(study_file), *results, "--folds", "--markdown"]) == 0
    assert "| network | ann | bob | − TSN over folds (95 %) |" in capsys.readouterr().out


def test_open_cells_stand_empty_in_the_table(study_file):
    done = Done(Study.load(study_file), {})
    heads, lines = cells_of(done)
    assert heads[0] == "network" and "− TSN (95 %)" in heads
    assert [line[0] for line in lines] == ["TSN", "TIM"] and set(lines[0][1:]) == {"–", "0/2"}
    assert "None of 4 cells is done." in markdown(done)
    assert all(row.cells == 0 for row in rows(done))
    assert fill("no marks", [done]) == "no marks"


def test_a_result_of_other_settings_counts_as_not_done(study_file, words, caplog):
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
    assert main(["run", str(study_file), *words, "--list"]) == 2


def test_a_cell_of_two_studies_is_measured_once(study_file, words, capsys):
    networks = {"causal": {"name": "tim_test_resnet", "causal": True}, "two-sided": {"name": "tim_test_resnet"}}
    other = study_file.with_name("other.yaml")
    other.write_text(yaml.safe_dump({"extends": "tiny.yaml", "networks": networks, "reference": "causal"}))
    assert main(["cell", str(study_file), "TIM/ann/0", *words, "--threads", "1", "--workers", "0"]) == 0
    results = study_file.parent / "results"
    tiny, study = Study.load(study_file), Study.load(other)
    assert [str(cell) for cell in Done.load(study, results).cells] == ["two-sided/ann/0"]
    there = Done.load(tiny, results).cells[tiny.cell("TIM/ann/0")]
    assert Done.load(study, results).cells[study.cell("two-sided/ann/0")] == there
    assert main(["run", str(other), *words, "--list"]) == 0
    assert "1 of 4 done" in capsys.readouterr().out

    other.write_text(other.read_text() + "settings: {optim: {epochs: 3}}\n")
    assert not Done.load(Study.load(other), results).cells
    other.write_text(other.read_text().replace("epochs: 3", "epochs: 2") + "backwards: false\n")
    assert not Done.load(Study.load(other), results).cells  # its results would lack what this one shows, or hold more


def test_a_cell_that_fails_stops_no_other(study_file, words, capsys):
    said = yaml.safe_load(study_file.read_text())
    said["folds"] = {"nobody": {"train": "subject=carl"}, "ann": said["folds"]["ann"]}
    study_file.write_text(yaml.safe_dump(said, sort_keys=False))
    code = main(["run", str(study_file), *words, "--threads", "1", "--workers", "0", "--cells", "TSN/*"])
    out = capsys.readouterr().out
    assert code == 1
    assert "never holds 'carl'" in " ".join(out.split()) and "TSN/ann/0" in out
    assert "TSN/ann/0" in read_results(study_file.parent / "results" / "tiny.jsonl")


def test_a_run_of_other_settings_is_not_gone_on_with(study_file):
    study, root = Study.load(study_file), study_file.parent
    cell = study.cell("TSN/ann/0")
    here = Where(data_root=root / "data", work=root / "work", results=root / "results", threads=1, workers=0)
    run_cell(study, cell, here)
    said = yaml.safe_load(study_file.read_text()) | {"settings": {"optim": {"epochs": 3}}}
    study_file.write_text(yaml.safe_dump(said))
    path = run_cell(Study.load(study_file), cell, here)
    assert read_results(path)[str(cell)]["curve"]["epoch"] == [1, 2, 3]


def test_a_stopped_study_goes_on_where_it_was(study_file, words, capsys):
    said = yaml.safe_load(study_file.read_text())
    said |= {"networks": {"TIM": said["networks"]["TIM"]}, "settings": {"optim": {"epochs": 80}}, "reference": ""}
    said |= {"folds": {"ann": said["folds"]["ann"]}}
    study_file.write_text(yaml.safe_dump(said))
    run = ["run", str(study_file), *words, "--threads", "1", "--workers", "0"]
    command = [sys.executable, "-m", "benchmarks.study", *run]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    study = Study.load(study_file)
    log = run_folder(study_file.parent / "work", study, study.cell("TIM/ann/0")) / "log.csv"
    deadline = time.monotonic() + 300
    while len(read_log(log)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130 and b"0 of 1 cells done; the same command goes on" in err
    before = read_log(log)
    assert 2 <= len(before) < 80
    assert main(run) == 0
    after = read_log(log)
    assert len(after) == 80 and after[: len(before)] == before  # what was learnt was not learnt again
    capsys.readouterr()
