"""A run that is killed or stopped inside an epoch, and resumed, ends with the weights and log of an undisturbed one."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from teinet.cli.main import main
from teinet.training.callbacks import TrainingProgress
from teinet.training.module import TrainingModule
from tests.conftest import command, environment, small

# five steps an epoch, a state after every step
SLOW = ("--epochs", 3, "--batch-size", 2, "--run.save_every_steps", 1, "--clip.hflip", "true")


def train(clips: Path, output: Path, name: str, *more: object) -> list[str]:
    return ["train", *small(clips, *SLOW, "--output", output, "--name", name, *more)]


def interrupt(
    words: list[str], run: Path, number: signal.Signals, *, at_step: int, to_all: bool = False
) -> tuple[int, str, dict]:
    """Start a run, send it a signal once it saved the state of `at_step` steps; its exit code, errors and state.

    `to_all` sends the signal to the run's workers too.
    """
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command(*words), env=environment(), process_group=0, **pipes)
    state, began = run / "resume.ckpt", time.monotonic()
    try:
        while process.poll() is None and time.monotonic() - began < 120:
            if state.exists() and torch.load(state, weights_only=True)["global_step"] >= at_step:
                break
            time.sleep(0.005)
        if to_all:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        errors = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.wait()
    return process.returncode, errors, torch.load(state, weights_only=True)


def log(run: Path) -> list[dict]:
    """The lines of a run's log without the times, which no two runs share."""
    rows = list(csv.DictReader((run / "log.csv").open()))
    return [{k: v for k, v in row.items() if k not in ("seconds", "data_share")} for row in rows]


def resume_and_compare(run: Path, whole: Path) -> None:
    """Resume a run; its weights and log are then those of the whole one."""
    assert main(["train", "--resume", str(run)]) == 0
    a, b = load_file(run / "last.safetensors"), load_file(whole / "last.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert log(run) == log(whole) and len(log(run)) == 3


def at_step(patch: pytest.MonkeyPatch, number: int, do: Callable[[], None]) -> None:
    """Let something happen before the step after `number` steps."""
    step = TrainingModule.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == number:
            do()
        return step(self, batch, batch_idx)

    patch.setattr(TrainingModule, "training_step", training_step)


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory) -> dict[int, Path]:
    """Runs that nobody disturbed, by how many steps they add up; made in this very process."""
    output = tmp_path_factory.mktemp("whole")
    for accumulate in (1, 2):
        assert main(train(clips, output, str(accumulate), "--optim.accumulate", accumulate)) == 0
    return {accumulate: output / str(accumulate) for accumulate in (1, 2)}


def test_kill_in_the_middle_of_an_epoch(clips, whole, tmp_path, capfd):
    words = train(clips, tmp_path, "run", "--workers", 2, "--optim.accumulate", 2)
    code, _, state = interrupt(words, tmp_path / "run", signal.SIGKILL, at_step=4)
    assert code == -signal.SIGKILL and 4 <= state["global_step"] < 9
    resume_and_compare(tmp_path / "run", whole[2])


def test_ctrl_c_says_how_to_go_on_and_goes_on(clips, whole, tmp_path, capsys):
    run = tmp_path / "run"
    code, errors, state = interrupt(train(clips, tmp_path, "run"), run, signal.SIGINT, at_step=6)
    assert code == 130
    (line,) = errors.strip().splitlines()
    assert f"teinet train --resume {run}" in line and f"step {(state['global_step'] - 1) % 5 + 1} of 5" in line
    resume_and_compare(run, whole[1])
    capsys.readouterr()
    files = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert main(["train", "--resume", str(run)]) == 0  # a finished run
    assert "finished" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == files


def test_sigterm_to_all_processes_of_a_run_is_a_clean_stop(clips, whole, tmp_path):
    """As systemd, docker and batch systems send it: the workers get it too."""
    run, words = tmp_path / "run", train(clips, tmp_path, "run", "--workers", 2)
    code, errors, _ = interrupt(words, run, signal.SIGTERM, at_step=6, to_all=True)
    (line,) = errors.strip().splitlines()
    assert code == 130 and f"teinet train --resume {run}" in line
    resume_and_compare(run, whole[1])


def test_a_second_ctrl_c_stops_at_once_and_says_how_to_go_on(clips, whole, tmp_path, monkeypatch, capsys):
    def press_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 7, press_twice)
        assert main(train(clips, tmp_path, "run")) == 130
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "stopped at once" in line and f"teinet train --resume {run}" in line
    resume_and_compare(run, whole[1])


