"""The core installation recognizes; a command that needs more says in one line what to install."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import environment

# Blocks the extras' modules as if they were not installed, then runs commands in this one process.
SCRIPT = r"""
import sys
from teinet.errors import EXTRAS
for name in sum(EXTRAS.values(), ()):
    if name not in ("yaml", "filelock", "jinja2"):  # timm and torch bring these
        sys.modules[name] = None
from pathlib import Path
from teinet.cli.main import main
Path("run").mkdir()
Path("run/run.json").write_text("{}")
Path("run/recipe.yaml").write_text("row: null")
clip, folder = sys.argv[1:]
Path("list.csv").write_text(f"path,label\n{clip},emptying\n")
for words in (
    ("models", "tsn_resnet18"),
    ("predict", "motion_pairs", clip),
    ("timeline", "motion_pairs", clip),
    ("watch", "motion_pairs_causal", clip, "--fast"),
    ("data", "inspect", folder),
    ("report", "run"),
    ("info",),
):
    assert main(words) == 0, words
for words in (
    ("train", "--data", folder),
    ("test", "motion_pairs", "--data", "list.csv"),
    ("explain", "motion_pairs", clip, "--output", "page.html"),
    ("timeline", "motion_pairs", clip, folder, "--workers", "2"),
):
    assert main(words) == 2, words
"""


def test_the_core_recognizes_and_the_rest_names_its_extra(clips, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(clips / "resting" / "0.mp4"), str(clips)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    asked = [line.partition("pip install ")[2] for line in done.stderr.splitlines() if "pip install" in line]
    assert "train              missing: lightning" in done.stdout
    assert asked == ["'teinet[train]'", "'teinet[train]'", "'teinet[report]'", "'teinet[train]'"]
