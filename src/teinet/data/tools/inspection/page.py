"""An inspection as one HTML page that needs no other file: what was understood, pictures of clips, charts."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from PIL import Image

from teinet.data.lists.rows import Row
from teinet.data.tools.inspection import tables
from teinet.data.tools.inspection.charts import draw_charts
from teinet.data.tools.inspection.facts import Facts
from teinet.data.tools.inspection.sample import Sample
from teinet.data.video.reader import read_clip
from teinet.errors import VideoError
from teinet.utils.files import replacing

_CLIPS, _TRIES, _PICTURES, _SIDE = 12, 60, 4, 176


@dataclass(frozen=True)
class Strip:
    """A few pictures of a clip, as data URIs, with the number of its frames."""

    row: Row
    pictures: list[str]
    frames: int


def write_page(facts: Facts, sample: Sample, path: Path, *, commands: Mapping[str, str], seed: int = 0) -> Path:
    """Write the page, and return its path.

    Args:
        facts, sample: what it says.
        path: the file; its folder exists.
        commands: what to type next to check, shrink and train.
        seed: starts the random numbers that draw the clips shown.

    Raises:
        OSError: it cannot be written.
    """
    environment = Environment(loader=PackageLoader("teinet", "data/tools/inspection"), autoescape=True)
    environment.filters |= {"printable": _printable, "number": tables.number, "short": partial(_short, facts)}
    chosen, which = tables.chosen_classes(facts)
    totals = facts.totals()
    page = environment.get_template("page.html.jinja").render(
        facts=facts,
        sample=sample,
        understood=tables.understood(facts),
        warnings=tables.worth_knowing(facts, sample),
        measured=tables.measured(sample),
        chosen=chosen,
        which=which,
        order=sorted(range(len(totals)), key=lambda i: (-totals[i], i)),
        totals=totals,
        most=max(totals, default=0) or 1,
        examples=[tables.describe(facts.rows[i]) for i in facts.examples],
        strips=list(_strips(facts, seed)),
        charts=_inline(draw_charts(sample), "png") if sample.measured else None,
        commands=commands,
    )
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _strips(facts: Facts, seed: int) -> Iterator[Strip]:
    """Clips drawn at random, of as many classes as there are; those that cannot be read are passed over."""
    found: list[Strip] = []
    for row in _drawn(facts, seed)[:_TRIES]:
        try:
            frames = read_clip(row.path, _spread, start=row.start, end=row.end)
        except VideoError:
            continue
        pictures = [_thumbnail(picture) for picture in frames.data.numpy()]
        found.append(Strip(row, pictures, frames.num_frames))
        if len(found) == _CLIPS:
            break
    return iter(sorted(found, key=lambda strip: (strip.row.label or "", strip.row.path)))


def _drawn(facts: Facts, seed: int) -> list[Row]:
    """The rows that are there in a random order, in which no class comes again before all others have come."""
    gone = set(facts.missing)
    order = np.random.default_rng(seed).permutation(len(facts.rows)).tolist()
    turns: dict[str | None, int] = {}
    drawn: list[tuple[int, Row]] = []
    for i in order:
        if i not in gone:
            row = facts.rows[i]
            turns[row.label] = turn = turns.get(row.label, 0) + 1
            drawn.append((turn, row))
    return [row for _, row in sorted(drawn, key=lambda pair: pair[0])]


def _spread(count: int) -> list[int]:
    return [(2 * i + 1) * count // (2 * _PICTURES) for i in range(_PICTURES)]


def _thumbnail(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    scale = min(1.0, _SIDE / image.width, _SIDE / image.height)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return _inline(buffer.getvalue(), "jpeg")


def _inline(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _short(facts: Facts, path: str) -> str:
    """A clip's path from the list on, where it lies below."""
    folder = facts.source if os.path.isdir(facts.source) else os.path.dirname(facts.source)
    return os.path.relpath(path, folder) if folder and Path(path).is_relative_to(folder) else path


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
