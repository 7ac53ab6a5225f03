"""Small pictures over the length of a recording, however long that turns out to be, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

_MOST = 48
_BOX = (192, 108)  # pixels, width and height at most


@dataclass(frozen=True, eq=False)
class Strip:
    """Pictures about equally far apart.

    Args:
        seconds: (n,), of each; n is at most 48.
        pictures: (n, h, w, 3) uint8, at most 192 x 108 pixels.
    """

    seconds: np.ndarray
    pictures: np.ndarray

    def nearest(self, second: float) -> np.ndarray:
        """The picture (h, w, 3) nearest to a second."""
        return self.pictures[int(np.abs(self.seconds - second).argmin())]


class StripMaker:
    """Keeps some of the pictures that it is shown; once there are too many, every second one, twice as far apart."""

    def __init__(self):
        self._apart = 0.0
        self._seconds: list[float] = []
        self._pictures: list[np.ndarray] = []

    def feed(self, second: float, picture: np.ndarray) -> None:
        """Look at the picture (H, W, 3) uint8 at a second; one of another shape than the first lies on black."""
        if self._seconds and 0 <= second - self._seconds[-1] < self._apart:
            return
        height, width = picture.shape[:2]
        scale = min(1.0, _BOX[0] / width, _BOX[1] / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        if self._pictures and self._pictures[0].shape[:2] != (size[1], size[0]):
            image = ImageOps.pad(image, self._pictures[0].shape[1::-1], Image.Resampling.BILINEAR)
        self._seconds.append(second)
        self._pictures.append(np.asarray(image))
        if len(self._seconds) > _MOST:
            self._seconds, self._pictures = self._seconds[::2], self._pictures[::2]
            self._apart = 2 * self._apart or (self._seconds[-1] - self._seconds[0]) / (len(self._seconds) - 1) * 0.99

    @property
    def strip(self) -> Strip:
        """The pictures so far."""
        pictures = np.stack(self._pictures) if self._pictures else np.zeros((0, 1, 1, 3), np.uint8)
        return Strip(np.array(self._seconds, dtype=np.float64), pictures)
