"""Protobuf's wire format, as far as reading a few fields of a message takes it."""

from __future__ import annotations

from collections.abc import Iterator

_MOST = 10_000  # fields of a message


def packed(data: memoryview) -> list[int]:
    """Return the whole numbers of a packed field."""
    found, at = [], 0
    while at < len(data):
        value, at = _whole(data, at)
        found.append(value)
    return found


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and value of each field of a message: a whole number or bytes."""
    at = count = 0
    while at < len(data):
        tag, at = _whole(data, at)
        kind, count = tag & 7, count + 1
        if count > _MOST:
            raise ValueError(f"more than {_MOST} fields in a message")
        if kind == 0:
            value, at = _whole(data, at)
        else:
            if kind == 2:
                size, at = _whole(data, at)
            else:
                size = {1: 8, 5: 4}.get(kind, len(data) + 1)
            if size > len(data) - at:
                raise ValueError("no message of protobuf, or cut off")
            value, at = data[at : at + size], at + size
        yield tag >> 3, value


def _whole(data: memoryview, at: int) -> tuple[int, int]:
    """Return the whole number at a place, seven bits a byte, and the place behind it."""
    value = 0
    for i in range(10):
        if at + i >= len(data):
            break
        value |= (data[at + i] & 127) << (7 * i)
        if data[at + i] < 128:
            return value, at + i + 1
    raise ValueError("no message of protobuf, or cut off")
