"""Servers that fail, for some seconds; and that a fault of ours would be found."""

from __future__ import annotations

import pytest

from benchmarks import live_faults

CASES = [("mjpeg", fault) for fault in ("stalls", "breaks", "noise", "only noise", "resizes")]
CASES += [("rtsp", fault) for fault in ("breaks", "loses", "reorders")]


def test_sources_come_back_and_every_frame_is_given_or_counted():
    said = []
    assert live_faults.run(CASES, tell=said.append) == []
    assert len(said) == len(CASES)


@pytest.mark.parametrize(("change", "wrong"), [
    ({}, []),
    ({"last": 0}, ["did not come back"]),
    ({"uncounted": 2}, ["2 frames are neither given nor counted"]),
    ({"ordered": False}, ["times ran backwards"]),
    ({"ended": False}, ["the thread did not end, or gave up"]),
    ({"reports": {"connected": 1}}, ["no report of lost"]),
])  # fmt: skip
def test_what_must_not_be_is_found(change, wrong):
    sound = {"source": "ts breaks", "last": 5, "uncounted": 0, "ordered": True, "ended": True, "reports": {"lost": 1}}
    assert live_faults.problems(sound | change) == wrong
