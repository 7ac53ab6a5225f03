"""Sources made up for tests, with whatever times, sizes and faults are wanted; and all that a reader makes of one."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np

from teinet.data.video.source import Source
from teinet.detection.source_thread import DueFrame, SourceThread
from teinet.errors import VideoError


def frame(
    second: float | None, *, size: tuple[int, int] = (24, 32), gray: int = 0, image: np.ndarray | None = None
) -> av.VideoFrame:
    """An image, gray if none is given, shown at `second`; None for one without a timestamp."""
    image = np.full((*size, 3), gray, np.uint8) if image is None else image
    made = av.VideoFrame.from_ndarray(image, format="rgb24")
    made.time_base = Fraction(1, 1000)
    made.pts = None if second is None else round(1000 * second)
    return made


class Packet:
    """Decodes to a frame, or fails as a broken one does."""

    is_corrupt = False

    def __init__(self, content):
        self._content = content

    def decode(self):
        if isinstance(self._content, Exception):
            raise self._content
        return [self._content]


BROKEN = av.error.InvalidDataError(1, "broken")


class Made(Source):
    """A source whose connections are scripts: lists of frames and errors, or a VideoError when it is opened.

    After the last script it cannot be opened any more. `duration`: as libav says it, known of recordings alone.
    """

    def __init__(self, scripts: list, kind: str = "stream", name: str = "made", duration: int | None = None):
        super().__init__(name, name, kind)
        object.__setattr__(self, "scripts", scripts)
        object.__setattr__(self, "duration", duration)
        object.__setattr__(self, "opened", 0)

    @contextmanager
    def open(self, patience=10.0, threads=1):
        script = self.scripts[self.opened] if self.opened < len(self.scripts) else VideoError(self.name, "is not there")
        object.__setattr__(self, "opened", self.opened + 1)
        if isinstance(script, Exception):
            raise script
        packets = (Packet(item) for item in script)
        container = SimpleNamespace(duration=self.duration, start_time=0, demux=lambda stream: packets)
        container.format = SimpleNamespace(name="made")
        rates = {"time_base": Fraction(1, 1000), "average_rate": Fraction(10), "guessed_rate": None}
        stream = SimpleNamespace(**rates, duration=None, start_time=0)
        stream.codec_context = SimpleNamespace(sample_aspect_ratio=None)
        try:
            yield container, stream
        except TimeoutError as error:
            raise VideoError(self.name, str(error)) from None


def read(source, *, until=None, slow=0.0, patience=None, **options):
    """All that a reader gives until it is done, or until `until` says so; and the reader.

    `reader.given`: `time.monotonic` when each frame was taken.
    """
    ready = threading.Condition()
    options = {"frame_interval": 0.1, "pauses": (0.01, 0.02), "delay": 10.0} | options
    reader = SourceThread(source, ready=ready, began=time.monotonic(), **options)
    reader.given = []
    if patience is not None:
        reader._reader._patience = patience
    reader.start()
    items = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        reader.check_stall()
        with ready:
            item = reader.take()
            if item is None:
                if reader.done:
                    break
                ready.wait(min(0.05, reader.due_in()))
                continue
        items.append(item)
        if isinstance(item, DueFrame):
            reader.given.append(time.monotonic())
        if until and until(items):
            break
        time.sleep(slow)
    reader.stop()
    reader.join(5)
    assert not reader.is_alive()
    return items, reader


def shots(items):
    return [item for item in items if isinstance(item, DueFrame)]


def said(items):
    return [item.type for item in items if not isinstance(item, DueFrame)]
