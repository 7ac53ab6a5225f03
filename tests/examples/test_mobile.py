"""The recipes for phones, where their converters are installed: the same answers as PyTorch's, in a file."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import environment

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("module", "example", "suffix"), [
    ("litert_torch", "export_litert.py", ".tflite"), ("executorch", "export_executorch.py", ".pte"),
])  # fmt: skip
def test_a_file_for_phones(module, example, suffix, tmp_path):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install 'teinet[{module.removesuffix('_torch')}]'")
    words = [sys.executable, EXAMPLES / example, "motion_pairs", tmp_path / f"file{suffix}"]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "24 clips: 100.0 % the same top-1" in done.stdout
    assert (tmp_path / f"file{suffix}").stat().st_size > 1_000_000
