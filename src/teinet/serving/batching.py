"""Batches over requests: threads decode the videos of several requests, one thread runs the network on them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from teinet.data.view_loading import LoadedViews
from teinet.recognition import Prediction, Recognizer

_AHEAD = 2  # batches of decoded views that may wait for the network; decoding then waits too, which bounds the memory


@dataclass(frozen=True, eq=False)
class _Decoded:
    """The views of a request, and the future that gets its answer."""

    views: LoadedViews
    answer: Future[Prediction]

    def __len__(self) -> int:
        return len(self.views.frames)


class Batcher:
    """Recognizes the videos of many requests.

    The network takes what is decoded when it is free, up to a batch; it never waits for a batch to fill.

    Args:
        recognizer: is used by this object's thread alone.
        batch_size: views in one pass of the network, at least 1.
        workers: decoding threads (default: the number of cores, at most 4).
    """

    def __init__(self, recognizer: Recognizer, *, batch_size: int = 8, workers: int | None = None):
        self.recognizer = recognizer
        self._batch_size, self._closed = batch_size, False
        self._ready: deque[_Decoded] = deque()
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1), thread_name_prefix="decode")
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def warm_up(self) -> None:
        """Run the network once, so that no request waits for what is compiled or loaded at first use."""
        height, width = self.recognizer.preprocessing.shape
        frames = np.zeros((self.recognizer.num_frames, height, width, 3), np.uint8)
        self.submit(lambda: self.recognizer.decode(frames)).result()

    def submit(self, decode: Callable[[], LoadedViews]) -> Future[Prediction]:
        """Return the future prediction, of all classes, for the video that `decode` reads in a thread.

        The future raises what `decode` raised. Cancelling it saves the work that has not begun.
        """
        answer: Future[Prediction] = Future()
        work = self._pool.submit(self._decode, decode, answer)
        work.add_done_callback(lambda work: work.cancelled() and answer.cancel())
        return answer

    def close(self) -> None:
        """End the threads; requests without an answer are cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=5)

    def _decode(self, decode: Callable[[], LoadedViews], answer: Future[Prediction]) -> None:
        if answer.cancelled():
            return
        try:
            decoded = _Decoded(decode(), answer)
        except BaseException as error:
            _fail(answer, error)
            return
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._num_ready() < _AHEAD * self._batch_size)
            if self._closed:
                answer.cancel()
            self._ready.append(decoded)
            self._changed.notify_all()

    def _num_ready(self) -> int:
        return sum(map(len, self._ready))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._ready)
                if self._closed:
                    for each in self._ready:
                        each.answer.cancel()
                    return
                batch = [self._ready.popleft()]
                while self._ready and sum(map(len, batch)) + len(self._ready[0]) <= self._batch_size:
                    batch.append(self._ready.popleft())
                self._changed.notify_all()
            self._recognize([each for each in batch if each.answer.set_running_or_notify_cancel()])

    def _recognize(self, batch: list[_Decoded]) -> None:
        left = deque(batch)
        try:
            for prediction in self.recognizer.predict_decoded(
                (("", each.views) for each in batch),
                top_k=len(self.recognizer.class_names),
                batch_size=self._batch_size,
            ):
                left.popleft().answer.set_result(prediction)
        except Exception as error:  # such as no memory: these requests fail, later ones may succeed
            for each in left:
                each.answer.set_exception(error)


def _fail(answer: Future[Prediction], error: BaseException) -> None:
    if answer.set_running_or_notify_cancel():
        answer.set_exception(error)