class Stop(Exception):
    """What stands for a machine that goes down."""


def train_8_steps(words: list[str]) -> None:
    """Begin a run and let the machine go down."""

    def go_down() -> None:
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 8, go_down)
        with pytest.raises(Stop):
            main(words)


@pytest.mark.parametrize("moment", ["on_validation_start", "on_train_epoch_end"])
def test_stopped_at_the_end_of_an_epoch(clips, whole, tmp_path, monkeypatch, moment):
    # no state but those after whole epochs and steps; here the run dies at the seam between two epochs
    before = getattr(TrainingProgress, moment, None)

    def die(self, trainer, module):
        if trainer.current_epoch == 1:
            raise Stop
        if before:
            before(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, moment, die, raising=False)
        with pytest.raises(Stop):
            main(train(clips, tmp_path, "run"))
    resume_and_compare(tmp_path / "run", whole[1])


def test_a_worse_epoch_after_a_resume_is_not_the_best(clips, tmp_path, monkeypatch):
    log_dict = TrainingModule.log_dict

    def scored(self, values, **settings):
        if "val_top1" in values:
            values = {**values, "val_top1": (0.75, 0.25, 0.5)[self.current_epoch]}
        log_dict(self, values, **settings)

    monkeypatch.setattr(TrainingModule, "log_dict", scored)
    train_8_steps(train(clips, tmp_path, "run"))
    best = (tmp_path / "run" / "best.safetensors").read_bytes()
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert [row["val_top1"] for row in log(tmp_path / "run")] == ["0.75000", "0.25000", "0.50000"]
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == best


@pytest.mark.parametrize(("every_steps", "workers"), [(2, 0), (0, 2)])
def test_states_between_which_a_run_is_lost(clips, whole, tmp_path, every_steps, workers):
    words = ("--run.save_every_steps", every_steps, "--workers", workers)
    train_8_steps(train(clips, tmp_path, "run", *words))
    state = torch.load(tmp_path / "run" / "resume.ckpt", weights_only=True)
    assert state["global_step"] == {0: 5, 2: 8}[every_steps]  # the end of the first epoch, or of step 8
    resume_and_compare(tmp_path / "run", whole[1])


def test_what_cannot_be_resumed(clips, whole, tmp_path, capsys):
    def refused(*words: object) -> str:
        assert main([str(word) for word in ("train", "--resume", *words)]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    assert "is not a run" in refused(tmp_path) and "is not a run" in refused(tmp_path / "nowhere")
    assert "own recipe" in refused(whole[1], "--lr", 1)
    (tmp_path / "recipe.yaml").write_bytes((whole[1] / "recipe.yaml").read_bytes())
    assert "resume.ckpt" in refused(tmp_path)
    (tmp_path / "resume.ckpt").write_bytes((whole[1] / "resume.ckpt").read_bytes()[:5000])
    assert "resume.ckpt" in refused(tmp_path)
    assert main(train(clips, whole[1].parent, whole[1].name)) == 2
    assert "holds a run; continue it" in capsys.readouterr().err


def test_a_folder_belongs_to_one_process_at_a_time(clips, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    with FileLock(run / ".lock"):
        assert main(train(clips, tmp_path, "run", "--epochs", 1)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"another process is training in {run};" in line
    assert [path.name for path in run.iterdir() if path.name != ".lock"] == []
    assert main(train(clips, tmp_path, "run", "--epochs", 1)) == 0  # the lock that is left stands in nobody's way


def test_changed_clips_are_another_run(clips, whole, tmp_path, capsys):
    mine, run = tmp_path / "clips", tmp_path / "run"
    shutil.copytree(clips, mine)
    shutil.copytree(whole[1], run)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(clips), str(mine)))
    assert main(["train", "--resume", str(run)]) == 0  # finished
    moved = mine.rename(tmp_path / "moved")
    assert main(["train", "--resume", str(run)]) == 2
    assert f"{mine}: no such file or folder; this path is from the run's recipe" in capsys.readouterr().err
    assert main(["train", "--resume", str(run), "--data", str(moved)]) == 0
    mine = moved.rename(mine)
    (mine / "resting" / "0.mp4").rename(mine / "resting" / "9.mp4")
    assert main(["train", "--resume", str(run)]) == 2
    assert "clips are not those" in (said := capsys.readouterr().err) and f"(--weights {run})" in said
