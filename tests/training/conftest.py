"""Training runs of a few clips, by the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from teinet.cli.main import main
from tests.conftest import small


@pytest.fixture
def train(clips, tmp_path, capfd):
    """Train into tmp_path/run; returns the exit code, the run's folder and the lines on stderr."""

    def call(*more: object, recipe: str | None = None, data: Path = clips) -> tuple[int, Path, list[str]]:
        words = small(data, "--output", tmp_path, "--name", "run", *more)
        if recipe is not None:
            (tmp_path / "recipe.yaml").write_text(recipe)
            words.insert(0, str(tmp_path / "recipe.yaml"))
        capfd.readouterr()
        code = main(["train", *words])
        out, err = capfd.readouterr()
        lines = err.strip().splitlines()
        assert not any(line.removeprefix("teinet train: ") in out for line in lines), "said on stdout and on stderr"
        return code, tmp_path / "run", lines

    return call
