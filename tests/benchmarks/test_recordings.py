"""The script that measures annotated recordings: the library's own events, rules chosen where they are not reported."""

from __future__ import annotations

import csv
import hashlib
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import teinet
from teinet.data.lists.annotations import Recording, Segment, read_annotations
from teinet.detection import timeline
from teinet.detection.events import Rules
from tests import miniatures
from tests.cli.test_timeline import save_weights

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ["resting", "left", "right"]


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(BENCHMARKS / "recordings.py"))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Four films, annotated for tuning and for the report, and two networks."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = ["path,start,end,label,split"]
    for kind in (3, 4, 5, 6):
        miniatures.write(folder / f"{kind}.mp4", kind, length=61, rate=10)
        rows += [f"{kind}.mp4,{s},{s + 1},{NAMES[s % 3]},{'val' if kind < 5 else 'test'}" for s in range(6)]
    (folder / "annotations.csv").write_text("\n".join(rows) + "\n")
    for causal in (True, False):
        save_weights(folder / f"{'causal' if causal else 'two'}.safetensors", NAMES, causal=causal, seed=0)
    return folder


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    "rules", [Rules(threshold=0.4, off_threshold=0.2, min_duration=0.2), Rules(min_duration=0, background=("left",))]
)
def test_events_from_kept_scores_are_the_timelines(place, script, causal, rules):
    recognizer = teinet.Recognizer.load(place / f"{'causal' if causal else 'two'}.safetensors")
    want = timeline(recognizer, place / "3.mp4", rules=rules)
    assert script["events_of"](want.intervals, want.scores, want.resets, NAMES, rules) == want.events
    assert len(want.events) > 0


def test_the_rules_chosen_are_those_that_fit(script):
    """Scores are 0.65 where a happens and 0.58 for as long where nothing does: begin 0.6 alone tells them apart."""
    times = np.arange(0, 10, 0.1)
    score = np.full(100, 0.05)
    score[20:40], score[60:80] = 0.65, 0.58
    scores = np.stack([score, np.full(100, 0.04)], 1)
    recording = Recording(path="a", seconds=10, segments=(Segment(label="a", start=2, end=4),))
    looked = [script["Looked"](recording, np.stack([times, times], 1), scores, times == 0)]
    rules, quality = script["best_of"]([script["rate"](looked, ["a", "b"], (), step=0.1)])
    assert rules.threshold == 0.6 and quality == 1


def call(monkeypatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["recordings.py", *map(str, words)])
    runpy.run_path(str(BENCHMARKS / "recordings.py"), run_name="__main__")


def test_a_whole_run_writes_what_it_measured(place, monkeypatch, tmp_path):
    causal, two = place / "causal.safetensors", place / "two.safetensors"
    networks = ("--causal", causal, "--windows", causal, "--bidirectional", two, "--smoothing", 2, "--stride", 3)
    parts = ("--tune", "split=val", "--report", "split=test", "--output", tmp_path, "--name", "tiny")
    call(monkeypatch, place / "annotations.csv", *networks, *parts)
    said = json.loads((tmp_path / "recordings-tiny.json").read_text())
    one, windows, other = said["networks"]
    assert [(n["causal"], n["windows"]) for n in said["networks"]] == [(True, False), (True, True), (False, True)]
    assert one["smoothing"] == 2 and windows["stride"] == other["stride"] == 3
    assert {n["run"] for n in said["networks"]} == {place.name}
    assert one["sha256"] == windows["sha256"] == hashlib.sha256(causal.read_bytes()).hexdigest()[:16] != other["sha256"]
    assert (one["weights"], other["weights"]) == ("causal.safetensors", "two.safetensors")
    assert one["report"]["recordings"] == one["tuning"]["recordings"] == 2
    assert one["report"]["overall"]["segments"] == 12 and said["machine"]["processor"]
    assert str(place) not in json.dumps(said)


def test_across_folds_the_rules_of_one_are_chosen_by_the_others(place, monkeypatch, tmp_path):
    causal, two = place / "causal.safetensors", place / "two.safetensors"
    folds = [word for kind, file in (("--causal", causal), ("--bidirectional", two)) for value in ("val", "test")
             for word in (kind, f"{value}={file}")]  # fmt: skip
    output = ("--output", tmp_path, "--name")
    call(monkeypatch, place / "annotations.csv", "--across", "split", *folds, *output, "across")
    for tune, report in (("val", "test"), ("test", "val")):
        parts = ("--tune", f"split={tune}", "--report", f"split={report}")
        call(
            monkeypatch, place / "annotations.csv", "--causal", causal, "--bidirectional", two, *parts, *output, report
        )
    said, test, val = (json.loads((tmp_path / f"recordings-{n}.json").read_text()) for n in ("across", "test", "val"))
    assert said["across"] == "split" and "tune" not in said and len(said["networks"]) == 2
    for one, of_test, of_val in zip(said["networks"], test["networks"], val["networks"]):
        assert one["rules"] == {"val": of_val["rules"], "test": of_test["rules"]}
        assert one["report"]["recordings"] == 4
        for count in ("segments", "events", "false_alarms", "seconds"):
            parts = [n["report"]["overall"][count] for n in (of_test, of_val)]
            assert one["report"]["overall"][count] == pytest.approx(sum(parts), abs=0.01)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--causal {causal} --tune split=val --report split=val", "2 recordings are in --tune and in --report"),
        ("--causal {two} --tune split=val --report split=test", "is bidirectional, not causal"),
        ("--causal val={causal} --across split", "name a second"),
    ],
)
def test_what_would_flatter_or_does_not_fit_is_refused(place, monkeypatch, words, reason):
    words = words.format(causal=place / "causal.safetensors", two=place / "two.safetensors")
    with pytest.raises(SystemExit, match=reason):
        call(monkeypatch, place / "annotations.csv", *words.split())


def test_sentences_are_annotated_whole_and_divided_by_their_names(tmp_path, monkeypatch):
    for number in range(12):
        miniatures.write(tmp_path / "clips" / f"s{number}.mp4", number, length=31, rate=10)
    words = [f"clips/s{n}.mp4,{s},{s + 0.5},{w},{slot}" for n in range(12) for s, w, slot in
             ((0.5, "bin", "verb"), (1.0, "blue", "color"), (2.0, "four", "digit"))]  # fmt: skip
    (tmp_path / "words.csv").write_text("\n".join(["path,start,end,label,slot", *words]) + "\n")
    for slot in ("all", "digit"):
        monkeypatch.setattr(sys, "argv", ["lists.py", "words", str(tmp_path / "words.csv"), slot])
        runpy.run_path(str(BENCHMARKS / "evidence" / "lists.py"), run_name="__main__")
    rows = list(csv.DictReader((tmp_path / "sentences.csv").open()))
    assert len(rows) == 36 and len({(row["path"], row["split"]) for row in rows}) == 12
    digits = {row["path"]: row["fold"] for row in csv.DictReader((tmp_path / "digit.csv").open())}
    assert all(row["fold"] == digits[row["path"]] for row in rows)
    assert {row["split"] for row in rows if row["fold"] == "0"} <= {"test"}
    assert sum(len(r.segments) for r in read_annotations(tmp_path / "sentences.csv")) == 36
