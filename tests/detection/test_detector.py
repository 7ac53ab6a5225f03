"""One object from frames to events: the same as a timeline, as frames come; and what ends a stretch."""

from __future__ import annotations

import numpy as np
import pytest

from teinet.data.video.reader import VideoReader
from teinet.detection import Rules, timeline
from teinet.detection.detector import Detector
from teinet.errors import ConfigError
from tests.data.video.test_frames import changing
from tests.detection.test_recording import film, make  # noqa: F401

THRESHOLDS = {"threshold": 0.4, "off_threshold": 0.2, "min_duration": 0.2}
RULES = Rules(threshold=0.4, off_threshold=0.2, min_duration=0.2)


@pytest.mark.parametrize("causal", [True, False])
def test_frames_pushed_one_by_one_give_the_events_of_a_timeline(film, causal):  # noqa: F811
    recognizer = make("teinet", causal=causal)
    detector, changes, rows = recognizer.detector(frame_interval=0.2, **THRESHOLDS), [], []
    for frame in VideoReader(film):
        changes += detector.push(frame)
        rows += detector.rows
        begun = changes[-1].event if changes and changes[-1].type == "begin" else None
        now = detector.current and (detector.current.label, detector.current.start)
        assert now == (begun and (begun.label, begun.start))
        assert ("image" in vars(frame)) == (frame.index % 2 == 0)  # the others are not converted
    changes += detector.finish()
    rows += detector.rows
    want = timeline(recognizer, film, frame_interval=0.2, rules=RULES)
    ended = [change.event for change in changes if change.type == "end"]
    assert want.events
    assert [(e.label, e.start, e.end) for e in ended] == [(e.label, e.start, e.end) for e in want.events]
    np.testing.assert_allclose([row.scores for row in rows], want.scores, atol=2e-4)


def test_images_from_elsewhere_have_their_times_said(film):  # noqa: F811
    recognizer = make("teinet", causal=True)
    ours, theirs = (recognizer.detector(frame_interval=0.2) for _ in range(2))
    for frame in VideoReader(film):
        assert ours.push(frame.image, frame.time) == theirs.push(frame)
    assert ours.sampler.num_taken == theirs.sampler.num_taken == 31
    with pytest.raises(ConfigError, match=r"push\(image, time\)"):
        ours.push(np.zeros((32, 32, 3), np.uint8))


def test_gaps_and_sizes_are_counted_and_the_state_does_not_carry_over(tmp_path):
    recognizer = make("teinet", causal=True)
    frames = list(VideoReader(changing(tmp_path / "sizes.ts")))
    detector = recognizer.detector(frame_interval=0.1)
    resets = []
    for frame in frames:
        detector.push(frame)
        resets += [row.reset for row in detector.rows]
    assert np.flatnonzero(resets).tolist() == [0, 20]
    assert (detector.sampler.num_resizes, detector.sampler.num_resets) == (1, 0)
    detector.push(frames[-1].image, frames[-1].time + 100)
    assert detector.rows[0].reset and detector.sampler.num_resets == 1
    alone = recognizer.detector(frame_interval=0.1)
    alone.push(frames[-1].image, 0.0)
    np.testing.assert_allclose(detector.rows[0].scores, alone.rows[0].scores, atol=1e-6)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("windows", [False, True])
def test_after_a_restart_no_score_is_of_frames_before_it(windows, batched):
    detector = Detector(make("teinet", causal=True), frame_interval=0.2, windows=windows, batched=batched)
    image, rows = np.zeros((32, 32, 3), np.uint8), []
    for start in (0, 100):
        for time in start + 0.2 * np.arange(9):
            detector.push(image, time)
            rows += detector.rows
    detector.finish()
    intervals = np.array([row.interval for row in rows + detector.rows])
    before, after = (intervals[(intervals[:, 1] >= 100) == later] for later in (False, True))
    assert len(before) == len(after) > 1 and after[0, 0] == 100
    np.testing.assert_allclose(after - 100, before, atol=1e-9)


def test_thresholds_that_cannot_hold_are_refused():
    recognizer = make("teinet", causal=True, header={"frame_interval": 0.2})
    with pytest.raises(ConfigError, match="it must be 0 to the threshold"):
        recognizer.detector(threshold=0.3, off_threshold=0.4)
    with pytest.raises(ConfigError, match="'rest' is no class"):
        recognizer.detector(background=("rest",))
