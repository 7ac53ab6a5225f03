"""Timelines of finished recordings come back as they were, and none is taken for that of another file or setting."""

from __future__ import annotations

import errno
import re

import numpy as np
import pytest

from teinet.detection import timeline
from teinet.detection.events import Rules
from teinet.detection.timeline_batch import ResultCache
from tests import miniatures
from tests.detection.test_recording import film, make  # noqa: F401

RULES = Rules(threshold=0.4, off_threshold=0.2, min_duration=0.2)


@pytest.fixture(scope="module")
def found(film):  # noqa: F811
    return timeline(make("teinet", causal=True), film, frame_interval=0.2, rules=RULES, strip=True)


def test_a_timeline_comes_back_as_it_was(film, found, tmp_path):  # noqa: F811
    cache = ResultCache(tmp_path / "new", {"frame_interval": 0.2})
    assert not cache.holds(film)
    cache.save(film, found)
    again = ResultCache(tmp_path / "new", {"frame_interval": 0.2}).load(film, RULES)
    assert cache.holds(film) and again.events == found.events and found.events and again.to_dict() == found.to_dict()
    assert again.class_names == found.class_names and again.strip.seconds == found.strip.seconds
    for name in ("intervals", "scores", "resets"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    np.testing.assert_array_equal(again.strip.images, found.strip.images)
    other = cache.load(
        film, Rules(threshold=0.4, off_threshold=0.2, min_duration=0.2, background=("a",))
    )  # rules read the scores alone
    assert all(event.label != "a" for event in other.events)
    (tmp_path / "new" / "of_others").write_text("")
    cache.clear()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["of_others"]


def test_another_file_other_settings_and_what_is_damaged_are_looked_at_again(film, found, tmp_path):  # noqa: F811
    settings = {"weights": "abc", "frame_interval": 0.2, "smoothing": None}
    cache, video = ResultCache(tmp_path / "kept", settings), tmp_path / "film.mp4"
    video.write_bytes(film.read_bytes())
    cache.save(video, found)
    for change in ({"weights": "abd"}, {"frame_interval": 0.3}, {"smoothing": 1}):
        assert not ResultCache(tmp_path / "kept", settings | change).holds(video)
    (kept,) = (tmp_path / "kept").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-100])
    assert not cache.holds(video)
    kept.write_bytes(whole)
    assert cache.holds(video) and not cache.holds(tmp_path / "absent.mp4")
    miniatures.write(video, 4, length=31, rate=10)
    assert not cache.holds(video)


def test_what_cannot_be_written_is_an_error_of_the_system(film, found, tmp_path, monkeypatch):  # noqa: F811
    """As a full disk gives, which a command says in one line."""

    def full(file, **arrays):
        file.write(b"abc")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=rf"No space left on device: '{re.escape(str(tmp_path))}"):
        ResultCache(tmp_path, {}).save(film, found)
    assert not list(tmp_path.iterdir())
