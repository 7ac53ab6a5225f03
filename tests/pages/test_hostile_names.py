"""Names of files, classes, runs, weights and licenses are text on every page, whatever characters they have."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from teinet.data.motion_pairs import MotionPairs
from teinet.demo.job import FirstLook, Result, demo_recipe
from teinet.detection.events import Rules
from teinet.detection.monitor import Notice, View
from teinet.detection.source_thread import Counts
from teinet.pages import comparison, demo_page, explained, live, recording_page
from teinet.recognition import Prediction
from teinet.recognition.explanation import look_inside
from teinet.report import compare
from tests import miniatures
from tests.pages.test_recording_page import event, recording
from tests.recognition.test_explanation import recognizer
from tests.report.conftest import meta, recipe, write_run, write_scores

HOSTILE = {
    "tag": "<img src=x onerror=alert(1)>",
    "attribute": '"><script>alert(1)</script>',
    "quote": "' onmouseover='alert(1)",
    "bare attribute": "x onload=alert(1) y=",
    "script": "</script></style></title><script>alert(1)//",
    "entity": "&lt;script&gt;&#60;b&#62;",
    "template": "{{ 7 * 7 }}{% include 'style.css' %}${alert(1)}`",
    "link": "javascript:alert(1)",
    "data": "data:text/html,<b>",
    "lines": "a\r\n-->\u2028]]>\x00\u202e",
}


def comparison_page(name: str, folder: Path) -> str:
    file = name.replace("/", "∕").replace("\x00", "")  # what no file can be called
    told = {"command": ["teinet", name], "notes": [name], "format": name, "precision": name, "decoder": {name: name}}
    write_run(folder / f"0{file}", recipe(run__license=name, data__path=name, optim__schedule=name), **told)
    write_run(folder / f"1{file}", recipe(run__seed=1), versions={name: name}, data={name: {"clips": 1, "classes": 2,
              "sha256": name}})  # fmt: skip
    for run, right in (("0", 0.5), ("1", 0.25)):
        at = folder / f"{run}{file}" / f"test-{file}"
        write_scores(at, {f"{name}{i}": right for i in range(3)}, image=False, **meta(split=name, network=name))
    (folder / f"1{file}" / "log.csv").write_text(f"epoch\n{name}")  # damaged: a line about it
    comparison.write_page(compare([folder]), folder.parent / "page.html")
    return (folder.parent / "page.html").read_text()


def explained_page(name: str, folder: Path) -> str:
    net = recognizer()
    net.class_names = tuple(f"{name}{i}" for i in range(3))
    inside = look_inside(net, miniatures.write(folder.parent / "clip.mp4", 0, length=6))
    return explained.render_page(inside, clip=name, weights=name, network=name, license=name)


def _recording(name: str):
    names = tuple(f"{name}{i}" for i in range(4))
    events = tuple(event(label, 100.0 * n, 100.0 * n + 1500) for n, label in enumerate(names))
    return replace(recording(30, events), class_names=names, path=name)


def one_recording(name: str, folder: Path) -> str:
    rules = Rules(background=(f"{name}3",))
    words = {"name": name, "weights": name, "network": name, "license": name, "rules": rules, "index": True}
    quiet = replace(_recording(name), events=())
    return recording_page.render_page(_recording(name), **words) + recording_page.render_page(quiet, **words)


def index_of_recordings(name: str, folder: Path) -> str:
    whole = recording_page.Entry.of(_recording(name), name, f"{name}.html")
    entries = [whole, replace(whole, trouble=name), recording_page.Entry(name, problem=name)]
    return recording_page.render_index(entries, weights=name)


def demo(name: str, folder: Path) -> str:
    folder.mkdir()
    clip = miniatures.write(folder.parent / "clip.mp4", 0, length=6)
    answer = Prediction(path=name, labels=((name, 0.5),))
    answer = replace(answer, frame_indices=np.zeros((1, 1), np.int64))
    card = dict.fromkeys(("title", "data", "figures", "not_for"), name)
    told = demo_recipe(Path(name), Path(name), "TEINet", quick=True)
    result = Result(
        folder=folder, recipe=told, clips=MotionPairs(), scores={}, runs={"TEINet": Path(name)}, quick=True,
        predictions={"TEINet": answer}, clip=clip, label=name, seconds={name: 1.0},
        first_look=FirstLook(card, [name, "b"], [answer, answer]),
    )  # fmt: skip
    return demo_page.write_page(result).read_text()


def live_page(name: str, folder: Path) -> str:
    view = View(time=1.0, scores=np.array([1.0]), event=event(name, 0, 1))
    watch = SimpleNamespace(sources=(name,), class_names=(name,), view=lambda n: view, counts=lambda n: Counts())
    page = live.Page(watch)
    page.add(Notice(type="lost", source=name, time=0.0, wall_time=datetime.now(UTC), reason=name))
    assert json.loads(page.state_json())["sources"][0]["name"] == name
    return page.html().replace(page._id, "")


class Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes, and the whole of what a browser would run or load."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.found: list[object] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, [key for key, _ in attrs]))
        for key, value in attrs:
            assert not key.startswith("on")
            if key in ("href", "src"):
                assert value.startswith("data:image/") or ":" not in value
            if key in ("class", "id", "style"):
                self.found.append(value)

    def handle_endtag(self, tag):
        self.found.append(tag)

    def handle_data(self, data):
        if self.cdata_elem is not None:  # inside <script> or <style>
            self.found.append(data)
        self.text += data

    def handle_comment(self, data):
        self.found.append(data)

    handle_pi = unknown_decl = handle_comment


PAGES = (comparison_page, explained_page, one_recording, index_of_recordings, demo, live_page)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The skeletons of the pages with a name of letters."""
    return {make: Skeleton(make("name", tmp_path_factory.mktemp("plain") / "runs")).found for make in PAGES}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("make", PAGES)
def test_a_name_is_text(make, name, plain, tmp_path):
    page = Skeleton(make(name, tmp_path / "runs"))
    assert page.found == plain[make]
    assert " ".join(name.replace("\x00", "").split("/")[0].split()[:1]) in page.text  # as it is, and seen
