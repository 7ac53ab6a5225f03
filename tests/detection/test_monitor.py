"""Several sources and one recognizer: what is said, that nothing of one source reaches another, how it ends."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from teinet.data.video.reader import VideoReader
from teinet.detection import Watch, timeline
from teinet.detection import monitor as module
from teinet.detection.events import Rules
from teinet.errors import ConfigError, VideoError
from tests import miniatures
from tests.detection.sources import Made, frame
from tests.detection.test_recording import make

RULES = Rules(threshold=0.34, off_threshold=0.3, min_duration=0.2)


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("films")
    return [str(miniatures.write(folder / f"{kind}.mp4", kind, length=30 + 7 * kind, rate=10)) for kind in (1, 2, 3)]


@pytest.fixture(scope="module")
def recognizer():
    return make("teinet", causal=True, header={"frame_interval": 0.2})


def ended(notices, source):
    return [notice.event for notice in notices if notice.type == "end" and notice.source == source]


def same(events, others):
    assert [(e.label, e.start, e.end) for e in events] == [(e.label, e.start, e.end) for e in others]
    assert [e.score for e in events] == pytest.approx([e.score for e in others], abs=1e-3)


def test_several_recordings_at_once_give_what_each_gives_alone(recognizer, films):
    watch = Watch(recognizer, films, rules=RULES, fast=True)
    notices = list(watch)
    for number, film in enumerate(films):
        alone = timeline(recognizer, film, rules=RULES)
        assert alone.events
        same(ended(notices, film), alone.events)
        assert (watch.counts(number).steps, watch.counts(number).dropped) == (len(alone.times), 0)
        mine = [notice.type for notice in notices if notice.source == film]
        assert mine[0] == "connected" and mine[-1] == "finished"
        assert mine.count("begin") == mine.count("end")


def test_a_bidirectional_network_by_windows_gives_what_the_timeline_gives(films):
    recognizer = make("teinet", causal=False, header={"frame_interval": 0.2})
    alone = timeline(recognizer, films[0], rules=RULES)
    assert alone.events
    same(ended(Watch(recognizer, films[:1], rules=RULES, fast=True, windows=True), films[0]), alone.events)


def patched(monkeypatch, *sources: Made) -> list[str]:
    """Have the words name made-up sources."""
    known = {source.name: source for source in sources}
    monkeypatch.setattr(module.Source, "parse", classmethod(lambda cls, word: known[word]))
    return list(known)


def test_a_source_that_ends_or_is_not_there_leaves_the_others_alone(monkeypatch, recognizer, films):
    short = Made([[frame(i / 5) for i in range(3)]], name="short", kind="pipe")
    absent = Made([VideoError("absent", "refused")], name="absent")
    names = patched(monkeypatch, short, absent, module.Source.parse(films[0]))
    watch = Watch(recognizer, names, rules=RULES, fast=True)
    notices = list(watch)
    same(ended(notices, films[0]), timeline(recognizer, films[0], rules=RULES).events)
    assert watch.counts(0).steps == 3
    assert next(n.reason for n in notices if n.source == "absent") == "refused; given up"


def test_sources_of_which_none_can_be_read_are_an_error(monkeypatch, recognizer):
    names = patched(monkeypatch, *(Made([VideoError(name, "refused")], name=name) for name in ("one", "two")))
    said = []
    with pytest.raises(VideoError, match="one: refused"):
        said += (f"{notice.source} {notice.reason}" for notice in Watch(recognizer, names))
    assert said == ["one refused; given up", "two refused; given up"]


def test_a_jump_ends_what_is_under_way_and_begins_again(monkeypatch, recognizer, films):
    """Twice the same frames with a jump between them: twice the same events, the second ones later."""
    data = VideoReader(films[0]).sample(lambda n: np.arange(0, 20, 2)).images
    once, again = ([frame(begin + i / 5, image=p) for i, p in enumerate(data)] for begin in (0, 1000))
    names = patched(monkeypatch, Made([once + again], kind="pipe"))
    notices = list(Watch(recognizer, names, rules=RULES, fast=True, delay=60))
    events = ended(notices, "made")
    half = len(events) // 2
    assert half and len(events) % 2 == 0
    assert [e.label for e in events[:half]] == [e.label for e in events[half:]]
    assert [e.score for e in events[:half]] == pytest.approx([e.score for e in events[half:]], abs=1e-5)
    jump = next(i for i, notice in enumerate(notices) if notice.type == "restarted")
    assert sum(notice.type == "end" for notice in notices[:jump]) == half


def test_stop_ends_the_watch_and_what_is_under_way(monkeypatch, recognizer, films):
    watch = Watch(recognizer, films[2:], rules=Rules(threshold=0.0, off_threshold=0.0, min_duration=0.0))
    timer = threading.Timer(1.0, watch.stop)
    timer.start()
    began = time.monotonic()
    notices = list(watch)
    assert time.monotonic() - began < 4  # the film lasts 5.1 s
    whats = [notice.type for notice in notices]
    assert whats[:2] == ["connected", "begin"] and whats[-1] == "end"
    assert "finished" not in whats and whats.count("begin") == whats.count("end")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reads ")]


def test_what_cannot_be_watched_is_refused(recognizer, films):
    bidirectional = make("teinet", causal=False, header={"frame_interval": 0.2})
    for network, sources, options, words in (
        (bidirectional, films, {"windows": True, "smoothing": 3}, "smoothing .3. is for causal models"),
        (bidirectional, films, {"windows": True, "state": "fp16"}, r"state \(fp16\) is for causal models"),
        (recognizer, films, {"delay": float("nan")}, "delay"),
        (recognizer, films, {"stall": 0}, "stall"),
        (recognizer, films[:1] * 2, {}, "twice"),
        (recognizer, [], {}, "no source to watch"),
    ):
        with pytest.raises(ConfigError, match=words):
            Watch(network, sources, **options)


def test_a_view_shows_the_last_frame(recognizer, films):
    watch = Watch(recognizer, films[:1], fast=True)
    assert watch.view(0).image is None
    list(watch)
    view, alone = watch.view(0), timeline(recognizer, films[0])
    assert view.time == pytest.approx(alone.intervals[-1, 1])
    np.testing.assert_allclose(view.scores, alone.scores[-1], atol=1e-3)
    assert view.image.shape == (32, 32, 3)


def test_the_example_of_the_page_gives_what_a_watch_gives(films, capsys):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "live.md").read_text()
    (example,) = [text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "detector(" in text]
    recognizer = make("teinet", causal=True, header={"frame_interval": 0.25})
    options = "threshold=0.6, off_threshold=0.4"
    assert options in example
    told = []
    scope = {"recognizer": recognizer, "print": told.append}
    example = example.replace(options, "threshold=0.34, off_threshold=0.3, min_duration=0.2")
    example = example.replace('teinet.Recognizer.load("runs/live")', "recognizer")
    exec(example.replace('"camera"', repr(films[0])), scope)
    told += scope["detector"].finish()
    events = ended(Watch(recognizer, films[:1], rules=RULES, fast=True), films[0])
    assert events
    same(events, [change.event for change in told if change.type == "end"])


EVER = Rules(threshold=0.0, off_threshold=0.0, min_duration=0.0)  # something is under way from the first frame on


def test_after_its_end_nothing_is_under_way_in_the_view(monkeypatch, recognizer):
    names = patched(monkeypatch, Made([[frame(i / 5) for i in range(3)]]))
    watch = Watch(recognizer, names, rules=EVER, delay=60)
    seen = {}
    for notice in watch:
        seen[notice.type] = watch.view(0)
        if notice.type == "lost":
            watch.stop()
    assert seen["begin"].event is None and seen["end"].event is not None  # a view is of the step before
    assert seen["lost"].event is None and seen["lost"].scores is None and seen["lost"].image is not None


def test_a_stalled_source_ends_what_is_under_way_and_the_others_go_on(monkeypatch, recognizer):
    goes_on = threading.Event()

    def script():
        yield frame(0.0)
        goes_on.wait(10)
        yield frame(0.2)

    sound = Made([[frame(i / 50) for i in range(5)]], name="sound", kind="pipe")
    names = patched(monkeypatch, Made([script()], name="stuck", kind="pipe"), sound)
    watch = Watch(recognizer, names, rules=EVER, delay=60, stall=0.5)
    whats = []
    for notice in watch:
        if notice.source == "stuck":
            whats.append(notice.type)
        if notice.type == "stalled":
            assert watch.view(0).event is None and watch.view(0).scores is None and watch.counts(1).steps == 1
            goes_on.set()
    assert whats == ["connected", "begin", "end", "stalled", "resumed", "begin", "end", "finished"]
    assert watch.counts(0).stalls == 1 and watch.counts(1).stalls == 0
