"""`teinet timeline` of several recordings: pages, scores, processes; what one of them cannot give stops no other."""

from __future__ import annotations

import json

import numpy as np
import pytest

from teinet.cli.main import main
from teinet.inference import Recognizer, timeline
from tests import miniatures
from tests.inference.test_timeline import make

EVENTS = ("--begin", "0.34", "--end", "0.3")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    make("teinet", causal=True, header={"spacing": 0.2}).save(folder / "weights.safetensors")
    for kind in (3, 4):
        miniatures.write(folder / "films" / f"film <{kind}>.mp4", kind, length=61, rate=10)
    (folder / "films" / "broken.mp4").write_bytes(b"no video")
    return folder


def test_a_page_is_one_file_with_pictures_curves_and_events(place, capsys):
    page = place / "one.html"
    film = place / "films" / "film <3>.mp4"
    assert main(["timeline", str(place / "weights.safetensors"), str(film), *EVENTS, "--page", str(page)]) == 0
    html = page.read_text()
    assert "film &lt;3&gt;.mp4" in html and "film <3>.mp4" not in html
    assert "data:image/" in html and "<svg" in html
    assert "src=" not in html.replace('src="data:', "") and "href=" not in html  # nothing from elsewhere


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_several_recordings_come_in_order_and_a_broken_one_stops_none(place, tmp_path, capsys, jobs):
    words = ["timeline", str(place / "weights.safetensors"), str(place / "films"), *EVENTS, "--json", "--jobs", jobs]
    assert main([*words, "--page", f"{tmp_path}/pages/", "--scores", f"{tmp_path}/scores/"]) == 1
    out, err = capsys.readouterr()
    assert "broken.mp4" in err
    found = json.loads(out)
    assert [each["path"][-12:] for each in found] == ["film <3>.mp4", "film <4>.mp4"]
    recognizer = Recognizer.load(place / "weights.safetensors")
    for kind, each in zip((3, 4), found, strict=True):
        alone = timeline(recognizer, each["path"])
        scores = np.load(tmp_path / "scores" / f"film <{kind}>.npz")
        np.testing.assert_allclose(scores["scores"], alone.scores, atol=1e-4)
        assert each["events"]
    index = (tmp_path / "pages" / "index.html").read_text()
    assert index.count("film &lt;") >= 2 and sorted(p.name for p in (tmp_path / "pages").iterdir())[-1] == "index.html"


def test_jobs_below_one_are_refused(place, capsys):
    words = ["timeline", str(place / "weights.safetensors"), str(place / "films"), "--jobs", "0"]
    assert main(words) == 2
    assert "jobs" in capsys.readouterr().err
