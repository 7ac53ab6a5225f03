"""Batches of views of several videos, for passes of the network that one video alone would not fill."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

Video = TypeVar("Video")


def in_batches(
    run: Callable[[np.ndarray], np.ndarray], videos: Iterable[tuple[Video, np.ndarray]], batch_size: int | None
) -> Iterator[tuple[Video, np.ndarray]]:
    """Yield each video with the logits (V, classes) of its views, in order.

    At most `batch_size` views wait besides those of one video.

    Args:
        run: maps views (N, T, S, S, 3) to logits (N, classes).
        videos: each with its views (V, T, S, S, 3); one without views (V = 0) keeps its place.
        batch_size: views in one call of `run`, at least 1; None calls it once for each video.
    """
    waiting: deque[tuple[Video, int]] = deque()
    views = np.empty(0)
    rows: deque[np.ndarray] = deque()  # logits of views whose videos are not complete

    def complete() -> Iterator[tuple[Video, np.ndarray]]:
        while waiting and waiting[0][1] <= len(rows):
            video, count = waiting.popleft()
            own = [rows.popleft() for _ in range(count)]
            yield video, np.stack(own) if own else np.empty(0)

    for video, own in videos:
        waiting.append((video, len(own)))
        if len(own):
            views = np.concatenate([views, own]) if len(views) else own
        size = batch_size or len(views)
        while size and len(views) >= size:
            rows.extend(run(views[:size]))
            views = views[size:]
        yield from complete()
    if len(views):
        rows.extend(run(views))
    yield from complete()
