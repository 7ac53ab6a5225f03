"""Live video with a two-sided network: the last T frames of each stream again and again, as clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from teinet.data.transforms import test_crops
from teinet.errors import ConfigError
from teinet.inference.stream import Picture, Step

if TYPE_CHECKING:
    from teinet.inference.recognizer import Recognizer


class WindowStream:
    """N streams, each of which gives a whole clip to the network every `hop` frames, once it has T of them.

    It costs T/hop frames a step on average, where a causal network's `Stream` costs one.

    Args:
        recognizer: of any network.
        batch: N, at least 1.
        hop: frames from one clip of a stream to the next, 1 to T; None takes half of T.

    Raises:
        ConfigError: a value out of its range.
    """

    def __init__(self, recognizer: Recognizer, batch: int = 1, *, hop: int | None = None):
        frames = recognizer.num_frames
        self.hop = max(1, frames // 2) if hop is None else hop
        if batch < 1:
            raise ConfigError(f"a stream takes a batch of at least 1, got {batch}")
        if not 1 <= self.hop <= frames:
            raise ConfigError(f"hop must be 1 to {frames} frames, got {hop}")
        self.recognizer = recognizer
        self._windows = [deque(maxlen=frames) for _ in range(batch)]
        self._seen = [0] * batch

    def step(self, frames: Mapping[int, Picture]) -> Step:
        """Take the next frame of some streams, {number: picture (H, W, 3) uint8}.

        Returns:
            scores of the streams whose clip was due alone; its logits are those of the clip.

        Raises:
            ConfigError: a stream that does not exist.
        """
        due = []
        for number, picture in sorted(frames.items()):
            if not 0 <= number < len(self._windows):
                raise ConfigError(f"no stream {number!r}; there are {len(self._windows)}, counted from 0")
            window = self._windows[number]
            window.append(test_crops(torch.as_tensor(picture)[None], self.recognizer.preprocessing)[0, 0])
            self._seen[number] += 1
            if len(window) == window.maxlen and (self._seen[number] - window.maxlen) % self.hop == 0:
                due.append(number)
        seen = np.array([self._seen[number] for number in due], dtype=np.int64)
        if not due:
            classes = len(self.recognizer.class_names)
            return Step(streams=(), logits=torch.zeros(0, classes), scores=np.zeros((0, classes)), frames=seen)
        clips = torch.stack([torch.stack(list(self._windows[number])) for number in due])
        with torch.inference_mode():
            logits = self.recognizer.model(clips.to(self.recognizer.device))
        scores = logits.detach().double().softmax(1).cpu().numpy()
        return Step(streams=tuple(due), logits=logits, scores=scores, frames=seen)

    def reset(self, streams: Iterable[int] | None = None) -> None:
        """Let some streams begin anew, or all."""
        for number in range(len(self._windows)) if streams is None else streams:
            self._windows[number].clear()
            self._seen[number] = 0
