"""Prefetching in background threads, bounded in number; decoding and resizing release Python's global lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int = 2
) -> Iterator[tuple[Item, Future[Result]]]:
    """Yield each item with a finished future of `work(item)`, in order, working on at most `workers + 1` items ahead.

    The future raises what `work` raised. Closing the generator cancels the items that have not started.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    ahead: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            ahead.append((item, pool.submit(work, item)))
            if len(ahead) > workers + 1:
                yield _finished(ahead)
        while ahead:
            yield _finished(ahead)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _finished(ahead: deque) -> tuple:
    item, future = ahead.popleft()
    future.exception()  # waits
    return item, future
