"""Conversion of decoded frames to upright RGB images, with the colors of the ffmpeg program.

Non-square pixels and interlacing are kept.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, cast

import av
import av.filter
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import Interpolation, VideoReformatter


class Converter:
    """Converts the frames of one video to upright images of one size.

    Args:
        height, width: pixels after rotation; frames of another size (it may change midstream) are scaled to them.
    """

    def __init__(self, height: int, width: int):
        self.height, self.width = height, width
        self._reformatter = VideoReformatter()
        self._scalers: dict[tuple[object, ...], Filters] = {}

    def __call__(self, frame: av.VideoFrame, out: np.ndarray) -> np.ndarray:
        """Write the image to `out` (H, W, 3) uint8, and return it."""
        matrix = display_matrix(frame)
        height, width = (self.width, self.height) if matrix[0] == 0 else (self.height, self.width)
        plane: Any = self._rgb(frame, width, height).planes[0]  # a buffer
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, : 3 * width]
        out[...] = upright(matrix, rows.reshape(height, width, 3))
        return out

    def _rgb(self, frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
        same_size = (frame.width, frame.height) == (width, height)
        deep = any(component.bits > 8 for component in frame.format.components)
        if same_size and not deep and not frame.interlaced_frame:
            return self._reformatter.reformat(frame, format="rgb24", interpolation=Interpolation.BICUBIC, threads=1)
        # Above 8 bits, and when scaling, colors depend on the position of chroma samples, which only the filter uses;
        # the reformatter converts interlaced frames field by field, ffmpeg's program whole.
        kind = (frame.width, frame.height, frame.format.name, width, height)
        if kind not in self._scalers:
            self._scalers[kind] = Filters(frame, ("scale", f"{width}:{height}:flags=bicubic"), ("format", "rgb24"))
        return self._scalers[kind](frame)


class Filters:
    """A chain of FFmpeg filters, each a name and its arguments, for frames like `frame`."""

    def __init__(self, frame: av.VideoFrame, *steps: tuple[str, str | None]):
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
        )
        chain = [self._graph.add(name, arguments) for name, arguments in (*steps, ("buffersink", None))]
        self._graph.link_nodes(source, *chain).configure()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        self._graph.push(frame)
        out = self._graph.pull()
        assert isinstance(out, av.VideoFrame)
        return out


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """Return a, b, c, d of x' = a x + c y, y' = b x + d y, reduced to quarter turns and flips."""
    # Not `frame.side_data`: it and the frame refer to each other, so that frames stay until Python looks for cycles.
    found = cast(Any, SideDataContainer)(frame)
    try:
        data = found.get(SideData.DISPLAYMATRIX)
    except (KeyError, AttributeError):
        data = None
    if data is None:
        return 1, 0, 0, 1
    matrix = np.frombuffer(bytes(data), np.int32)
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    # Other angles are rounded to the nearest quarter turn.
    if abs(a) >= abs(b):
        return (-1 if a < 0 else 1), 0, 0, (-1 if d < 0 else 1)
    return 0, (-1 if b < 0 else 1), (-1 if c < 0 else 1), 0


def is_transposed(frame: av.VideoFrame) -> bool:
    """Return true if the frame's rows are columns on the screen."""
    return display_matrix(frame)[0] == 0


def upright(matrix: tuple[int, int, int, int], image: np.ndarray) -> np.ndarray:
    """Apply a matrix of `display_matrix` to an image (H, W, ...), as a view."""
    a, b, c, d = matrix
    if a == 0:
        image, a, d = image.swapaxes(0, 1), c, b
    if a < 0:
        image = image[:, ::-1]
    if d < 0:
        image = image[::-1]
    return image
