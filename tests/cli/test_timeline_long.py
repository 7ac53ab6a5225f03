"""`teinet timeline` over hours and folders: pages, interruptions, several processes, the scores themselves."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import teinet.detection.timeline_batch
from teinet.cli.main import main
from tests import miniatures
from tests.cli.test_timeline import NAMES, place, words  # noqa: F401


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Some thousand frames at 100 a second, a keyframe each second."""
    images, options = miniatures.frames(3, 61), {"g": "100", "preset": "ultrafast", "bf": "2"}
    shown = [images[number // 5 % 61] for number in range(2500)]
    return miniatures.encode(tmp_path_factory.mktemp("long") / "long.mp4", shown, options=options, rate=100)


class Checker(HTMLParser):
    """Collects what a page asks for, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.asks, self.tags, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.asks += [value for name, value in attrs if name in ("src", "href", "data", "action")]

    def handle_data(self, data):
        self.text += data


def test_a_page_needs_no_other_file_and_holds_the_events(place, tmp_path, capsys):  # noqa: F811
    page = tmp_path / "new" / "page.html"
    assert main([*words(place, "films/3.mp4", page=page), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    text = page.read_text(encoding="utf-8")
    read = Checker(text)
    assert all(ask.startswith("data:image/jpeg;base64,") for ask in read.asks) and len(read.asks) == 12
    assert not re.search(r"url\(|@import|<script|<link", text) and "http" not in text
    assert found["events"] and read.tags.count("tr") == len(found["events"]) + 1
    assert "path" in read.tags and "left <to> right" in read.text and "<to>" not in text
    assert not (tmp_path / "new" / "page.html.partial").exists()


def test_a_folder_of_pages_has_an_index(place, tmp_path, capsys):  # noqa: F811
    pages = tmp_path / "pages"
    assert main([*words(place, "films", "broken/broken.mp4", page=f"{pages}/"), "--background", NAMES[2]]) == 1
    assert sorted(path.name for path in pages.iterdir()) == ["3.html", "4.html", "index.html"]
    index = Checker((pages / "index.html").read_text())
    assert [ask for ask in index.asks if not ask.startswith("data:")] == ["3.html"] * 2 + ["4.html"] * 2
    assert "broken.mp4" in index.text
    assert "index.html" in Checker((pages / "3.html").read_text()).asks
    capsys.readouterr()
    assert main(words(place, "films", page=tmp_path / "one.html")) == 2
    assert "name a folder" in capsys.readouterr().err


def test_the_scores_themselves(place, tmp_path, capsys):  # noqa: F811
    assert main(words(place, "films", scores=tmp_path / "scores")) == 0
    with np.load(tmp_path / "scores" / "3.npz") as kept:
        assert kept["scores"].shape == (31, 3) and kept["class_names"].tolist() == NAMES
        assert main(words(place, "films/3.mp4", scores=tmp_path / "one.csv")) == 0
        header, *rows = csv.reader((tmp_path / "one.csv").open())
        assert header == ["second", *NAMES]
        np.testing.assert_allclose(np.array(rows, float)[:, 1:], kept["scores"], atol=1e-5)
        np.testing.assert_allclose(np.array(rows, float)[:, 0], kept["times"], atol=1e-3)
    assert main(words(place, "films", scores=tmp_path / "one.csv")) == 2
    assert "name a folder" in capsys.readouterr().err


def test_several_processes_say_the_same_in_the_same_order(place, tmp_path, capsys):  # noqa: F811
    films = ("films/4.mp4", "broken/broken.mp4", "films/3.mp4")
    assert main(words(place, *films, output=tmp_path / "one.csv")) == 1
    alone = capsys.readouterr().err.replace("one.csv", "two.csv")
    assert main(words(place, *films, output=tmp_path / "two.csv", workers=2)) == 1
    assert capsys.readouterr().err == alone
    assert (tmp_path / "two.csv").read_text() == (tmp_path / "one.csv").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.csv", "two.csv"]
    assert main(words(place, "films", workers=0)) == 2
    assert main(words(place, "films", workers=2, frame_interval=-1)) == 2
    assert "frame_interval must be above 0" in capsys.readouterr().err


def until(true, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def answers(place, long, name: Path) -> list[str]:  # noqa: F811
    return words(place, "films/3.mp4", long, output=f"{name}.json", page=f"{name}/", frame_interval=0.03)


@pytest.fixture(scope="module")
def whole(place, long, tmp_path_factory):  # noqa: F811
    """The folder of the answers of a command that nobody interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(answers(place, long, folder / "part")) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_interrupted_goes_on_with_the_other_files(place, long, whole, tmp_path, number):  # noqa: F811
    command = answers(place, long, tmp_path / "part")
    process = subprocess.Popen([sys.executable, "-m", "teinet", *command], stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "part.json.partial"
    until(lambda: list(partial.glob("*.npz")))
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 130 and "continues with the others" in said and "Traceback" not in said
    assert not (tmp_path / "part.json").exists()
    looked = []
    real = teinet.detection.timeline_batch.timeline

    def counted(recognizer, video, **options):
        looked.append(Path(video).name)
        return real(recognizer, video, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teinet.detection.timeline_batch, "timeline", counted)
        assert main(command) == 0
        assert looked == ["long.mp4"]
    assert (tmp_path / "part.json").read_text() == (whole / "part.json").read_text()
    for name in ("3.html", "long.html"):
        assert (tmp_path / "part" / name).read_text() == (whole / "part" / name).read_text()
    assert not partial.exists()
