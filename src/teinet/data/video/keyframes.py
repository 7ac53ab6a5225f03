"""Which keyframes are clean starts: decoding from there gives the same pictures as decoding from the beginning."""

from __future__ import annotations

from collections.abc import Sequence

import av
import numpy as np


def safe_keys(packet_pts: Sequence[int], keys: Sequence[bool]) -> np.ndarray:
    """Return, as indices in presentation order, the keyframes that no frame reaches across: all packets before one (in
    the order of decoding, with the given timestamps) are shown before it, all after it after."""
    pts = np.array(packet_pts, np.int64)
    before = np.maximum.accumulate(np.append(np.iinfo(np.int64).min, pts[:-1]))
    after = np.minimum.accumulate(np.append(pts[1:], np.iinfo(np.int64).max)[::-1])[::-1]
    safe = np.array(keys, bool) & (before < pts) & (pts < after)
    return np.searchsorted(np.sort(pts), pts[safe]).astype(np.int64)


def is_idr(packet: av.Packet, extradata: bytes | None) -> bool:
    """Say whether an H.264 keyframe is a true restart: recovery points of gradual refresh are marked as keys too."""
    data = bytes(packet)
    position = 0
    length_bytes = (extradata[4] & 3) + 1 if extradata and extradata[0] == 1 and len(extradata) > 4 else 0
    while position < len(data):
        if length_bytes:
            end = position + length_bytes
            length = int.from_bytes(data[position:end], "big")
            kind = data[end] & 31 if end < len(data) else 0
            position = end + max(length, 1)
        else:
            start = data.find(b"\0\0\1", position)
            if start < 0 or start + 3 >= len(data):
                return False
            kind = data[start + 3] & 31
            position = start + 3
        if 1 <= kind <= 5:  # the first slice decides
            return kind == 5
    return False
