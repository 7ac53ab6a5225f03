"""Batches over requests: together through the network, each with its own answer, none of them waiting for others."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest

from teinet.errors import VideoError
from teinet.serving.batching import Batcher


@pytest.fixture
def batcher(recognizer):
    made = Batcher(recognizer, batch_size=4, workers=8)
    yield made
    made.close()


@pytest.fixture
def passes(recognizer):
    """The number of views in each pass of the network; the first pass waits for `go`."""
    sizes, begun, go = [], threading.Event(), threading.Event()

    def before(_, args):
        sizes.append(len(args[0]))
        begun.set()
        go.wait(20)

    hook = recognizer.model.register_forward_pre_hook(before)
    yield sizes, begun, go
    go.set()
    hook.remove()


def videos(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8) // (1 + n) for n in range(count)]


def test_what_waits_for_the_network_goes_through_it_together(recognizer, batcher, passes):
    sizes, begun, go = passes
    clips = videos(7)
    first = batcher.submit(lambda: recognizer.decode(clips[0]))
    assert begun.wait(20)
    rest = [batcher.submit(lambda clip=clip: recognizer.decode(clip)) for clip in clips[1:]]
    while len(batcher._ready) < 6:
        pass
    go.set()
    found = [each.result(20) for each in (first, *rest)]
    assert sizes == [1, 4, 2]
    for clip, answer in zip(clips, found, strict=True):
        np.testing.assert_allclose(answer.scores, recognizer(clip).scores, atol=1e-5)
    apart = np.array([answer.scores for answer in found])
    assert np.abs(apart[:, None] - apart).max(-1)[np.triu_indices(7, 1)].min() > 1e-4  # one is not like another


def test_several_views_of_one_request_stay_together(recognizer, batcher):
    clip = videos(1)[0]
    answer = batcher.submit(lambda: recognizer.decode(clip, views="7x1")).result(20)
    np.testing.assert_allclose(answer.scores, recognizer(clip, views="7x1").scores, atol=1e-5)


def test_errors_and_cancelled_requests_are_those_of_one_request(recognizer, batcher, passes):
    sizes, begun, go = passes
    clips = videos(3)

    def unreadable():
        raise VideoError("x.mp4", "broken")

    first = batcher.submit(lambda: recognizer.decode(clips[0]))
    assert begun.wait(20)
    gone = batcher.submit(lambda: recognizer.decode(clips[1]))
    wrong = batcher.submit(unreadable)
    good = batcher.submit(lambda: recognizer.decode(clips[2]))
    assert gone.cancel()
    go.set()
    with pytest.raises(VideoError, match="broken"):
        wrong.result(20)
    np.testing.assert_allclose(good.result(20).scores, recognizer(clips[2]).scores, atol=1e-5)
    assert first.result(20).error is None and sizes[:2] == [1, 1]


def test_a_failing_network_fails_its_requests_and_not_later_ones(recognizer, batcher):
    def full(*_):
        raise MemoryError("no memory")

    hook, clip = recognizer.model.register_forward_pre_hook(full), videos(1)[0]
    try:
        with pytest.raises(MemoryError):
            batcher.submit(lambda: recognizer.decode(clip)).result(20)
    finally:
        hook.remove()
    assert batcher.submit(lambda: recognizer.decode(clip)).result(20).error is None


def test_closing_cancels_what_waits(recognizer, passes):
    _, begun, go = passes
    batcher, clip = Batcher(recognizer, batch_size=1, workers=1), videos(1)[0]
    answers = [batcher.submit(lambda: recognizer.decode(clip)) for _ in range(8)]
    assert begun.wait(20)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    go.set()
    closing.join(20)
    assert answers[0].result(20).error is None
    with pytest.raises(CancelledError):
        answers[-1].result(20)
