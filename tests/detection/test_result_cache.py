"""Timelines of finished recordings come back as they were; what belongs to something else is neither used nor lost."""

from __future__ import annotations

import errno
import re

import numpy as np
import pytest

from teinet.detection import timeline
from teinet.detection.events import Rules
from teinet.detection.result_cache import ResultCache, fingerprint
from teinet.errors import ConfigError
from tests import miniatures
from tests.detection.test_recording import film, make  # noqa: F401

RULES = Rules(begin=0.4, end=0.2, least=0.2)


@pytest.mark.parametrize("strip", [True, False])
def test_a_timeline_comes_back_as_it_was(film, tmp_path, strip):  # noqa: F811
    recognizer = make("teinet", causal=True)
    want = timeline(recognizer, film, spacing=0.2, rules=RULES, strip=strip)
    cache = ResultCache(tmp_path / "new", recognizer, {"spacing": 0.2})
    assert cache.load(film, RULES) is None and not cache.holds(film)
    cache.save(film, want)
    found = ResultCache(tmp_path / "new", recognizer, {"spacing": 0.2}).load(film, RULES)
    assert cache.holds(film) and found.events == want.events and want.events and found.to_dict() == want.to_dict()
    for name in ("reaches", "scores", "resets"):
        np.testing.assert_array_equal(getattr(found, name), getattr(want, name))
    assert (found.strip is None) is not strip and (not strip or (found.strip.pictures == want.strip.pictures).all())
    other = cache.load(film, Rules(begin=0.4, end=0.2, least=0.2, nothing=("a",)))  # rules read the scores alone
    assert all(event.label != "a" for event in other.events)
    (tmp_path / "new" / "of_others").write_text("")
    cache.clear([film])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["of_others"]


def test_a_changed_video_or_a_damaged_file_is_looked_at_again(film, tmp_path):  # noqa: F811
    recognizer = make("teinet", causal=True)
    cache = ResultCache(tmp_path / "kept", recognizer, {"spacing": 0.2})
    video = tmp_path / "film.mp4"
    video.write_bytes(film.read_bytes())
    cache.save(video, timeline(recognizer, video, spacing=0.2))
    (kept,) = (tmp_path / "kept").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:100])
    assert not cache.holds(video)
    kept.write_bytes(whole)
    assert cache.holds(video)
    miniatures.write(video, 4, length=31, rate=10)
    assert not cache.holds(video)


def test_another_recognizer_or_other_settings_are_refused(film, tmp_path):  # noqa: F811
    recognizer = make("teinet", causal=True)
    settings = {"spacing": 0.2, "span": None, "pictures": False}
    ResultCache(tmp_path, recognizer, settings).save(film, timeline(recognizer, film, spacing=0.2))
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    for other, now, words in [
        (recognizer, settings | {"spacing": 0.3}, "spacing 0.2, not 0.3: say"),
        (recognizer, settings | {"spacing": 0.3, "span": 1}, "spacing 0.2, not 0.3; span unset, not 1"),
        (recognizer, settings | {"pictures": True}, "pictures off, not on"),
        (make("tsn", causal=True), settings, "with another recognizer or --optimize: say .*--anew"),
    ]:
        with pytest.raises(ConfigError, match=words):
            ResultCache(tmp_path, other, now).holds(film)
        assert kept.read_bytes() == whole


def test_the_fingerprint_knows_what_scores_depend_on():
    recognizer = make("teinet", causal=True)
    own = fingerprint(recognizer)
    assert own == fingerprint(recognizer) != fingerprint(recognizer.optimize(engine="folded"))
    recognizer.model.cnn.fc.bias.data[0] += 1e-3
    assert fingerprint(recognizer) != own


def test_what_cannot_be_written_is_an_error_of_the_system(film, tmp_path, monkeypatch):  # noqa: F811
    """As a full disk gives, which a command says in one line."""
    recognizer = make("teinet", causal=True)
    with pytest.raises(FileNotFoundError, match=r"state\.safetensors"):
        recognizer.stream().state.save(tmp_path / "nowhere" / "state.safetensors")

    def full(file, **arrays):
        file.write(b"abc")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    cache = ResultCache(tmp_path, recognizer, {})
    with pytest.raises(OSError, match=rf"No space left on device: '{re.escape(str(tmp_path))}"):
        cache.save(film, timeline(recognizer, film, spacing=0.2))
    assert not list(tmp_path.iterdir())
