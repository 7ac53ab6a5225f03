"""`teinet timeline --truth`: measures next to the timeline, and what does not fit together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from teinet.cli.main import main
from tests import miniatures
from tests.cli.test_timeline import save_weights

NAMES = ["resting", "left", "right"]
RULES = ("--threshold", "0.4", "--off-threshold", "0.2", "--min-duration", "0.2")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with weights, and three films of 6.1 s in which the weights find something."""
    folder = tmp_path_factory.mktemp("truth")
    for name, causal in (("weights", True), ("bidirectional", False)):
        save_weights(folder / f"{name}.safetensors", NAMES, causal=causal, seed=0)
    for kind in (3, 4, 5):
        miniatures.write(folder / f"{kind}.mp4", kind, length=61, rate=10)
    return folder


def run(place, *words: str, weights: str = "weights") -> int:
    videos = [str(place / word) if word.endswith(".mp4") else word for word in words]
    return main(["timeline", str(place / f"{weights}.safetensors"), *videos, *RULES])


def annotated(place, *lines: str) -> str:
    path = place / "annotations.csv"
    path.write_text("\n".join(["path,start,end,label", *lines]) + "\n")
    return str(path)


@pytest.mark.parametrize(("weights", "lag"), [("weights", 0.0), ("bidirectional", 0.3)])
def test_what_was_found_is_right_when_it_is_the_truth(place, capsys, weights, lag):
    assert run(place, "3.mp4", "4.mp4", "--json", weights=weights) == 0
    lines = []
    for video in json.loads(capsys.readouterr().out):
        name = video["path"].rsplit("/", 1)[1]
        found = video["events"]
        ends = [event["start"] for event in found[1:]] + [6.1]
        for event, following in zip(found, ends, strict=True):
            end = min(max(event["end"] + 0.2, event["start"] + 0.4), following)
            lines.append(f"{name},{event['start']},{end:.3f},{event['label']}")
    assert lines
    truth = annotated(place, *lines)
    assert run(place, "3.mp4", "4.mp4", "--json", "--truth", truth, weights=weights) == 0
    said = json.loads(capsys.readouterr().out)
    overall = said["measures"]["overall"]
    assert [video["path"].rsplit("/", 1)[1] for video in said["recordings"]] == ["3.mp4", "4.mp4"]
    assert overall["segments"] == overall["events"] == len(lines) and overall["f1"]["0.5"] == 1
    assert overall["detected"] == 1 and overall["false_alarms"] == 0 and overall["accuracy"] > 0.8
    assert overall["delay_median"] >= 0.2 + lag - 1e-6
    assert said["without_annotations"] == said["annotated_only"] == []


def test_a_table_has_a_row_for_each_label_and_one_for_all(place, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    truth = annotated(place, "3.mp4,1,2,left", "5.mp4,1,2,right")
    assert run(place, "3.mp4", "4.mp4", "--truth", truth) == 0
    said = capsys.readouterr()
    assert "compared with the annotations: 1 recordings, 0.1 min" in said.out
    assert all(word in said.out for word in ("F1@10", "F1@25", "F1@50", "false/h", "left", "all"))
    assert "1 videos without annotations, which are not measured" in said.err and "4.mp4" in said.err
    assert "1 annotated files that are not among the videos" in said.err and "5.mp4" in said.err
    assert run(place, "3.mp4", "--output-format", "csv", "--truth", truth) == 0
    said = capsys.readouterr()
    assert "F1@50" in said.err and "F1@50" not in said.out


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "3.mp4,1,2,lefft",
            "line 2: label 'lefft' is not one of the 3 classes (resting, left, right). Did you mean 'left'?",
        ),
        ("3.mp4,2,1,left", "line 2: start 2 and end 1"),
        ("3.mp4,2,9,left", "line 2: end 9 s is after the end"),
        ("5.mp4,1,2,left", "none of the videos is annotated"),
    ],
)
def test_a_truth_that_cannot_be_is_one_line_before_any_work(place, capsys, line, reason):
    assert run(place, "3.mp4", "--truth", annotated(place, line)) == 2
    said = capsys.readouterr()
    assert reason in said.err and said.out == "" and "Traceback" not in said.err


def test_a_recording_that_is_cut_off_is_measured_as_far_as_it_can_be_read(place, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    whole = miniatures.encode(place / "whole.mp4", noise, container={"movflags": "faststart"}).read_bytes()
    (place / "cut.mp4").write_bytes(whole[: int(0.6 * len(whole))])
    truth = annotated(place, "cut.mp4,0.5,1,left", "cut.mp4,1.5,2,right", "cut.mp4,7,8,left")
    assert run(place, "cut.mp4", "--json", "--truth", truth) == 1  # more is missing than the usual tenth
    assert "cut.mp4" in capsys.readouterr().err
    assert run(place, "cut.mp4", "--json", "--truth", truth, "--max-damaged", "0.8") == 0
    said = json.loads(capsys.readouterr().out)
    (recording,), overall = said["recordings"], said["measures"]["overall"]
    assert 2 < recording["end_time"] < 6 and overall["seconds"] == pytest.approx(recording["end_time"], abs=1e-3)
    assert said["measures"]["recordings"] == 1 and overall["segments"] == 2 and not said["without_annotations"]
    assert (
        run(
            place,
            "cut.mp4",
            "--max-damaged",
            "0.8",
            "--truth",
            annotated(place, "cut.mp4,1,2,left", "cut.mp4,1.5,3,right"),
        )
        == 2
    )
    assert "overlaps 1 to 2 s (left) of line 2" in capsys.readouterr().err
