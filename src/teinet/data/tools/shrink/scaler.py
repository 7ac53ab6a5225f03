"""Decoded frames as small upright 8-bit pictures, in the colours that players assume of small pictures."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter

from teinet.data.video.pixels import display_matrix


class Scaler:
    """Frames as upright 8-bit pictures of one size, in the colours that they have."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self._graphs: dict[tuple[object, ...], av.filter.Graph] = {}

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        matrix = display_matrix(frame)
        kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, matrix)
        if kind not in self._graphs:
            self._graphs[kind] = self._graph(frame, matrix)
        graph = self._graphs[kind]
        graph.push(frame)
        return graph.pull()

    def _graph(self, frame: av.VideoFrame, matrix: tuple[int, int, int, int]) -> av.filter.Graph:
        right, down, left, up = matrix  # a, b, c, d of `display_matrix`
        width, height = self.size
        turns = []
        if right == 0:  # as `picture.upright` does it with arrays
            width, height = height, width
            turns.append(("transpose", "0"))
            right, up = left, down
        turns += [("hflip", None)] * (right < 0) + [("vflip", None)] * (up < 0)
        scale = f"{width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int:out_range=tv:out_color_matrix=smpte170m"
        graph = av.filter.Graph()
        graph.threads = 1
        first = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
        )
        filters = [graph.add(name, text) for name, text in (("scale", scale), ("format", "yuv420p"), *turns)]
        graph.link_nodes(first, *filters, graph.add("buffersink")).configure()
        return graph
