"""One recording as a self-contained HTML page: frames, scores and events on one time axis; and an index of pages."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from teinet.detection.events import Event, Rules
from teinet.detection.recording import Timeline
from teinet.pages.render import inline, jpeg, render
from teinet.utils.text import clock, short_clock

SHOWN = 6  # classes with a color; styles in recording.css
_TILES = 12  # thumbnails in a row
WIDTH, HEIGHT = 1000, 100  # of the plot, in SVG units
POINTS = 1000  # most points of a curve
_GAP = 5.0  # times the usual interval of scores: a curve is interrupted there
_FAINT = 0.1  # classes with lower peaks are not drawn while others are
_MIN_LABEL_WIDTH = 5.0  # percent of the plot's width that a bar's label needs
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_TICKS = 9


def render_page(
    timeline: Timeline, *, name: str, weights: str, network: str, license: str, rules: Rules, index: bool = False
) -> str:
    """Return the page of one recording.

    Args:
        timeline: with its strip of frames.
        name, weights, network, license: shown as given; the license may be empty.
        rules: the thresholds and durations that the events were detected by.
        index: link to index.html in the same folder.
    """
    chosen = classes_to_draw(timeline, rules)
    colors = {timeline.class_names[c]: place for place, c in enumerate(chosen)}
    length = _length(timeline)
    seconds: dict[str, float] = defaultdict(float)
    for event in timeline.events:
        seconds[event.label] += event.end - event.start
    return render(
        "recording.html.jinja",
        filters=FILTERS,
        name=name,
        weights=weights,
        network=network,
        license=license,
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
                "color": place,
                "label": timeline.class_names[c],
                "path": path_of(timeline.times, timeline.scores[:, c], length),
                "peak": float(timeline.scores[:, c].max()),
                "seconds": seconds[timeline.class_names[c]],
            }
            for place, c in enumerate(chosen)
        ],
        bars=_bars(timeline.events, length, colors),
        events=timeline.events,
        colors=colors,
    )


@dataclass(frozen=True)
class Entry:
    """A line of the index; only `name` and `problem` for an unreadable recording.

    Args:
        page: the file of its page, next to the index.
        length: seconds.
        image: data URL of a frame from its middle.
        problem: the reason why it could not be read.
        trouble: a problem that did not prevent reading it.
    """

    name: str
    page: str | None = None
    length: float = 0.0
    events: tuple[Event, ...] = ()
    image: str | None = None
    problem: str = ""
    trouble: str = ""

    @classmethod
    def of(cls, timeline: Timeline, name: str, page: str) -> Entry:
        """Return the line of a recording, without its scores."""
        middle = _tiles(timeline, 1)
        image = middle[0]["address"] if middle else None
        return cls(name, page, _length(timeline), timeline.events, image, trouble=timeline.trouble)


def render_index(entries: Sequence[Entry], *, weights: str) -> str:
    """Return the index page that links the pages of several recordings."""
    seconds: dict[str, float] = defaultdict(float)
    for entry in entries:
        for event in entry.events:
            seconds[event.label] += event.end - event.start + 1e-3
    colors = {label: place for place, (label, _) in enumerate(sorted(seconds.items(), key=lambda e: -e[1])[:SHOWN])}
    lines = [
        {
            "entry": entry,
            "bars": _bars(entry.events, entry.length, colors),
            "counts": Counter(event.label for event in entry.events).most_common(4),
        }
        for entry in entries
    ]
    return render("recordings.html.jinja", filters=FILTERS, weights=weights, lines=lines, colors=colors)


def classes_to_draw(timeline: Timeline, rules: Rules) -> list[int]:
    """Return the classes to draw, at most six: those of events by duration, then others by peak, background last."""
    if not len(timeline.times):
        return []
    peaks = timeline.scores.max(0)
    seconds = np.zeros(len(peaks))
    for event in timeline.events:
        seconds[timeline.class_names.index(event.label)] += event.end - event.start + 1e-3
    background = np.array([label in (rules.background or ()) for label in timeline.class_names])
    order = np.lexsort((-peaks, background, -seconds))
    chosen = [int(c) for c in order[:SHOWN]]
    return [c for place, c in enumerate(chosen) if place == 0 or seconds[c] > 0 or peaks[c] >= _FAINT]


def ticks(length: float) -> list[tuple[float, str]]:
    """Return (percent of the width, label) of the ticks of a time axis of `length` seconds."""
    step = next((step for step in _STEPS if length / step < _TICKS), length / _TICKS)
    return [(100 * t / length, short_clock(t)) for t in np.arange(0, length * (1 - 0.5 / _TICKS), step).tolist()]


def thinned(times: np.ndarray, scores: np.ndarray, most: int = POINTS) -> np.ndarray:
    """Return the ascending indices of the points of a curve to draw: `times` (n,) seconds, `scores` (n,).

    All, or of more than `most` (even) points the lowest and the highest in each of `most` / 2 equal parts.
    """
    if len(times) <= most:
        return np.arange(len(times))
    chosen = set()
    for part in np.array_split(np.arange(len(times)), most // 2):
        own = scores[part]
        chosen |= {int(part[own.argmin()]), int(part[own.argmax()])}
    return np.array(sorted(chosen))


def path_of(times: np.ndarray, scores: np.ndarray, length: float) -> str:
    """Return the `d` of an SVG path, 1000 wide for `length` seconds and 100 high from score 1 (top) to 0."""
    if not len(times):
        return ""
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    broken = np.append(True, (np.diff(times) > _GAP * usual) | (np.diff(times) < 0))
    stretch = np.cumsum(broken)
    words, before = [], 0
    for i in thinned(times, scores).tolist():
        x, y = WIDTH * times[i] / length, HEIGHT * (1 - float(scores[i]))
        words.append(f"{'L' if stretch[i] == before else 'M'}{x:.1f} {y:.1f}")
        before = stretch[i]
    if len(words) == 1:  # a single point would be invisible
        words.append("h2")
    return "".join(words)


def _length(timeline: Timeline) -> float:
    """Return the seconds of the time axis."""
    last = float(timeline.times.max()) if len(timeline.times) else 0.0
    return max(timeline.until, last, 1e-3)


def _tiles(timeline: Timeline, count: int) -> list[dict[str, Any]]:
    strip = timeline.strip
    if strip is None or not len(strip.seconds):
        return []
    middles = [(place + 0.5) / count * _length(timeline) for place in range(count)]
    return [{"address": inline(jpeg(strip.nearest(m)), "jpeg"), "second": short_clock(m)} for m in middles]


def _bars(events: Sequence[Event], length: float, colors: dict[str, int]) -> list[dict[str, Any]]:
    bars = []
    for event in events:
        left, width = 100 * event.start / length, 100 * (event.end - event.start) / length
        bars.append(
            {
                "event": event,
                "color": colors.get(event.label),
                "left": left,
                "width": width,
                "label": event.label if width >= _MIN_LABEL_WIDTH else "",
            }
        )
    return bars


FILTERS = {
    "clock": clock,
    "lasting": lambda value: f"{value:.1f} s" if value < 60 else short_clock(value),
    "percent": lambda value: f"{100 * value:.0f} %",
    "number": lambda value: f"{value:.3f}".rstrip("0").rstrip("."),
}
