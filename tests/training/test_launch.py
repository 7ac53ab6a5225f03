"""Runs on two nodes, which torchrun starts here on one machine: one process each, next to two processes of one node."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from teinet.cli.main import main
from teinet.errors import ConfigError
from teinet.training import launch
from teinet.training.rate_finder import RatesTried
from teinet.training.recipe import Recipe
from teinet.training.setup import hardware_of
from tests.conftest import command, environment, small

PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_nodes(*commands: list[str]) -> list[subprocess.Popen]:
    """Start torchrun for each command, as on nodes of their own."""
    port = free_port()
    words = [sys.executable, "-m", "torch.distributed.run", "--nnodes", len(commands), "--nproc_per_node", 1]
    words += ["--master_addr", "127.0.0.1", "--master_port", port]
    started = []
    for number, own in enumerate(commands):
        node = [*map(str, words), "--node_rank", str(number), *command(*own)[1:]]
        started.append(subprocess.Popen(node, env=environment(), process_group=0, **PIPES))
    return started


def kill(nodes: list[subprocess.Popen]) -> None:
    """Kill nodes and the processes that they started, which are in groups of their own."""
    for node in nodes:
        found = subprocess.run(["pgrep", "-P", str(node.pid)], capture_output=True, text=True)
        for process in (node.pid, *map(int, found.stdout.split())):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def end(nodes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Wait for nodes; their exit codes, outputs and errors."""
    try:
        texts = [node.communicate(timeout=120) for node in nodes]
    finally:
        kill(nodes)
    return [(node.returncode, *text) for node, text in zip(nodes, texts)]


def test_two_nodes_that_are_killed_and_resumed_learn_what_two_processes_do(clips, tmp_path, teinet, capsys):
    words = ["train", *small(clips, "--epochs", 2, "--batch-size", 2, "--lr", 0.02, "--output", tmp_path)]
    words += ["--run.save_every_steps", "1"]
    assert teinet(*words, "--name", "whole", "--devices", 2).returncode == 0
    run = tmp_path / "cut"
    nodes = start_nodes(*[[*words, "--name", "cut"]] * 2)
    state, began = run / "resume.ckpt", time.monotonic()
    while time.monotonic() - began < 100 and all(node.poll() is None for node in nodes):
        if state.exists() and torch.load(state, weights_only=True)["global_step"] >= 3:
            break
        time.sleep(0.01)
    kill(nodes)
    cut = [text for _, text, _ in end(nodes)]
    assert "9 train, 3 val" in cut[0] and "global batch 4" in cut[0] and not cut[1]  # the first one prints
    assert not (run / "last.safetensors").exists() or torch.load(state, weights_only=True)["global_step"] < 6
    assert main(["train", "--resume", str(run)]) == 2
    assert "began with 2 processes, and now there are 1" in capsys.readouterr().err
    found = end(start_nodes(*[["train", "--resume", str(run)]] * 2))
    assert [code for code, *_ in found] == [0, 0], found
    a, b = (load_file(folder / "last.safetensors") for folder in (tmp_path / "whole", run))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_nodes_with_other_clips_end_before_the_first_step(clips, tmp_path):
    for number, kept in enumerate((slice(None), slice(1, None))):
        rows = [f"{path},{path.parent.name}" for path in sorted(clips.rglob("*.mp4"))[kept]]
        (tmp_path / f"{number}.csv").write_text("\n".join(["path,label", *rows]))
    words = [["train", *small(tmp_path / f"{n}.csv", "--output", tmp_path / "runs", "--name", "x")] for n in (0, 1)]
    for code, text, errors in end(start_nodes(*words)):
        (line,) = [line for line in errors.splitlines() if line.startswith("teinet train: ")]
        assert code != 0 and "epoch" not in text
        assert "the processes of this run differ: process 0 has train clips (9 clips of 3 classes" in line
    assert not (tmp_path / "runs").exists()


def of_torchrun(size: int, local: int) -> dict[str, str]:
    return {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(local), "RANK": "1"}


def of_slurm(size: int, nodes: int) -> dict[str, str]:
    return {
        **{"SLURM_NTASKS": str(size), "SLURM_NNODES": str(nodes), "SLURM_JOB_NAME": "x", "SLURM_JOB_ID": "1"},
        **{"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODELIST": "a,b"},
    }


@pytest.mark.parametrize(
    ("variables", "processes", "devices"),
    [(of_torchrun(4, 2), 4, 2), (of_torchrun(1, 1), 1, 1), (of_slurm(6, 2), 6, 3), (of_slurm(1, 1), 1, 1), ({}, 1, 1)],
)
def test_the_launcher_says_how_many_there_are(variables, processes, devices, monkeypatch):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")  # restored afterwards
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    hardware = hardware_of(Recipe.load({"device": "cpu"}))
    assert (hardware.processes, hardware.devices) == (processes, devices)
    assert hardware.trainer_arguments()["num_nodes"] == processes // devices
    if "SLURM_PROCID" in variables and processes > 1:
        assert os.environ["RANK"] == os.environ["LOCAL_RANK"] == "1"


def test_tasks_of_slurm_train_together(clips, tmp_path):
    nodes, port = [], str(free_port())
    words = command("train", *small(clips, "--batch-size", 2, "--output", tmp_path, "--name", "x"))
    for number in range(2):
        own = of_slurm(2, 2) | {"SLURM_PROCID": str(number), "SLURM_LOCALID": "0", "SLURM_NODEID": str(number)}
        own |= {"SLURM_NODELIST": "127.0.0.1", "SLURM_NTASKS_PER_NODE": "1", "MASTER_PORT": port}
        nodes.append(subprocess.Popen(words, env=environment() | own, process_group=0, **PIPES))
    first, second = end(nodes)
    assert first[0] == second[0] == 0, (first, second)
    assert "global batch 4" in first[1] and "epoch 2/2" in first[1] and not second[1]


def test_counts_that_do_not_fit_are_refused(monkeypatch):
    for name, value in of_torchrun(4, 2).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="torchrun started 2 processes on each node; leave it out"):
        hardware_of(Recipe.load({"device": "cpu", "devices": 4}))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="start as many on each node"):
        launch.launched()


def test_a_folder_that_a_node_does_not_see_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(launch, "gather", lambda value: [tmp_path] if isinstance(value, Path) else [True, False])
    with pytest.raises(ConfigError, match=r"process 1 does not see the folder .* that all nodes share"):
        launch.share_folder(lambda: tmp_path)


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("way", ["--dry-run", "--find-lr"])
def test_what_trains_nothing_is_done_by_the_first_process(clips, way, rank, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, value in (of_torchrun(2, 2) | {"RANK": rank}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        "teinet.training.rate_finder.find_rate", lambda recipe: RatesTried([1e-3, 1e-2], [1.0, 0.5], 1, 1e-2)
    )
    assert main(["train", str(clips), "--model.pretrained", "false", "--device", "cpu", way]) == 0
    assert bool(capsys.readouterr().out) == (rank == "0")
    assert [path.name for path in tmp_path.iterdir()] == (["runs"] if (way, rank) == ("--find-lr", "0") else [])
