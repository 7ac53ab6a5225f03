"""The page and the terminal's table: what they show, and that the page needs no other file."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest

from teinet.cli.main import main
from teinet.pages.comparison import write_page
from teinet.report import compare
from teinet.report.terminal import lines, setting
from tests.report.conftest import NAMES, meta, recipe, write_run, write_scores


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Two seeds of TEINet, a TSM with whole tests, and an unfinished TSN: compared, and as a page."""
    runs = tmp_path_factory.mktemp("four") / "runs"
    write_run(runs / "teinet-1", tests={"1x1": (0.468, 0.759), "10x3": (0.48, 0.77)})
    write_run(runs / "teinet-2", recipe(run__seed=1), tests={"1x1": (0.472, 0.763)})
    tsm = write_run(runs / "tsm", recipe("something_v1/tsm_8f"), learning_rate=0.005)
    shares = dict(zip(NAMES, (1, 0.5, 0.5, 0.25, 0)))
    write_scores(tsm / "test-1x1", shares, image=True, **meta("something_v1/tsm_8f"))
    write_run(runs / "tsn", recipe("something_v1/tsn_8f"), epochs=3, finished=None)
    comparison = compare([runs])
    write_page(comparison, runs.parent / "page.html")
    assert [path.name for path in runs.parent.iterdir() if path != runs] == ["page.html"]
    return comparison, (runs.parent / "page.html").read_text()


def rows_of(page: str) -> list[tuple[str, ...]]:
    """The table rows of a page as texts, each cell in the column that it stands in."""
    rows = []
    for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL):
        texts: list[str] = []
        for tag, text in re.findall(r"<t[dh]\b([^>]*)>(.*?)(?=<t[dh]\b|</tr)", row, re.DOTALL):
            span = re.search(r'colspan="?(\d+)', tag)
            texts += [""] * (int(span[1]) - 1 if span else 0)
            texts.append(unescape(re.sub(r"<[^>]+>", "", text)).strip())
        rows.append(tuple(texts))
    return rows


def test_the_html_shows_measured_published_and_difference(four):
    _, text = four
    rows = rows_of(text)
    assert ("test-1x1", "1x1", "46.8", "", "75.9", "", "46.8", "100 val", "0", "0", "32.9 x 1") in rows
    assert ("table 1a Res50+MEM+TIM", "1x1", "47.4", "−0.6", "76.6", "−0.7", "", "", "", "", "-") in rows
    assert ("table 3 TEINet-RGB 8f x 10", "10x3", "48.8", "−0.8", "-", "", "", "", "", "", "33 x 30") in rows
    assert ("test-1x1", "1x1", "2", "47.0 ± 0.3", "", "76.1 ± 0.3", "", "47.0 ± 0.3") in rows
    assert ("model.name", *["teinet_resnet50.tv_in1k"] * 2, "tsm_resnet50.tv_in1k", "tsn_resnet50.tv_in1k") in rows
    assert ("learning rate used", "0.005 (optim.lr 0.01, scaled)") in rows
    assert ("command", "teinet train something_v1/teinet_8f --data 'my clips/'") in rows
    assert "unfinished, 3 of 50 epochs" in text and "2026-11-25 01:28 UTC" in text
    assert "top-5 is 76.6 in Table 1a and 75.8 in Table 1c" in text


def test_the_html_needs_no_other_file(four):
    _, text = four
    assert text.count("data:image/png;base64,") == 4 + 1  # curves, and the confusions of the one whole test
    assert not re.search(r"(src|href)=[\"'](?!data:)", text) and "http" not in text


def test_the_terminal_shows_one_table_and_what_must_be_known(four):
    text = "\n".join(line.plain for line in lines(four[0]))
    table = text.partition("\n\nmodel.name")[0]
    assert max(len(line) for line in table.splitlines() if "/" not in line) <= 80  # a path is not broken
    assert re.search(r"test-1x1, val, 32.9 GMACs +1x1 +100 +46.8 +75.9 +46.8", table)
    assert re.search(r"table 1a Res50\+MEM\+TIM +1x1 +47.4 +-0.6 +76.6 +-0.7", table)
    assert re.search(r"test-1x1, n = 2 +1x1 +47.0 +±0.3 +76.1 +±0.3 +47.0", table)
    assert "unfinished, 3 of 50 epochs: teinet train --resume" in text
    assert "run.seed differs: 0: teinet-1, tsm, tsn; 1: teinet-2" in text


def test_runs_with_little_in_common_do_not_fill_the_screen(four):
    settings = {f"optim.s{i}": {"a": i, "b": -1} for i in range(14)}
    text = "\n".join(line.plain for line in lines(replace(four[0], settings=settings)))
    assert text.count("differs:") == 12 and "2 more settings differ (values: --json): optim.s12, optim.s13" in text


def test_what_is_not_set_is_said_to_be_the_default():
    names = ("model.gate", "model.init", "model.n_div", "model.weights")
    assert [setting(None, name) for name in names] == ["default (paper)", "default (shift)", "default (8)", "none"]
    assert setting("residual", "model.gate") == "residual"


def test_two_runs_show_their_classes(runs, tmp_path):
    for name, shares in (("a", (1, 0.5, 0, 0.2, 0.3)), ("b", (0.5, 0.5, 0.75, 0.2, 0.3))):
        write_scores(write_run(runs / name, epochs=0) / "test-1x1", dict(zip(NAMES, shares)), **meta())
    comparison = compare([runs])
    write_page(comparison, tmp_path / "page.html")
    rows = rows_of((tmp_path / "page.html").read_text())
    assert ("Nothing", "0.0", "75.0", "+75.0") in rows and ("Pushing [something]", "100.0", "50.0", "−50.0") in rows
    assert "1 of 5 classes improved, 1 worsened" in "\n".join(line.plain for line in lines(comparison))
    assert "all settings are equal" in (tmp_path / "page.html").read_text()


def test_runs_without_anything_still_make_a_page(runs, tmp_path):
    run = write_run(runs / "a", epochs=0, finished=None)
    for name in ("last.safetensors", "log.csv", "recipe.yaml"):
        (run / name).unlink()
    write_page(compare([run]), tmp_path / "page.html")
    assert "not tested" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("name", "says"), [("page.md", "it must be .html, .htm"), ("no/page.html", "cannot be written")]
)
def test_pages_that_cannot_be_written_are_said_before_any_work(tmp_path, capsys, name, says):
    assert main(["report", str(tmp_path / "no run"), "--output", str(tmp_path / name)]) == 2
    assert says in capsys.readouterr().err
