"""Limits of what a server takes from its clients: sizes, numbers, rates; what goes beyond is answered with a reason."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from teinet.errors import ConfigError, check_numbers

_CLIENTS = 10_000  # whose requests are counted; the one that was quiet for longest is forgotten


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a server, all above 0.

    Args:
        upload_mb: size of an upload or a download, 10^6 bytes.
        seconds, frames: length of a video.
        waiting: requests in work or waiting, with their uploads.
        rate: requests of one client in a minute.
        timeout: seconds for one request, from its first byte to its answer.
        jobs: timelines in work or waiting.
        keep: seconds for which the result of a job is kept.
        live: streams of live events at once.

    Raises:
        ConfigError: a value that is not above 0.
    """

    upload_mb: float = 200.0
    seconds: float = 3600.0
    frames: int = 250_000
    waiting: int = 64
    rate: int = 600
    timeout: float = 60.0
    jobs: int = 8
    keep: float = 3600.0
    live: int = 4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            check_numbers(**{field.name: value})
            if not value > 0:
                raise ConfigError(f"{field.name} is {value}; it must be above 0")

    @property
    def upload_bytes(self) -> int:
        """Largest size of a video in bytes."""
        return int(self.upload_mb * 1e6)

    def too_large(self) -> Refused:
        """Return the refusal of a larger video."""
        return Refused(
            413, f"the video has more than {self.upload_mb:g} MB, which is what this server takes (--max-upload)"
        )


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        code: status of the answer, 400 to 599.
        reason: one line for the client.
        retry: seconds after which the client may try again; None: not by waiting.
    """

    def __init__(self, code: int, reason: str, *, retry: float | None = None):
        super().__init__(reason)
        self.code, self.reason, self.retry = code, reason, retry

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to the answer."""
        found = {} if self.retry is None else {"Retry-After": str(max(1, round(self.retry + 0.5)))}
        return found | ({"WWW-Authenticate": "Bearer"} if self.code == 401 else {})


class Slots:
    """A bounded number of things at once; for the thread of the event loop.

    Args:
        most: how many.
        full: reason of the refusal if there are so many.
    """

    def __init__(self, most: int, full: str):
        self.taken = 0
        self._most, self._full = most, full

    def take(self) -> None:
        """Take a slot; Refused (503) if there is none."""
        if self.taken >= self._most:
            raise Refused(503, self._full, retry=1)
        self.taken += 1

    def leave(self) -> None:
        """Give a slot back."""
        self.taken -= 1

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a slot for a block."""
        self.take()
        try:
            yield
        finally:
            self.leave()


class RateLimiter:
    """Counts each client's requests: as many as `per_minute` at once, and that many a minute after that."""

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic):
        self._most, self._now = per_minute, now
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when they were

    def check(self, client: str) -> None:
        """Count a request; Refused (429) if the client has sent too many."""
        now, each = self._now(), 60 / self._most
        left, since = self._clients.pop(client, (float(self._most), now))
        left = min(float(self._most), left + (now - since) / each)
        self._clients[client] = (max(0.0, left - 1) if left >= 1 else left, now)
        if len(self._clients) > _CLIENTS:
            self._clients.popitem(last=False)
        if left < 1:
            raise Refused(429, f"more than {self._most} requests a minute", retry=(1 - left) * each)
