"""A recording's page: bounded whatever its length, classes that matter, names of pages, round seconds on the axis."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from teinet.detection.events import Event, Rules
from teinet.detection.recording import Thumbnails, Timeline
from teinet.pages.recording_page import Entry, classes_to_draw, path_of, render_index, render_page, thinned, ticks

NASTY = ["<script>alert(1)</script>", "左から右へ何かを押す", 'a "quoted" & long name ' + "that goes on " * 20, "rest"]


def recording(count: int, events: tuple[Event, ...] = (), length: float = 7200.0) -> Timeline:
    times = np.linspace(0, length, count) if count else np.zeros(0)
    scores = np.random.default_rng(0).dirichlet([0.3] * 4, count).astype(np.float32)
    strip = Thumbnails()
    for second in times.tolist():
        strip.add(second, np.full((8, 12, 3), 99, np.uint8))
    intervals, resets = np.stack([times, times], 1), np.arange(count) == 0
    facts = {"path": "x.mp4", "class_names": tuple(NASTY), "frame_interval": 0.25, "until": length, "strip": strip}
    return Timeline(intervals=intervals, scores=scores, events=events, resets=resets, **facts)


def event(label: str, start: float, end: float) -> Event:
    return Event(label=label, start=start, end=end, score=0.8, peak=0.9)


def page(timeline: Timeline, **rules: object) -> str:
    return render_page(timeline, name="<x>.mp4", weights="w", network="n", license="", rules=Rules(**rules))


@pytest.mark.parametrize("count", [1, 2, 80, 28_800])
def test_a_page_is_of_bounded_length_and_escaped(count):
    html = page(recording(count, tuple(event(label, 10.0 * n, 10.0 * n + 5) for n, label in enumerate(NASTY))))
    assert len(html) < 120_000
    assert "<script" not in html and "&lt;script&gt;" in html and "&lt;x&gt;.mp4" in html and NASTY[1] in html
    assert html.count("<tr") == 5 and html.count("<img") == 12


def test_nothing_happens_is_said():
    html = page(recording(50), background=("rest",))
    assert "No events" in html and "<tr" not in html
    assert "no class reaches 50 %" in html
    assert "<svg" in page(recording(0))


def test_what_is_wrong_with_a_recording_stands_on_its_page_and_in_the_index():
    found = replace(recording(50), broken=2, restarts=1, resizes=3, end=2.3, stated_duration=4.0)
    line = (
        "2 packets could not be decoded whole; 1 restart at gaps or backward jumps in time; "
        "3 restarts at changes of the frame size; ends at 2.3 s of 4.0 s: cut off?"
    )
    assert found.trouble == line and line in unescape(page(found))
    assert line in unescape(render_index([Entry.of(found, "x.mp4", "x.html")], weights="w"))
    assert "Problem" not in page(recording(50)) and recording(50).trouble == ""


def test_a_thinned_line_keeps_its_highest_and_lowest_points():
    rng = np.random.default_rng(1)
    times, scores = np.arange(28_800) * 0.25, rng.random(28_800)
    chosen = thinned(times, scores)
    assert len(chosen) <= 1000 and (np.diff(chosen) > 0).all()
    assert {int(scores.argmax()), int(scores.argmin())} <= set(chosen.tolist())
    assert len(thinned(times[:1000], scores[:1000])) == 1000


def test_a_line_is_true_to_scale_and_broken_at_gaps():
    times = np.array([0.0, 1.0, 2.0, 30.0, 31.0])
    path = path_of(times, np.array([0.0, 1.0, 0.5, 0.25, 0.0]), 40.0)
    assert path == "M0.0 100.0L25.0 0.0L50.0 50.0M750.0 75.0L775.0 100.0"
    assert path_of(times[:0], times[:0], 1.0) == "" and path_of(times[:1], np.ones(1), 1.0) == "M0.0 0.0h2"


def test_classes_with_events_come_first_and_those_that_mean_nothing_last():
    timeline = recording(100, (event(NASTY[1], 0, 5), event(NASTY[2], 10, 40), event(NASTY[1], 50, 51)))
    assert classes_to_draw(timeline, Rules(background=("rest",))) == [2, 1, 0, 3]


@pytest.mark.parametrize("length", [0.4, 10, 59, 600, 7200, 86_400, 1e6])
def test_the_axis_has_some_round_seconds(length):
    found = ticks(length)
    assert 1 <= len(found) <= 9 and found[0] == (0, "0:00") and found[-1][0] < 100
    assert all(re.fullmatch(r"(\d+:)?\d+:\d\d", label) for _, label in found)


def test_stretches_that_lie_over_each_other_are_said():
    timeline = recording(30)
    assert "overlap" not in page(timeline)
    again = replace(timeline, intervals=np.concatenate([timeline.intervals, timeline.intervals]), restarts=1,
                    scores=np.concatenate([timeline.scores, timeline.scores]))  # fmt: skip
    assert "2 parts overlap" in page(again)


def test_the_index_lists_what_could_and_could_not_be_read():
    timeline = recording(30, (event(NASTY[0], 0, 900), event(NASTY[0], 1800, 2700)))
    entries = [Entry.of(timeline, "a b#1.mp4", "a b#1.html"), Entry("<b>.mp4", problem="cut off")]
    html = render_index(entries, weights="w")
    assert 'href="a%20b%231.html"' in html and "(2)" in html and "left: 25%; width: 12.5%" in html
    assert "&lt;b&gt;.mp4" in html and "cut off" in html and "<script" not in html
