"""The command as a user meets it: help at once, mistakes in one line, several processes that speak with one voice."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from teinet import __version__
from teinet.cli.main import COMMANDS, main
from teinet.cli.train import parse_recipe
from teinet.data.lists.splits import DataConfig
from teinet.errors import AnnotationError, ConfigError
from teinet.evaluation.plan import Plan, folder_name
from teinet.models.header import list_pretrained
from teinet.training.recipe import Recipe
from teinet.training.settings import field_names
from tests.conftest import command, small


@pytest.fixture(scope="module")
def run(clips, tmp_path_factory) -> Path:
    """A trained run."""
    output = tmp_path_factory.mktemp("run")
    assert main(["train", *small(clips, "--output", output, "--name", "run", "--epochs", 1)]) == 0
    return output / "run"


def test_help_comes_within_a_second():
    # also the console script, which must import nothing heavy on its way to main
    script = Path(sys.executable).with_name("teinet")
    words = [str(script)] if script.exists() else [sys.executable, "-m", "teinet"]
    took = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run([*words, "--help"], capture_output=True, text=True, timeout=30)
        took.append(time.perf_counter() - began)
        assert done.returncode == 0 and all(name in done.stdout for name in COMMANDS)
    assert min(took) < 1


def test_what_needs_no_network_does_not_wait_for_torch(tmp_path):
    code = (
        "import sys; from teinet.cli.main import main; "
        "assert main(['models']) == 0 and main(['predict', 'clip.mp4']) == 2; "
        "assert not {'torch', 'timm', 'av', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "motion_pairs" in done.stderr and "teinet_resnet50\n" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    try:
        code = main([name, "--help"])
    except SystemExit as end:  # argparse
        code = end.code
    out, err = capsys.readouterr()
    assert code == 0 and not err and out.startswith(f"usage: teinet {name}") and len(out) > 150


def test_the_help_of_train_names_every_setting_in_a_hundred_columns(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = capsys.readouterr().out
    assert all(f" --{name} " in out for name in field_names(Recipe) if "." in name)
    assert max(map(len, out.splitlines())) <= 100 and "None" not in out
    assert out.index("teinet train videos/") < out.index("--epochs ") < out.index("--optim.epochs ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--help"], ""),
        ([".", "--backbone", "resnt50"], "no network 'resnt50'. Did you mean 'resnet50'"),
        ([".", "--model", "slowfast"], "Did you mean one of 'slowfast_resnet50_4x16', 'slowfast_resnet50_8x8', "),
        ([".", "--backbone", "slowfast"], "As a whole name: --model slowfast_resnet50_4x16"),
        ([".", "--model", "fights"], "to start from it: --weights fights"),
        ([".", "--pretrained", "fights"], "to start from fights: --weights fights"),
        (["slowfast"], "To train this network: --model slowfast_resnet50_4x16"),
    ],
)
def test_help_and_a_wrong_network_wait_for_no_torch(words, says, tmp_path):
    code = (
        f"import sys; from teinet.cli.main import main\ntry: main({['train', *words]})\nexcept SystemExit: pass\n"
        "assert not {'torch', 'lightning', 'av', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0 and says in done.stderr, done.stderr


def test_words_of_train_that_need_no_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips.csv").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").touch()
    assert parse_recipe(["videos/"]).recipe.data.path == "videos/"  # loading the list says that it is missing
    asked = parse_recipe(["small_data", "clips.csv", "--backbone", "resnet18", "--model.causal", "true"])
    assert (asked.recipe.data.path, asked.recipe.model.name) == ("clips.csv", "teinet_resnet18")
    assert asked.recipe.optim.schedule == "onecycle" and asked.sources == ("small_data",)
    for words, says in (
        (["clips.csv", "videos/"], "--data.val_path"), (["clips.csv", "--data", "b.csv"], "give one"),
        (["run"], "--resume run continues it, --weights run starts"), (["a.safetensors"], "--weights a.safetensors"),
        (["optim.lr=0.1"], "--optim.lr 0.1"), (["small_dat"], "Did you mean 'small_data'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=re.escape(says)):
            parse_recipe(words)


def test_words_that_are_no_command(capsys):
    assert main([]) == 2 and "usage" in capsys.readouterr().out
    assert main(["--version"]) == 0 and capsys.readouterr().out.strip() == __version__
    assert main(["trian"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "'trian'" in line and "Did you mean 'train'" in line and "teinet --help" in line


def test_models(capsys):
    assert main(["models", "tsm_*mobilenetv2_1?0"]) == 0
    assert "tsm_mobilenetv2_100" in capsys.readouterr().out.split()
    assert main(["models", "t*_resnet50", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    clip = {"name": "teinet_resnet50", "frames": 8, "size": 224}
    assert found["teinet_resnet50"] == {**clip, "parameters": 30_356_896, "gmacs": 32.880331264}
    assert main(["models", "tsn_resnet50"]) == 0
    assert re.search(r"tsn_resnet50 +8 x 224x224 +24.33 M +32.70", capsys.readouterr().out)
    assert main(["models", "--pretrained"]) == 0
    assert "fights " in (out := capsys.readouterr().out) and len(out.splitlines()) == len(list_pretrained())
    for word, try_ in (("nothing*", "*resnet*"), ("slowfast", "slowfast*"), ("resnet18", "*resnet18")):
        assert main(["models", word]) == 1
        assert f"no network matches {word!r}; try {try_!r}" in capsys.readouterr().err


def test_a_disk_that_cannot_be_written(run, clips, tmp_path, capsys):
    (tmp_path / "file").touch()
    for words in (
        ["train", *small(clips, "--output", tmp_path / "file", "--name", "x")],
        ["test", str(run), "--data", str(clips), "--workers", "0", "--output", str(tmp_path / "file")],
    ):
        assert main(words) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith(f"teinet {words[0]}: {tmp_path / 'file'}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("models"), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("teinet") and "No space left on device" in line


def raising(error: BaseException) -> Callable[[str], None]:
    def load(name: str) -> None:
        raise error

    return load


@pytest.mark.parametrize(
    ("error", "name", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "train", "teinet train: No space left on device"),
        (torch.OutOfMemoryError("CUDA out of memory."), "train", "optim.batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory."), "test", "--batch-size"),
        (torch.OutOfMemoryError("CUDA out of memory."), "predict", "--views"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "test", "--batch-size"),
    ],
)
def test_what_a_machine_lacks_is_said_in_one_line(monkeypatch, capsys, error, name, says):
    monkeypatch.setattr("teinet.cli.main.import_module", raising(error))
    assert main([name]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"teinet {name}: ") and says in line


def test_other_errors_are_not_hidden(monkeypatch):
    monkeypatch.setattr("teinet.cli.main.import_module", raising(RuntimeError("a mistake of ours")))
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        main(["train"])


def test_an_error_that_quotes_a_damaged_file_is_cut(monkeypatch, capsys):
    wrong = raising(AnnotationError("list.csv", f"label {'a' * 10**6!r} is wrong"))
    monkeypatch.setattr("teinet.cli.main.import_module", wrong)
    assert main(["train"]) == 2  # in time: to look for addresses in it took hours
    said = capsys.readouterr().err
    assert said.startswith("teinet train: list.csv: label 'aaa") and said.endswith("a...\n") and len(said) < 3000


def test_ctrl_c_while_a_command_loads(monkeypatch, capsys):
    monkeypatch.setattr("teinet.cli.main.import_module", raising(KeyboardInterrupt()))
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "teinet train: stopped\n"


def test_test_writes_its_tables(run, clips, capsys):
    assert main(["test", str(run), "--workers", "0", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["num_clips"] == 3 and numbers["split"] == "val" and numbers["top5_k"] == 3  # fewer than five classes
    folder = run / "test-1x1"
    rows = list(csv.DictReader((folder / "clips.csv").open()))
    assert numbers["top1"] == pytest.approx(sum(r["label"] == r["prediction"] for r in rows) / 3, abs=1e-6)
    assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")

    assert main(["test", str(run), "--data", str(clips), "--workers", "0"]) == 0
    out = capsys.readouterr().out
    assert f"{run} on all clips\n" in out and "12" in out and str(folder) in out
    assert "top-1" in out and "top-3" not in out  # of three classes it says nothing


def test_clips_that_trained_the_network_are_named_in_the_test_and_in_the_report(run, clips, tmp_path, capsys):
    shutil.copytree(clips / "resting", tmp_path / "some" / "resting")  # copies elsewhere, three of which trained it
    assert main(["test", str(run), "--data", str(tmp_path / "some"), "--workers", "0"]) == 0
    assert "this network was trained on 3 of these 4 clips" in capsys.readouterr().out
    assert main(["test", str(run), "--data", str(clips), "--workers", "0"]) == 0
    assert "this network was trained on 9 of these 12 clips" in capsys.readouterr().out
    assert main(["report", str(run)]) == 0
    assert "this network was trained on 9 of these 12 clips" in " ".join(capsys.readouterr().out.split())
    assert main(["test", str(run), "--workers", "0"]) == 0  # the held-out ones
    assert "network was trained" not in capsys.readouterr().out


def test_other_weights_of_a_run_leave_the_results_of_its_last_ones(run, capsys):
    assert main(["test", str(run), "--workers", "0"]) == 0
    before = (run / "test-1x1" / "metrics.json").read_text()
    assert main(["test", str(run / "best.safetensors"), "--workers", "0"]) == 0
    assert (run / "test-1x1" / "metrics.json").read_text() == before
    assert json.loads((run / "test-1x1-best" / "metrics.json").read_text())["weights"].endswith("best.safetensors")


def test_results_of_a_pretrained_model_lie_here_and_not_in_the_package(clips, run, tmp_path, monkeypatch, capsys):
    package = tmp_path / "weights"
    package.mkdir()
    shutil.copy(run / "last.safetensors", package / "mine.safetensors")
    for name in ("teinet.models.header.PRETRAINED", "teinet.evaluation.plan.PRETRAINED"):
        monkeypatch.setattr(name, package)
    monkeypatch.chdir(tmp_path)
    assert main(["test", "mine", "--data", str(clips), "--workers", "0"]) == 0
    assert "mine was trained on" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs" / "mine").iterdir()
    assert (folder / "metrics.json").is_file() and os.listdir(package) == ["mine.safetensors"]
    assert main(["report", "runs"]) == 0 and "mine" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "says"), [
    (("--data", "nowhere"), "nowhere: no such file"), (("--select", "who=1"), "no column 'who'"),
    (("--batch-size", "0"), "--batch-size is 0"),
    (("--devices", "999", "--device", "cuda", "--overwrite"), "torch finds"),
])  # fmt: skip
def test_wrong_words_for_test_end_in_one_line(run, words, says, capsys):
    assert main(["test", str(run), *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line and line.startswith("teinet test: ")


def test_scores_on_disk_are_shown_without_torch(run, tmp_path):
    code = (
        "import sys; from teinet.cli.main import main\n"
        "code = main(['test', sys.argv[1], '--workers', '0', '--output', sys.argv[2]])\n"
        "print(code, bool({'torch', 'lightning', 'timm'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, str(run), str(tmp_path / "t")]
    done = [subprocess.run(words, capture_output=True, text=True, timeout=100) for _ in range(2)]
    assert [each.stdout.split()[-2:] for each in done] == [["0", "True"], ["0", "False"]], done
    assert "scores of an earlier test" in done[1].stdout


def test_test_refuses_labels_that_the_network_does_not_know(run, clips, tmp_path, capsys):
    (tmp_path / "list.csv").write_text(f"path,label\n{clips / 'resting' / '1.mp4'},restng\n")
    assert main(["test", str(run), "--data", str(tmp_path / "list.csv")]) == 2
    assert "line 2: label 'restng'" in (err := capsys.readouterr().err) and "Did you mean 'resting'" in err
    assert main(["test", str(tmp_path)]) == 2 and "last.safetensors" in capsys.readouterr().err


def test_training_in_two_processes(clips, tmp_path, teinet):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    rows = [f"{p},{p.parent.name},{'val' if p.stem == '0' else 'train'}" for p in sorted(clips.rglob("*.mp4"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows, "bad.mp4,resting,train"]))
    words = small(tmp_path / "list.csv", "--devices", 2, "--lr", 0.01, "--output", "runs", "--run.max_unreadable", 0.2)
    done = teinet("train", *words)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 1  # the clip that cannot be read, if the first process drew it
    assert "1 of 10 training clips could not be read and were skipped" in done.stdout
    for said in ("\nNext:", "learning rate", "epoch 1/2", "epoch 2/2", "10 train, 3 val"):
        assert done.stdout.count(said) == 1, done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    log = list(csv.DictReader((folder / "log.csv").open()))
    assert [row["step"] for row in log] == ["2", "4"]  # 10 clips, 5 a process, at most 3 a step
    hits = [float(row["top1"]) * 9 for row in log]  # of the 9 readable ones, of both processes together
    assert hits == pytest.approx([round(n) for n in hits], abs=1e-3)
    (row,) = csv.DictReader((folder / "unreadable.csv").open())
    assert row["path"].endswith("bad.mp4")
    facts = json.loads((folder / "run.json").read_text())
    assert facts["learning_rate"] == pytest.approx(0.01 * 6 / 64) and "finished" in facts


def test_a_bad_loss_in_two_processes_stops_both(clips, tmp_path, teinet):
    done = teinet("train", *small(clips, "--devices", 2, "--name", "run", "--lr", 1e30, "--batch-size", 2), timeout=180)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "the loss is" in line


def test_tests_of_other_clips_overwrite_nothing():
    of = {"data": DataConfig(path="/a/clips.csv")}
    plans = (Plan(), Plan(averaging="logits"), Plan(split="val"), Plan(**of), Plan(**of, select="subject=1,2"))
    names = ["test-1x1", "test-1x1-logits", "test-1x1-val", "test-1x1-a-clips", "test-1x1-a-clips-subject=1,2"]
    assert [folder_name(plan) for plan in plans] == names
