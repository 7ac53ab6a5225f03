"""Damaged files: each is a line with its run and its name, and everything else is reported."""

from __future__ import annotations

import json

import pytest

from teinet.cli.main import main
from teinet.report import compare
from tests.report.conftest import NAMES, meta, recipe, write_run, write_scores

DAMAGE = [
    ("recipe.yaml", b"data: [1, 2"),
    ("recipe.yaml", b"model: !!python/object:os.system {}\n"),
    ("recipe.yaml", b"model: {a: &a [1, *a]}\n"),
    ("run.json", b'{"seed": 0'),
    ("run.json", b"[" * 100_000),
    ("log.csv", b"epoch,loss\n1,0.5\n2"),
    ("unreadable.csv", b'"' + b"x" * 200_000),
    ("test-1x1/metrics.json", b'{"accuracy": 0.9}'),
    ("test-1x1/confusion.png", b"root:x:0:0:"),  # a link to a file that a page must not show
    ("test-1x1/metrics.json", b'{"top1": 40, "num_clips": 5, "views": "1x1"}'),
]


@pytest.mark.parametrize(("name", "content"), DAMAGE, ids=lambda part: part[:24] if isinstance(part, bytes) else part)
def test_a_damaged_file_is_named_and_the_rest_reported(runs, capsys, name, content):
    broken = write_run(runs / "broken")
    write_scores(broken / "test-1x1", dict.fromkeys(NAMES, 0.5), **meta())
    write_run(runs / "whole", tests={"1x1": (0.4567, 0.7)})
    (broken / name).write_bytes(content)
    assert main(["report", str(runs)]) == 1
    out, err = capsys.readouterr()
    (line,) = err.strip().splitlines()
    assert line.startswith(f"{broken}: ") and name.rpartition("/")[2] in line and len(line) < 400
    assert "45.7" in out and "broken" in out
    assert main(["report", str(runs), "--json"]) == 1
    one, other = json.loads(capsys.readouterr().out)["runs"]
    assert one["problems"] and not other["problems"]


@pytest.mark.parametrize("name", ["recipe.yaml", "run.json"])
def test_a_file_that_every_run_has_is_missed(runs, name):
    run = write_run(runs / "a")
    (run / name).unlink()
    assert compare([run]).runs[0].problems == [f"{name} is missing"]


def test_names_that_are_no_utf8_or_markup(runs, tmp_path, capsys):
    names = ("a\udcff", "[bold]b", "<b>c|d", "_e $x$")
    for name in names:
        write_run(runs / name, recipe(run__license=name), epochs=0, command=["teinet", name], tests={"1x1": (0.5, 0.7)})
    for words in ([], ["--output", str(tmp_path / "p.html")], ["--json"]):
        assert main(["report", str(runs), *words]) == 0
    page = (tmp_path / "p.html").read_text()
    assert "a?" in page and "[bold]b" in page and "&lt;b&gt;c|d" in page and "<b>c" not in page
    assert "[bold]b" in capsys.readouterr().out
