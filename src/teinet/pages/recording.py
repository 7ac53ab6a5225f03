"""One recording as an HTML page that needs no other file: pictures, scores, events on one time axis; and an index."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from teinet.detection.events import Event, Rules
from teinet.detection.timeline import Timeline
from teinet.pages.score_curves import POINTS, path_of
from teinet.pages.web import inline, render
from teinet.utils.text import clock, short_clock

SHOWN = 6  # classes with a colour of their own; style in page.html.jinja
_TILES = 12  # pictures beside each other
_NAME = 200  # bytes of a page's name, of the 255 that a system allows
_FAINT = 0.1  # a class that never scores more is not drawn while others do
_LABELLED = 5.0  # percent of the width from which a bar has room for its label
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_TICKS = 9


def render_page(
    timeline: Timeline, *, name: str, weights: str, network: str, licence: str, rules: Rules, index: bool = False
) -> str:
    """The page of one recording.

    Args:
        timeline: with its strip.
        name, weights: what to call the file and the weights.
        network: its name.
        licence: of the weights; may be empty.
        rules: by which the events were found.
        index: whether an index page lies beside it, as index.html.
    """
    chosen = classes_that_matter(timeline, rules)
    colours = {timeline.class_names[c]: place for place, c in enumerate(chosen)}
    length = _length(timeline)
    seconds = Counter[str]()
    for event in timeline.events:
        seconds[event.label] += event.end - event.start
    return render(
        "recording.html.jinja",
        filters=FILTERS,
        name=name,
        weights=weights,
        network=network,
        licence=licence,
        rules=rules,
        index=index,
        trouble=timeline.trouble,
        length=length,
        stretches=1 + int((np.diff(timeline.times) < 0).sum()),
        tiles=_tiles(timeline, _TILES),
        ticks=ticks(length),
        dense=len(timeline.times) > POINTS,
        curves=[
            {
                "colour": place,
                "label": timeline.class_names[c],
                "path": path_of(timeline.times, timeline.scores[:, c], length),
                "peak": float(timeline.scores[:, c].max()),
                "seconds": seconds[timeline.class_names[c]],
            }
            for place, c in enumerate(chosen)
        ],
        bars=_bars(timeline.events, length, colours),
        events=timeline.events,
        colours=colours,
    )


@dataclass(frozen=True)
class Entry:
    """A line of the index; of a recording that could not be read, the name and the problem.

    Args:
        name: what to call the recording.
        page: its page's file beside the index.
        length: seconds.
        events: what happens.
        picture: the address of a picture from its middle.
        problem: why it could not be read.
        trouble: what was wrong with it though it could.
    """

    name: str
    page: str | None = None
    length: float = 0.0
    events: tuple[Event, ...] = ()
    picture: str | None = None
    problem: str = ""
    trouble: str = ""

    @classmethod
    def of(cls, timeline: Timeline, name: str, page: str) -> Entry:
        """The line of a recording; the scores are let go."""
        middle = _tiles(timeline, 1)
        picture = middle[0]["address"] if middle else None
        return cls(name, page, _length(timeline), timeline.events, picture, trouble=timeline.trouble)


def render_index(entries: Sequence[Entry], *, weights: str) -> str:
    """The page that links those of several recordings."""
    seconds = Counter[str]()
    for entry in entries:
        for event in entry.events:
            seconds[event.label] += event.end - event.start + 1e-3
    colours = {label: place for place, (label, _) in enumerate(seconds.most_common(SHOWN))}
    lines = [
        {
            "entry": entry,
            "bars": _bars(entry.events, entry.length, colours),
            "counts": Counter(event.label for event in entry.events).most_common(4),
        }
        for entry in entries
    ]
    return render("recordings.html.jinja", filters=FILTERS, weights=weights, lines=lines, colours=colours)


def page_names(videos: Sequence[Path]) -> list[str]:
    """A page's file for each of several recordings: by its name, numbered where two are alike."""
    taken, names = {"index"}, []
    for video in videos:
        stem = video.stem.encode("utf-8", "replace").decode().replace("?", "_") or "recording"
        stem, number = stem.encode()[:_NAME].decode("utf-8", "ignore"), 1
        name = stem
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names.append(f"{name}.html")
    return names


def classes_that_matter(timeline: Timeline, rules: Rules) -> list[int]:
    """The classes to draw, at most six: those of events by their seconds, then others by their peak."""
    if not len(timeline.times):
        return []
    peaks = timeline.scores.max(0)
    seconds = np.zeros(len(peaks))
    for event in timeline.events:
        seconds[timeline.class_names.index(event.label)] += event.end - event.start + 1e-3
    means_nothing = np.array([label in (rules.nothing or ()) for label in timeline.class_names])
    order = np.lexsort((-peaks, means_nothing, -seconds))
    chosen = [int(c) for c in order[:SHOWN]]
    return [c for place, c in enumerate(chosen) if place == 0 or seconds[c] > 0 or peaks[c] >= _FAINT]


def ticks(length: float) -> list[tuple[float, str]]:
    """(percent of the width, label) of round seconds along a length."""
    step = next((step for step in _STEPS if length / step < _TICKS), length / _TICKS)
    return [(100 * t / length, short_clock(t)) for t in np.arange(0, length * (1 - 0.5 / _TICKS), step).tolist()]


def _length(timeline: Timeline) -> float:
    """Seconds of the time axis."""
    last = float(timeline.times.max()) if len(timeline.times) else 0.0
    return max(timeline.until, last, 1e-3)


def _tiles(timeline: Timeline, count: int) -> list[dict[str, Any]]:
    strip = timeline.strip
    if strip is None or not len(strip.seconds):
        return []
    middles = [(place + 0.5) / count * _length(timeline) for place in range(count)]
    return [{"address": inline(_jpeg(strip.nearest(m)), "jpeg"), "second": short_clock(m)} for m in middles]


def _jpeg(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=80)
    return out.getvalue()


def _bars(events: Sequence[Event], length: float, colours: dict[str, int]) -> list[dict[str, Any]]:
    bars = []
    for event in events:
        left, width = 100 * event.start / length, 100 * (event.end - event.start) / length
        bars.append(
            {
                "event": event,
                "colour": colours.get(event.label),
                "left": left,
                "width": width,
                "label": event.label if width >= _LABELLED else "",
            }
        )
    return bars


FILTERS = {
    "clock": clock,
    "lasting": lambda value: f"{value:.1f} s" if value < 60 else short_clock(value),
    "percent": lambda value: f"{100 * value:.0f} %",
    "number": lambda value: f"{value:.3f}".rstrip("0").rstrip("."),
}
