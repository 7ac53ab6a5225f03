"""`teinet data` as a user meets it: what is printed, exit codes, Ctrl-C and kills in the middle of the work."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from teinet.cli.data import ACTIONS
from teinet.cli.main import main
from teinet.cli.train import parse_recipe
from teinet.data.lists.splits import load_splits
from tests.conftest import command, environment


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_help(action, capsys):
    with pytest.raises(SystemExit) as end:
        main(["data", action, "--help"])
    out, err = capsys.readouterr()
    assert end.value.code == 0 and not err and out.startswith(f"usage: teinet data {action}")


@pytest.mark.parametrize(("words", "says"), [
    (("chek", "x"), "Did you mean 'check'"), (("check", "nowhere"), "nowhere: no such file"),
    (("check", "{clips}/resting/0.mp4"), "is a video; give a folder"),
    (("inspect", "{clips}", "--sample", "-1"), "--sample is -1"),
    (("inspect", "{clips}", "--format", "tabel"), "Did you mean 'table'"),
    (("shrink", "{clips}", "--output", "{clips}/small"), "is inside a folder of the clips"),
    (("convert", "{clips}", "--output", "out.txt"), "must end in .csv"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(words, says, clips, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", *(word.format(clips=clips) for word in words)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"teinet data {words[0]}: " if words[0] in ACTIONS else "teinet data: ") and says in line
    assert not list(tmp_path.iterdir())


def test_without_an_action_the_actions_are_listed(capsys):
    assert main(["data"]) == 2
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in ACTIONS)


def test_inspect(clips, capsys):
    assert main(["data", "inspect", str(clips), "--sample", "5"]) == 0
    out = capsys.readouterr().out
    assert "folders: a folder per class (detected)" in out and "12 in 12 files" in out
    assert main(["data", "inspect", str(clips), "--format", "folders", "--sample", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["clips"] == 12 and found["classes"]["resting"] == {"": 4} and not found["found_out"]
    assert found["sample"]["ranges"]["frames"] == {"min": 6, "median": 6, "max": 6}
    assert found["hflip"] == [["moving left", "moving right"]]


def test_check_and_its_exit_code(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "check", str(clips), "--workers", "0"]) == 0
    assert "12 files of 12 clips: 12 ok\n" in capsys.readouterr().out
    assert len((tmp_path / f"{clips.name}-check.csv").read_text().splitlines()) == 13
    (tmp_path / "[bad].mp4").write_bytes(b"no video")
    (tmp_path / "list.csv").write_text(f"path,label\n[bad].mp4,x\ngone.mp4,x\n{clips}/resting/0.mp4,x\n")
    words = ["data", "check", "list.csv", "--workers", "0", "--output", "c.csv"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert (
        "[bad].mp4" in out and "but a text file" in out and "list.csv, line 3" in out and "1 broken, 1 missing" in out
    )
    assert main([*words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] == found["broken"] == found["missing"] == 1
    assert [(b["status"], b["line"]) for b in found["bad"]] == [("broken", 2), ("missing", 3)]
    (tmp_path / "list.csv").write_text(f"path,label\n{clips}/resting/0.mp4,x\n{clips}/resting/1.mp4,x\n")
    assert main(words) == 0
    assert "rows of 2 files that this list does not name were removed" in capsys.readouterr().out


def test_clips_that_no_copy_of_a_data_set_has_are_no_fault(clips, tmp_path, capsys):
    rows = "label,youtube_id,time_start,time_end,split\nresting,0,0,1,train\nresting,gone,0,1,train\n"
    (tmp_path / "train.csv").write_text(rows)
    words = ["data", "check", str(tmp_path / "train.csv"), "--root", str(clips / "resting"), "--workers", "0"]
    assert main([*words, "--output", str(tmp_path / "check.csv")]) == 0
    assert "1 ok, 1 missing" in capsys.readouterr().out


def test_shrink_then_train_on_it(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "bad.mp4").write_bytes(b"no video")
    rows = [f"{p},{p.parent.name}" for p in sorted(clips.rglob("*.mp4"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    words = ["data", "shrink", "list.csv", "--output", "small", "--short-side", "16", "--workers", "0"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "list of 12 clips: small/clips.csv" in out
    assert "Next: teinet train small/clips.csv --labels small/labels.txt" in out
    recipe = parse_recipe(out.strip().splitlines()[-1].split()[3:]).recipe
    assert sum(map(len, load_splits(recipe.data).values())) == 12
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows, "more/bad.mp4,resting"]))
    assert main([*words[:4], "other", *words[5:], "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["clips"] == 12 and found["unreadable"][0]["line"] == 14


def test_copies_that_are_larger_are_not_to_be_trained_on(clips, tmp_path, capsys):
    words = ["data", "shrink", str(clips), "--output", str(tmp_path / "large"), "--quality", "0", "--workers", "0"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "train on the originals" in out and "Next: " not in out


def test_a_column_that_may_hold_the_labels_and_labels_that_are_no_classes(tmp_path, capsys):
    for column in ("labl", "Class"):
        (tmp_path / "list.csv").write_text(f"path,{column}\ngone.mp4,a\n")
        meant = f"add a column `label` to the csv; did you mean `label` by the column `{column}`?"
        assert main(["data", "inspect", str(tmp_path / "list.csv")]) == 0
        assert meant in " ".join(capsys.readouterr().out.split())
        assert main(["train", str(tmp_path / "list.csv")]) == 2
        assert meant in capsys.readouterr().err  # before the clip is said to be missing
    (tmp_path / "list.csv").write_text("path,label\ngone.mp4,a\n")
    (tmp_path / "names.txt").write_text("b\n")
    assert main(["data", "inspect", str(tmp_path / "list.csv"), "--labels", str(tmp_path / "names.txt")]) == 2
    assert "unknown label" in capsys.readouterr().out


def test_convert(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "convert", str(clips), "--output", "out.csv"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "Next: teinet train out.csv --labels out.labels.txt"
    assert main(["data", "convert", str(clips), "--output", "out.csv"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["data", "convert", str(clips), "--output", "out.csv", "--overwrite", "--absolute"]) == 0
    (first, *_) = csv.DictReader((tmp_path / "out.csv").open())
    assert first == {"path": str(clips / "moving left" / "0.mp4"), "label": "moving left"}


@pytest.fixture(scope="module")
def many(clips, tmp_path_factory) -> Path:
    """So many clips that there is time to interrupt."""
    folder = tmp_path_factory.mktemp("many") / "videos"
    for source in sorted(clips.rglob("*.mp4")):
        (folder / source.parent.name).mkdir(parents=True, exist_ok=True)
        for number in range(20):
            os.link(source, folder / source.parent.name / f"{source.stem}_{number}.mp4")
    return folder


def interrupt(words: list[object], signal_number: int, begun, folder: Path) -> tuple[int, str]:
    """Run a command as a terminal does, in a process group of its own; send the signal once `begun()` says so."""
    process = subprocess.Popen(
        command(*words), cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = time.monotonic() + 60
    while not begun() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal_number)
    return process.wait(30), process.stderr.read()


def test_shrink_stops_at_ctrl_c_and_continues(many, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["data", "shrink", many, "--output", "small", "--short-side", 16]
    journal = tmp_path / "small" / "shrink.jsonl"

    def written() -> int:
        return journal.read_text().count('"bytes"') if journal.exists() else 0

    code, said = interrupt([*words, "--workers", 2], signal.SIGINT, lambda: written() > 10, tmp_path)
    assert code == 130 and (first := written()) > 10
    (line,) = said.strip().splitlines()  # the processes, which Ctrl-C reaches too, say nothing
    assert f"stopped after {first} of 240 files" in line and "run the same command to continue" in line
    assert not (tmp_path / "small" / "clips.csv").exists()
    assert not list(tmp_path.rglob("*.part"))
    for folder in many.iterdir():  # a few of them are enough
        for path in sorted(folder.iterdir()):
            if int(path.stem.partition("_")[2]) >= 5:
                path.unlink()
    assert main(list(map(str, [*words, "--workers", 0]))) == 0
    assert len((tmp_path / "small" / "clips.csv").read_text().splitlines()) == 12 * 5 + 1
