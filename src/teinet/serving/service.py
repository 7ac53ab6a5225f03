"""The state of a server: its models, the videos that it receives, jobs, live events."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.datastructures import UploadFile

from teinet.data.video.container import refuse_playlists
from teinet.data.video.reader import VideoReader
from teinet.data.view_loading import LoadedViews
from teinet.data.views import Views
from teinet.detection.recording import Timeline, timeline
from teinet.detection.sampler import FrameSampler
from teinet.detection.scorer import NO_FLOW, interval_for
from teinet.errors import ConfigError, nearest
from teinet.recognition import Prediction, Recognizer
from teinet.serving.allowed import Allowed
from teinet.serving.batching import Batcher
from teinet.serving.incoming import Incoming, LiveFields, PredictFields, TimelineFields, Videos, incoming
from teinet.serving.jobs import Job, Jobs
from teinet.serving.limits import Limits, Refused, Slots
from teinet.serving.live_events import LiveEvents, LiveResponse

_MOST_VIEWS = 30  # of a request: 10x3
_FIRST = 5.0  # seconds in which an unreadable live source is an error of the request


@dataclass(eq=False)
class ServedModel:
    """A recognizer that is served.

    Args:
        recognizer: makes the predictions.
        load_events: returns a recognizer for timelines and live events, which run in threads of their own (default:
            a copy of `recognizer`).

    Raises:
        ConfigError: a network of optical flow, or a multi-label recognizer.
    """

    recognizer: Recognizer
    load_events: Callable[[], Recognizer] | None = None
    _free: list[Recognizer] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.recognizer.multi_label:
            raise ConfigError("a server answers with one class for a clip; this recognizer gives several (multi-label)")
        self.recognizer.preprocessing.refuse_flow(NO_FLOW)

    @contextmanager
    def borrow(self) -> Iterator[Recognizer]:
        """Give a recognizer for events that is used by the block alone."""
        try:
            recognizer = self._free.pop()
        except IndexError:
            recognizer = self.load_events() if self.load_events else copy.deepcopy(self.recognizer)
        try:
            yield recognizer
        finally:
            self._free.append(recognizer)

    def to_dict(self) -> dict[str, Any]:
        """Return what the model is, as JSON values."""
        recognizer = self.recognizer
        header, card = recognizer.full_header, recognizer.header.get("card") or {}
        return {
            **{"title": card.get("title") or None, "card": card},
            **{name: header[name] for name in ("preprocessing", "sampling")},
            "class_names": list(recognizer.class_names),
            "num_frames": recognizer.num_frames,
            "size": list(recognizer.preprocessing.shape),
            "frame_interval": recognizer.frame_interval,
            "background": list(recognizer.background),
            "license": recognizer.header.get("license") or None,
        }


class Service:
    """The state of a server. Its methods run in the event loop; work runs in bounded threads.

    Args: as `create_app`.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        *,
        limits: Limits,
        allow: Sequence[str] = (),
        batch_size: int = 8,
        workers: int | None = None,
    ):
        if not models:
            raise ConfigError("no model to serve")
        self.models, self.limits = dict(models), limits
        self.allowed = Allowed(allow)
        self.videos, self.jobs = Videos(self.allowed, limits), Jobs(limits)
        self.stopping = threading.Event()
        self._batchers = {
            name: Batcher(model.recognizer, batch_size=batch_size, workers=workers) for name, model in models.items()
        }
        self._waiting = Slots(limits.waiting, "too many requests are waiting; try again")
        self._lives = Slots(limits.live, f"{limits.live} live streams are open, which is all that this server allows")
        self._receiving = ThreadPoolExecutor(2, thread_name_prefix="receive")
        self.registry = CollectorRegistry()
        gauge = partial(Gauge, registry=self.registry)
        gauge("teinet_waiting", "Requests in work or waiting").set_function(lambda: self._waiting.taken)
        gauge("teinet_timelines", "Timelines in work or waiting").set_function(lambda: len(self.jobs))
        gauge("teinet_live", "Open streams of live events").set_function(lambda: self._lives.taken)
        self._clips = Counter("teinet_clips", "Videos recognized", ["model"], registry=self.registry)
        refuse_playlists()

    def warm_up(self) -> None:
        """Run each network once, before requests come."""
        for batcher in self._batchers.values():
            batcher.warm_up()

    def stop(self) -> None:
        """End live streams and timelines soon; from any thread or a signal handler."""
        self.stopping.set()

    def close(self) -> None:
        """End all work, and remove all files."""
        self.stop()
        self.jobs.close()
        for batcher in self._batchers.values():
            batcher.close()
        self._receiving.shutdown(wait=True, cancel_futures=True)
        self.videos.close()

    @asynccontextmanager
    async def request(self, request: Request) -> AsyncIterator[None]:
        """Bound a request with a video: their number (Refused, 503) and time (408)."""
        with self._waiting.one():
            try:
                async with asyncio.timeout(self.limits.timeout):
                    yield
            except TimeoutError:
                raise Refused(408, f"the request took longer than {self.limits.timeout:g} s (--timeout)") from None
            finally:
                await request.close()  # the files of its form

    def name_of(self, asked: str | None) -> str:
        """Return the name of the model that a request is for; Refused (400) for an unknown one."""
        names = ", ".join(self.models)
        if asked is None and len(self.models) == 1:
            return next(iter(self.models))
        if asked is None:
            raise Refused(400, f"several models are served; name one in the field 'model': {names}")
        if asked not in self.models:
            raise Refused(400, f"there is no model {asked!r}: {names}.{nearest(asked, self.models)}")
        return asked

    async def predict(self, fields: PredictFields, upload: UploadFile | None) -> dict[str, Any]:
        """Return a prediction as JSON values.

        Raises:
            VideoError: the video cannot be read.
            ConfigError: a field of a wrong value.
            Refused: as `Videos.open`.
        """
        name, video, views = self.name_of(fields.model), incoming(upload, fields.address), Views.parse(fields.views)
        if views.num_clips * views.num_crops > _MOST_VIEWS:
            raise Refused(400, f"views are {views}; this server looks at {_MOST_VIEWS} views at most, such as 10x3")
        recognizer = self.models[name].recognizer

        # an address may be slow: what decodes for all must not wait for it
        received = await self._received(video) if fields.address else None

        def decode() -> LoadedViews:
            with self.videos.open(video) if received is None else nullcontext(received[0]) as reader:
                return recognizer.decode(reader.path, views=views, start=fields.start, end=fields.end)

        try:
            found: Prediction = await asyncio.wrap_future(self._batchers[name].submit(decode))
        finally:
            if received is not None:
                received[1].close()
        if found.error is not None:  # of the network; what is wrong with the video has been raised
            raise Refused(500, found.error)
        self._clips.labels(name).inc()
        return {**replace(found, path=video.name, labels=found.labels[: fields.top_k]).to_dict(), "model": name}

    async def add_timeline(self, fields: TimelineFields, upload: UploadFile | None) -> Job:
        """Start a timeline; errors as `predict`."""
        self.jobs.check()
        name, video, rules = self.name_of(fields.model), incoming(upload, fields.address), fields.rules()
        model = self.models[name]
        interval = FrameSampler(interval_for(model.recognizer, fields.frame_interval)).interval  # which checks it
        reader, files = await self._received(video)

        def work(job: Job) -> Timeline:
            end = reader.end_time or 0.0

            def reached(second: float) -> None:
                job.progress = min(1.0, max(job.progress, second / end)) if end else 0.0

            with model.borrow() as recognizer:
                own = {"rules": rules.filled(recognizer.background), "frame_interval": interval}
                return timeline(recognizer, reader.path, stop=job.stop, progress=reached, **own)

        job = Job(name, video.name)
        try:
            self.jobs.add(job, work, files)
        except Refused:
            files.close()
            raise
        return job

    async def _received(self, video: Incoming) -> tuple[VideoReader, ExitStack]:
        """Return a video, and what removes its file."""

        def receive() -> tuple[VideoReader, ExitStack]:
            with ExitStack() as files:
                return files.enter_context(self.videos.open(video)), files.pop_all()

        future = self._receiving.submit(receive)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:  # the request took too long; the thread may still be at work
            future.add_done_callback(_discard)
            raise

    async def live(self, request: Request, fields: LiveFields) -> LiveResponse:
        """Return the stream of a source's events; errors as `predict`."""
        model, rules = self.models[self.name_of(fields.model)], fields.rules()
        interval = FrameSampler(interval_for(model.recognizer, fields.frame_interval)).interval  # which checks it
        source = self.allowed.check(fields.source, live=True)
        self._lives.take()
        events: LiveEvents | None = None

        def close() -> None:
            self._lives.leave()
            if events is not None:
                events.stop()

        try:
            if source.startswith(("http://", "https://")):  # FFmpeg would follow it anywhere
                opened = await asyncio.wrap_future(self._receiving.submit(self.allowed.open, source))
                opened.close()
            events, first = LiveEvents(model.borrow, source, rules, interval), []
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST):
                    while not first or (isinstance(first[-1], dict) and first[-1]["type"] == "lost"):
                        first.append(await events.next())
            if first and isinstance(first[-1], str):
                raise Refused(422, first[-1])
            return LiveResponse(request, events, first, self.stopping, close)
        except BaseException:
            close()
            raise


def _discard(future: Future[tuple[VideoReader, ExitStack]]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result()[1].close()
