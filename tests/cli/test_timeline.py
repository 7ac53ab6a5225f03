"""`teinet timeline` at the command line: forms, exit codes, what cannot be read."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch

import teinet
from teinet.cli.main import main
from teinet.data.clock import clock
from teinet.data.transforms import Preprocessing
from teinet.inference import timeline
from teinet.inference.events import Rules
from tests import miniatures

NAMES = ["resting", "left <to> right", "throw & catch"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two films, and weights whose scores change in them."""
    folder = tmp_path_factory.mktemp("timeline")
    torch.manual_seed(2)
    model = teinet.create_model("teinet_test_resnet", num_classes=3, num_frames=4, causal=True)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.2)
    pixels = Preprocessing(size=32, short_side=32, mean=model.data_config["mean"], std=model.data_config["std"])
    recognizer = teinet.Recognizer(model, NAMES, preprocessing=pixels, header={"spacing": 0.2, "licence": "MIT"})
    recognizer.save(folder / "weights.safetensors")
    for kind in (3, 4):
        miniatures.write(folder / "films" / f"{kind}.mp4", kind, length=61, rate=10)
    (folder / "broken").mkdir()
    (folder / "broken" / "broken.mp4").write_bytes(b"no video")
    return folder


def words(place, *videos: str, **options: object) -> list[str]:
    rules = {"--begin": 0.4, "--end": 0.2, "--least": 0.2} | {f"--{k}": v for k, v in options.items()}
    flat = [str(word) for pair in rules.items() for word in pair]
    return ["timeline", str(place / "weights.safetensors"), *[str(place / video) for video in videos], *flat]


def test_every_form_tells_the_same_events(place, capsys):
    recognizer = teinet.Recognizer.load(place / "weights.safetensors")
    want = timeline(recognizer, place / "films" / "3.mp4", rules=Rules(begin=0.4, end=0.2, least=0.2)).events
    assert want
    assert main([*words(place, "films/3.mp4"), "--json"]) == 0
    said = capsys.readouterr()
    (found,) = json.loads(said.out)
    assert found["events"] == [event.to_dict() for event in want] and found["spacing"] == 0.2
    assert "licence of the weights: MIT" in said.err
    assert main(words(place, "films/3.mp4", format="csv")) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["label"], float(row["start"])) for row in rows] == [(e.label, round(e.start, 3)) for e in want]
    assert main(words(place, "films/3.mp4", format="vtt")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "WEBVTT" and sum("-->" in line for line in lines) == len(want)
    assert lines[2].startswith(f"{clock(want[0].start)} --> ")
    assert not any("<" in line for line in lines)
    assert main(words(place, "films/3.mp4")) == 0
    table = capsys.readouterr().out
    assert all(event.label in table and clock(event.start) in table for event in want)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_faster_network_tells_the_same_events(place, monkeypatch, capsys, jobs):
    assert main([*words(place, "films"), "--json"]) == 0
    want = json.loads(capsys.readouterr().out)
    asked = []
    optimize = teinet.Recognizer.optimize
    monkeypatch.setattr(teinet.Recognizer, "optimize", lambda self, **o: asked.append(o) or optimize(self, **o))
    assert main([*words(place, "films", jobs=jobs, optimize="folded"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert asked == ([{"engine": "folded"}] if jobs == 1 else [])  # two jobs: in their processes
    for ours, theirs in zip(found, want, strict=True):
        assert ours["path"] == theirs["path"] and len(ours["events"]) == len(theirs["events"])
        for event, like in zip(ours["events"], theirs["events"], strict=True):
            assert event["label"] == like["label"] and event["start"] == like["start"]
            assert event["score"] == pytest.approx(like["score"], abs=1e-4)


def test_a_folder_and_a_file_to_write(place, tmp_path, capsys):
    assert main(words(place, "films", output=tmp_path / "out.csv")) == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert {row["path"].rsplit("/", 1)[1] for row in rows} <= {"3.mp4", "4.mp4"} and rows
    assert capsys.readouterr().out == ""


def test_one_broken_file_does_not_stop_the_others(place, capsys):
    assert main([*words(place, "broken/broken.mp4", "films/3.mp4"), "--json"]) == 1
    said = capsys.readouterr()
    assert [each["path"].rsplit("/", 1)[1] for each in json.loads(said.out)] == ["3.mp4"]
    assert "broken.mp4" in said.err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"begin": 0.1}, "end <= begin"),
        ({"nothing": "restin"}, "Did you mean 'resting'"),
        ({"every": 0}, "spacing must be a time above 0"),
        ({"output": "/absent/out.csv"}, "cannot be written"),
    ],
)
def test_what_does_not_fit_is_one_line(place, capsys, options, line):
    assert main(words(place, "films/3.mp4", **options)) == 2
    said = capsys.readouterr().err
    assert line in said and "Traceback" not in said


def test_two_videos_have_no_common_subtitles(place, capsys):
    assert main(words(place, "films", format="vtt")) == 2
    assert "WebVTT belongs to one video; 2 were named" in capsys.readouterr().err


def test_what_means_nothing_makes_no_event(place, capsys):
    most = [option for name in NAMES for option in ("--nothing", name)]
    assert main([*words(place, "films/3.mp4"), *most]) == 0
    assert "nothing happens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("second", "text"),
    [(0, "00:00:00.000"), (62.5, "00:01:02.500"), (7199.9996, "02:00:00.000"), (-0.01, "00:00:00.000")],
)
def test_the_clock(second, text):
    assert clock(second) == text
