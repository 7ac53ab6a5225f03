"""What several rooms' tests share: a dozen drawn clips, the real data, the command run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.hub import Hub, running

CLASSES = ("moving left", "moving right", "resting")
MALLOC = "MALLOC_TRIM_THRESHOLD_"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights next to the repository; without it the test is skipped."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("the real data (../shared) is not there")
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """Three class folders of four small .mp4 files each: a bright square that moves over noise, or rests."""
    from teinet.data.video.writer import write_video

    root = tmp_path_factory.mktemp("drawn") / "clips"
    rng = np.random.default_rng(0)
    for name, speed in zip(CLASSES, (-3, 3, 0)):
        (root / name).mkdir(parents=True)
        for number in range(4):
            frames = rng.integers(0, 90, (6, 36, 48, 3), dtype=np.uint8)
            for t, frame in enumerate(frames):
                left = 18 + speed * (t - 3) + number
                frame[10 + number : 20 + number, left : left + 10] = 230
            write_video(root / name / f"{number}.mp4", frames, 10)
    return root


@pytest.fixture(scope="session", autouse=True)
def own_cache_of_session(tmp_path_factory) -> None:
    """Keep the index cache of the tests, and of the commands that they start, out of the user's home."""
    os.environ["TEINET_CACHE"] = str(tmp_path_factory.getbasetemp() / "teinet-cache")


@pytest.fixture(scope="session", autouse=True)
def freed_memory_goes_back() -> None:
    """Let no command that a test runs in this process set that freed memory stays: it would for the whole suite.

    A worker then holds the peak of each of its tests, in a heap that is full of holes: 4.5 GB at the end.
    """
    os.environ.setdefault(MALLOC, "131072")  # glibc's own value; read when a process starts, so this one is unchanged


@pytest.fixture(scope="session", autouse=True)
def compile_in_this_process() -> None:
    """Let torch.compile start no processes of its own: each would import torch, and the suite's cores are taken."""
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Hub]:
    """A hub on loopback, to which this process and the commands that it starts go, without their user's token."""
    import huggingface_hub
    from huggingface_hub import constants

    with running() as server:
        places = {"HF_HUB_CACHE": str(tmp_path / "hub-cache"), "HF_TOKEN_PATH": str(tmp_path / "no-token")}
        for name, value in {**places, "HF_ENDPOINT": server.address, "HF_HUB_DISABLE_XET": "1"}.items():
            monkeypatch.setenv(name, value)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1,localhost")
        url = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        changed = {**places, "ENDPOINT": server.address, "HUGGINGFACE_CO_URL_TEMPLATE": url}
        for name, value in {**changed, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
            monkeypatch.setattr(constants, name, value)
        huggingface_hub.close_session()
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def teinet(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Run `python -m teinet WORDS` in the test's folder, on one thread; returns what it printed and its exit code."""

    def run(*words: object, timeout: float = 150) -> subprocess.CompletedProcess:
        return subprocess.run(
            command(*words), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=timeout
        )

    return run


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "teinet", *map(str, words)]


def environment() -> dict[str, str]:
    """The environment of commands in processes of their own, which treat memory as a user's do."""
    inherited = {name: value for name, value in os.environ.items() if name != MALLOC}
    return {**inherited, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def small(clips: Path, *more: object) -> list[str]:
    """The words after `teinet train` for the smallest run: six clips an epoch to learn from, three a step."""
    words = (
        *("--data", clips, "--model", "teinet_resnet10t", "--model.pretrained", "false", "--frames", 2, "--size", 32),
        *("--epochs", 2, "--batch-size", 3, "--workers", 0, "--device", "cpu", "--data.val_share", 0.25),
    )
    return [str(word) for word in (*words, *more)]
