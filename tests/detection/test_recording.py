"""A long recording: what is found equals separate steps, or separate windows; gaps begin again."""

from __future__ import annotations

import threading
from fractions import Fraction

import numpy as np
import pytest
import torch

import teinet
from teinet.data.transforms import Preprocessing, test_crops
from teinet.data.video.reader import VideoReader
from teinet.detection import Watch, timeline
from teinet.detection.events import EventDetector, Rules
from teinet.detection.recording import Thumbnails
from teinet.detection.scorer import SampledFrame, WindowScorer
from teinet.errors import ConfigError, Interrupted, VideoError
from teinet.evaluation.segments import detections
from teinet.models import set_num_frames
from tests import miniatures
from tests.data.video.test_frames import changing, zero_packets
from tests.data.video.test_frames import film as write_film
from tests.models.test_causal import network

T = 4

SHARPER = 200.0


def make(name: str, *, causal: bool, header: dict | None = None) -> teinet.Recognizer:
    model = set_num_frames(network(name, causal=causal), T).float()
    pixels = Preprocessing(size=32, short_side=32, mean=model.data_config["mean"], std=model.data_config["std"])
    return teinet.Recognizer(model, list("abc"), preprocessing=pixels, header=header or {})


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """61 frames at 10 a second."""
    return miniatures.write(tmp_path_factory.mktemp("film") / "film.mp4", 3, length=61, rate=10)


@pytest.mark.parametrize("name", ["teinet", "tsm", "tsn"])
def test_a_causal_network_gives_what_single_steps_give(film, name):
    recognizer = make(name, causal=True)
    found = timeline(recognizer, film, frame_interval=0.2, smoothing=3)
    frames = VideoReader(film).sample(lambda n: np.arange(0, n, 2))
    stream = recognizer.stream(smoothing=3)
    steps = [stream.step([image]) for image in frames.images]
    firsts = np.maximum(np.arange(len(steps)) - 2, 0)
    np.testing.assert_allclose(found.times, (frames.times[firsts] + frames.times) / 2, atol=1e-3)
    np.testing.assert_allclose(found.scores, np.concatenate([step.scores for step in steps]), atol=2e-4)
    again = recognizer.stream(smoothing=1)  # in another order each frame has other scores, if the network knows order
    other = np.concatenate([again.step([image]).scores for image in frames.images[::-1]])[::-1]
    own = timeline(recognizer, film, frame_interval=0.2, smoothing=1).scores
    assert (np.abs(own - other).max() > 1e-2) == (name != "tsn")


@pytest.mark.parametrize("causal", [True, False])
def test_a_score_is_known_when_the_last_of_its_frames_comes(film, causal):
    found = timeline(make("teinet", causal=causal), film, frame_interval=0.2)
    intervals = found.intervals.round(3).tolist()
    assert intervals[-1] == [5.4, 6.0] and intervals[0] == ([0.0, 0.0] if causal else [0.0, 0.6])
    if causal:
        alone = timeline(make("teinet", causal=True), film, frame_interval=0.2, smoothing=1)
        np.testing.assert_array_equal(alone.intervals[:, 0], alone.intervals[:, 1])


@pytest.mark.parametrize("causal", [True, False])
def test_what_goes_on_from_beginning_to_end_is_an_event_of_the_whole_length(film, causal):
    """The network's bias says a; the first window's middle is 0.3 s, the last one's 5.7 s."""
    recognizer = make("teinet", causal=causal)
    with torch.no_grad():
        recognizer.model.cnn.fc.weight.zero_()
        recognizer.model.cnn.fc.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    (event,) = timeline(recognizer, film, frame_interval=0.2).events
    assert (event.label, event.start) == ("a", 0.0) and event.end == pytest.approx(6.0, abs=1e-3)


def test_an_event_is_announced_when_a_stream_would_say_it(film):
    """Against single steps: the second of the frame with which "begin" comes, also where few frames have been seen."""
    recognizer, rules = make("teinet", causal=True), Rules(threshold=0.4, off_threshold=0.2, min_duration=0.2)
    usual = np.log(timeline(recognizer, film, frame_interval=0.2, smoothing=1).scores).mean(0)
    with torch.no_grad():  # so that what is seen decides, and changes
        recognizer.model.cnn.fc.bias.sub_(torch.from_numpy(usual)).mul_(SHARPER)
        recognizer.model.cnn.fc.weight.mul_(SHARPER)
    found = timeline(recognizer, film, frame_interval=0.2, rules=rules)
    frames = VideoReader(film).sample(lambda n: np.arange(0, n, 2))
    stream, events, said = recognizer.stream(), EventDetector(recognizer.class_names, rules), []
    times = frames.times.tolist()
    for number, (second, image) in enumerate(zip(times, frames.images)):
        scores = stream.step([image]).scores[0]
        changes = events.update((times[max(0, number + 1 - T)], second), scores)
        said += [(second, change.event.label) for change in changes if change.type == "begin"]
    said += [(second, change.event.label) for change in events.finish() if change.type == "begin"]
    measured = detections(found.events, found.intervals, min_duration=rules.min_duration)
    assert len(said) > 1 and min(said)[0] < (T - 1) * 0.2
    assert [(round(d.announced, 3), d.label) for d in measured] == [(round(s, 3), label) for s, label in said]


