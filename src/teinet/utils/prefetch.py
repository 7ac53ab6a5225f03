"""Work ahead in background threads, a bounded number of items; decoding and resizing leave Python's lock free."""

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
    """Yield every item with its finished work, in order; at most `workers + 1` items are ahead of the reader.

    The future raises what `work` raised. Closing the generator drops what has not begun.
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
