"""Jester: gestures as folders of JPEG pictures, with lists like those of Something-Something V1."""

from __future__ import annotations

from teinet.data.lists.formats import something_v1
from teinet.data.lists.formats.base import Format, Listing, Options, Place

_FRAMES = ("20bn-jester-v1", "frames", "rawframes")


def _recognise(place: Place) -> bool:
    return any("jester" in path.name.lower() for path in something_v1.lists(place))


def _read(place: Place, options: Options) -> Listing:
    return something_v1.read(place, options, FORMAT.name, _FRAMES)


FORMAT = Format("jester", "Jester (JPEG folders, csv)", _recognise, _read)