@pytest.mark.parametrize(
    ("causal", "stride", "starts"),
    [(False, None, [*range(0, 28, 2), 27]), (False, 1, range(28)), (True, 4, [*range(0, 28, 4), 27])],
)
def test_windows_give_what_separate_windows_give(film, causal, stride, starts):
    recognizer = make("teinet", causal=causal)
    found = timeline(recognizer, film, frame_interval=0.2, stride=stride, windows=causal)
    frames = VideoReader(film).sample(lambda n: np.arange(0, n, 2))
    clip = test_crops(frames.images, recognizer.preprocessing)[0]
    want = np.stack([recognizer.scores(clip[None, s : s + T]) for s in starts])
    np.testing.assert_allclose(found.scores, want, atol=2e-4)
    middles = [(frames.times[s] + frames.times[s + T - 1]) / 2 for s in starts]
    np.testing.assert_allclose(found.times, middles, atol=1e-3)


def test_compiled_windows_are_always_as_many(film, monkeypatch):
    recognizer = make("teinet", causal=False)
    want = timeline(recognizer, film, frame_interval=0.2, stride=2)
    assert len(want.times) % 2  # the last window is alone
    sizes = []
    recognizer.model.register_forward_pre_hook(lambda model, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr("teinet.models.optimized.is_compiled", lambda model: True)
    found = timeline(recognizer, film, frame_interval=0.2, stride=2)
    assert set(sizes) == {2}
    np.testing.assert_array_equal(found.times, want.times)
    np.testing.assert_allclose(found.scores, want.scores, atol=1e-6)


@pytest.mark.parametrize("causal", [True, False])
def test_a_recording_shorter_than_a_clip_still_has_an_answer(tmp_path, causal):
    path = miniatures.write(tmp_path / "short.mp4", 0, length=3, rate=10)
    found = timeline(make("teinet", causal=causal), path, frame_interval=0.1)
    assert len(found.times) == (3 if causal else 1) and found.scores.shape[1] == 3


def test_what_the_weights_call_nothing_makes_no_event(film):
    rules = Rules(threshold=0.0, off_threshold=0.0, min_duration=0.0)
    for nothing, expected in ((["a", "b"], {"c"}), ([], {"a", "b", "c"})):
        recognizer = make("teinet", causal=True, header={"background": nothing})
        assert recognizer.background == tuple(nothing)
        found = timeline(recognizer, film, frame_interval=0.2, rules=rules)
        assert found.events and {event.label for event in found.events} <= expected
        watch = Watch(recognizer, [str(film)], frame_interval=0.2, rules=rules)
        assert watch._streams.events[0].rules.background == tuple(nothing)
    everything = timeline(
        recognizer,
        film,
        frame_interval=0.2,
        rules=Rules(threshold=0.0, off_threshold=0.0, min_duration=0.0, background=()),
    )
    assert everything.events == found.events


def test_the_spacing_is_that_of_training_unless_said(film):
    recognizer = make("tsn", causal=True, header={"frame_interval": 0.5})
    assert len(timeline(recognizer, film).times) == 13
    with pytest.raises(ConfigError, match="--frame-interval"):
        timeline(make("tsn", causal=True), film)


def test_progress_reaches_the_end_and_it_can_be_stopped(film):
    stop, reached = threading.Event(), []
    timeline(make("tsn", causal=True), film, frame_interval=1.0, progress=reached.append)
    assert len(reached) == 61 and reached[-1] == pytest.approx(6.0, abs=1e-3)
    with pytest.raises(Interrupted, match=r"stopped at 2\.0 s"):
        timeline(
            make("tsn", causal=True),
            film,
            frame_interval=1.0,
            stop=stop,
            progress=lambda s: stop.set() if s >= 1.5 else None,
        )


def test_what_does_not_fit_is_one_line(film, tmp_path):
    recognizer = make("teinet", causal=False)
    for options, words in [
        ({"stride": 5}, "at most 4"),
        ({"stride": 0}, "at least 1"),
        ({"smoothing": 0}, "at least 1"),
    ]:
        with pytest.raises(ConfigError, match=words):
            timeline(recognizer, film, frame_interval=0.2, **options)
    with pytest.raises(ConfigError, match="'d' is no class"):
        timeline(recognizer, film, frame_interval=0.2, rules=Rules(background=("d",)))
    with pytest.raises(VideoError, match="no such file"):
        timeline(recognizer, tmp_path / "absent.mp4", frame_interval=0.2)


@pytest.mark.parametrize("causal", [True, False])
def test_what_has_no_meaning_for_a_network_is_refused(film, causal):
    recognizer = make("teinet", causal=causal)
    with pytest.raises(ConfigError, match="windows" if causal else "one frame at a time"):
        timeline(recognizer, film, frame_interval=0.2, **({"stride": 2} if causal else {"smoothing": 1}))
    with pytest.raises(ConfigError, match="one frame at a time"):
        timeline(recognizer, film, frame_interval=0.2, smoothing=1, windows=True)


def test_what_is_wrong_with_a_recording_is_counted_and_said(tmp_path):
    """Another size after 2 s begins again; a file of 4 s with 60 % of its bytes ends early; two packets are zeros."""
    recognizer = make("teinet", causal=True)
    sizes = changing(tmp_path / "sizes.ts")
    found = timeline(recognizer, sizes, frame_interval=0.1, strip=True)
    assert found.trouble == "1 restart at changes of the frame size" and found.to_dict()["resizes"] == 1
    assert np.flatnonzero(found.resets).tolist() == [0, 20]
    assert {image.shape for image in found.strip.images} == {(32, 32, 3)}
    alone = timeline(recognizer, changing(tmp_path / "second.ts", ((48, 64),)), frame_interval=0.1)
    np.testing.assert_allclose(found.scores[20:], alone.scores, atol=1e-3)  # as if nothing had been before

    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    start = {"movflags": "faststart"}
    cut = miniatures.encode(tmp_path / "cut.mp4", noise, options={"g": "10"}, rate=25, container=start)
    assert timeline(recognizer, cut, frame_interval=0.1).trouble == ""
    cut.write_bytes(cut.read_bytes()[: int(0.6 * cut.stat().st_size)])
    with pytest.raises(VideoError, match=r"cut off: it ends at 2\.\d s of 4\.0 s; more than max_damaged \(0\.1\)"):
        timeline(recognizer, cut, frame_interval=0.1)
    found = timeline(recognizer, cut, frame_interval=0.1, max_damaged=0.5)
    assert 2.0 < found.end < 2.8 and found.stated_duration == pytest.approx(4.0, abs=0.01)
    assert found.trouble.endswith(f"ends at {found.end:.1f} s of 4.0 s: cut off?")

    broken = write_film(tmp_path / "broken.avi", "mjpeg", {}, pixels="yuvj420p")
    zero_packets(broken, (10, 40))
    want = timeline(recognizer, broken, frame_interval=0.1)
    assert want.broken == 2 and want.trouble == "2 packets could not be decoded whole"
    with pytest.raises(VideoError, match=r"damaged: 2 of its 60 frames cannot be decoded whole"):
        timeline(recognizer, broken, frame_interval=0.1, max_damaged=0.03)


def test_frames_far_apart_are_no_gaps_when_they_are_asked_for(tmp_path):
    """Ten frames, 2.5 s apart, as a time-lapse camera gives them."""
    path = miniatures.encode(tmp_path / "lapse.mp4", miniatures.frames(4, 10), rate=Fraction(2, 5))
    recognizer = make("teinet", causal=True)
    assert timeline(recognizer, path, frame_interval=2.5).restarts == 0
    assert timeline(recognizer, path, frame_interval=0.2).restarts == 9


def test_a_strip_is_bounded_and_even(tmp_path):
    for count in (1, 40, 49, 400, 3000):
        strip = Thumbnails()
        for number in range(count):
            strip.add(0.1 * number, np.full((60, 200, 3), number % 256, np.uint8))
        apart = np.diff(strip.seconds)
        assert min(count, 24) <= len(strip.seconds) <= 48 and {image.shape for image in strip.images} == {(58, 192, 3)}
        assert count < 50 or apart.max() < 1.3 * apart.min()
        assert 0.1 * (count - 1) - strip.seconds[-1] <= (apart.max() if count > 1 else 0)
        values = [image[0, 0, 0] for image in strip.images]
        np.testing.assert_array_equal(values, np.round(np.array(strip.seconds) * 10).astype(int) % 256)
        assert strip.nearest(0.0)[0, 0, 0] == 0


def test_windows_go_on_after_what_waited_was_asked_for():
    """A source that stalls after one frame, before the first window (T = 4, one every two frames) is full."""
    scorer = WindowScorer(make("teinet", causal=False), stride=2)
    frames = [SampledFrame(float(second), np.zeros((32, 32, 3), np.uint8), second == 0) for second in range(9)]
    found = [*scorer.push({0: frames[0]})[0], *scorer.finish(0)]
    found += [row for frame in frames[1:] for row in scorer.push({0: frame})[0]]
    assert [row.interval for row in found] == [(0, 0), (0, 3), (2, 5), (4, 7)]
    assert [row.reset for row in found] == [True, False, False, False]
