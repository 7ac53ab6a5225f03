"""Live events as server-sent events: the notices of a watch, each as the JSON that `teinet watch --json` prints."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from teinet.detection.events import Rules
from teinet.detection.monitor import Watch
from teinet.errors import TeinetError, VideoError
from teinet.recognition import Recognizer

log = logging.getLogger("teinet")

_BACKLOG = 1000  # notices that a client may be late
_CHECK = 1.0  # seconds between looks whether the client is still there
_SIGN = 15  # checks without a notice after which a comment is sent: proxies close what is silent

Item = dict[str, Any] | str | None  # a notice as JSON values; the reason of a failure, or None, at the end


class LiveEvents:
    """Watches a source in a thread, until `stop`.

    Args:
        borrow: gives a recognizer for the time of the watch.
        source, rules, frame_interval: as `Watch` takes them.
    """

    def __init__(
        self,
        borrow: Callable[[], AbstractContextManager[Recognizer]],
        source: str,
        rules: Rules,
        frame_interval: float | None = None,
    ):
        self._borrow, self._source, self._rules, self._interval = borrow, source, rules, frame_interval
        self._loop, self._items = asyncio.get_running_loop(), asyncio.Queue()
        self._watch: Watch | None = None
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name=f"watches {source}", daemon=True).start()

    def stop(self) -> None:
        """End the watch after its current step; from any thread."""
        self._stopped.set()
        if self._watch is not None:
            self._watch.stop()

    async def next(self) -> Item:
        """Return the next item."""
        return await self._items.get()

    def _run(self) -> None:
        end: str | None = None
        try:
            with self._borrow() as recognizer:
                rules = self._rules.filled(recognizer.background)
                self._watch = Watch(recognizer, [self._source], rules=rules, frame_interval=self._interval)
                if self._stopped.is_set():
                    return
                for notice in self._watch:
                    self._put(notice.to_dict())
                    if self._items.qsize() > _BACKLOG:
                        self.stop()
        except TeinetError as error:
            end = error.reason if isinstance(error, VideoError) else str(error)
        except Exception:
            log.exception("a live stream failed")
            end = "internal error; the server's log says more"
        finally:
            self._put(end)

    def _put(self, item: Item) -> None:
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
        except RuntimeError:  # the server has ended
            self.stop()


class LiveResponse(StreamingResponse):
    """The answer to a request for live events, until the source ends, the client goes or the server stops.

    Args:
        first: the first items.
        close: is called at the end, whatever ends it.
    """

    def __init__(
        self,
        request: Request,
        events: LiveEvents,
        first: list[Item],
        stopping: threading.Event,
        close: Callable[[], object],
    ):
        super().__init__(self._lines(request, events, first, stopping), media_type="text/event-stream")
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()

    @staticmethod
    async def _lines(
        request: Request, events: LiveEvents, first: list[Item], stopping: threading.Event
    ) -> AsyncIterator[str]:
        silent = 0
        yield ": watching\n\n"
        while not stopping.is_set() and not await request.is_disconnected():
            try:
                item = first.pop(0) if first else await asyncio.wait_for(events.next(), _CHECK)
            except TimeoutError:
                silent += 1
                if silent % _SIGN == 0:
                    yield ": watching\n\n"
                continue
            silent = 0
            if item is None:
                return
            if isinstance(item, str):
                yield f"event: error\n{_data({'error': item})}"
                return
            yield _data(item)


def _data(values: dict[str, Any]) -> str:
    return f"data: {json.dumps(values, allow_nan=False)}\n\n"
