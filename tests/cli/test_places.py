"""What a command writes never lies over what it reads, and that it cannot be written is said before the work."""

from __future__ import annotations

import os
import shutil

import pytest

from teinet.cli.main import main
from teinet.cli.options import check_file, keep_apart
from teinet.errors import ConfigError
from teinet.utils.text import printable
from tests.cli.test_timeline import place  # noqa: F401


@pytest.fixture
def here(place, tmp_path, monkeypatch):  # noqa: F811
    """A film, its annotations and the weights, in the folder where commands run."""
    shutil.copy(place / "films" / "3.mp4", tmp_path / "film.mp4")
    shutil.copy(place / "weights.safetensors", tmp_path)
    (tmp_path / "truth.csv").write_text("path,start,end,label\nfilm.mp4,0,1,resting\n")
    os.link(tmp_path / "truth.csv", tmp_path / "same.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


WATCH = ("watch", "weights.safetensors", "x=film.mp4", "--fast")
TIMELINE = ("timeline", "weights.safetensors", "film.mp4")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*TIMELINE, "--output", "film.mp4"), "--output film.mp4: the suffix chooses the format; it must be .json"),
        (
            (*TIMELINE, "--truth", "truth.csv", "--output", "truth.csv"),
            "--output truth.csv would write over a file which",
        ),
        ((*TIMELINE, "--truth", "truth.csv", "--output", "./same.csv"), "--output ./same.csv would"),  # by another name
        ((*TIMELINE, "--output", "a.csv", "--scores", "a.csv"), "--scores a.csv would write over a file that --output"),
        (
            ("watch", "weights.safetensors", "x=film.mp4", "--fast", "--output", "film.mp4"),
            "--output film.mp4: the suffix",
        ),
        (("data", "check", "truth.csv", "--output", "truth.csv"), "--output truth.csv would"),
        ((*TIMELINE, "--output", "none/a.csv"), "none/a.csv: cannot be written (its folder does not exist)"),
        ((*TIMELINE, "--scores", "full.npz"), "cannot be written"),
        (("predict", "weights.safetensors", "film.mp4", "--output", "."), ".: cannot be written (it is a folder)"),
        (
            ("watch", "weights.safetensors", "film.mp4", "--output", "none/a.jsonl"),
            "none/a.jsonl: cannot be written (its folder",
        ),
    ],
)
def test_it_is_said_before_the_work_and_nothing_is_lost(here, capsys, words, said):
    (here / "full.npz").symlink_to("/proc/no-such-folder/x.npz")
    before = {file.name: file.read_bytes() for file in here.iterdir() if file.is_file()}
    assert main(list(words)) == 2
    assert said in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in here.iterdir() if file.is_file()} == before


def test_what_may_be_written_is_let_be(here):
    keep_apart({"--output": "new.csv", "--page": None, "--scores": "new.npz"}, ["film.mp4", "absent.mp4"])
    keep_apart({"--output": "/dev/stdout", "--page": "/dev/stdout"}, ["/dev/stdin"])
    for path in ("new.csv", "film.mp4", "/dev/null"):
        check_file(path)


def test_a_link_that_leads_nowhere_is_no_place(here):
    (here / "link.csv").symlink_to(here / "absent" / "file.csv")
    with pytest.raises(ConfigError, match="cannot be written"):
        check_file("link.csv")


def test_what_would_steer_a_terminal_or_end_a_line_is_not_shown():
    assert printable("left\x1b[2J\nright\x9b1m\u2028end \udcff") == "left?[2J right?1m?end ?"
    assert printable("grüßt 你好 👋") == "grüßt 你好 👋"
