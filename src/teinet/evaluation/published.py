"""Figures that a paper printed, beside those that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of a paper's table.

    Args:
        table: its number, such as 1a.
        row: how the table calls it.
        top1: per cent, on the validation clips; over all official divisions where the data set has several.
        top5: likewise.
        test: top-1, per cent, on the makers' test clips, whose labels they keep.
        views: clips x crops of its protocol.
        gflops: multiply-adds of one view in billions, as printed.
        ensemble: the recipes' rows whose scores are averaged; empty for one network.
        note: where the paper contradicts itself or its sources.
    """

    table: str
    row: str
    top1: float | None = None
    top5: float | None = None
    test: float | None = None
    views: str = "1x1"
    gflops: float | None = None
    ensemble: list[str] = field(default_factory=list)
    note: str = ""

    @classmethod
    def from_header(cls, rows: object) -> list[Published]:
        """The rows that a weights file's recipe carries; none where it carries something else."""
        known = {f.name for f in fields(cls)}
        good = (
            [row for row in rows if isinstance(row, Mapping) and {"table", "row"} <= set(row) <= known]
            if isinstance(rows, list)
            else []
        )
        return [cls(**row) for row in good]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def comparable(published: Sequence[Published], *, views: str, members: Sequence[str] = ()) -> list[Published]:
    """The rows that a test by `views` measures; with `members`, recipes' rows, those of their ensemble."""
    if members:
        return [p for p in published if sorted(p.ensemble) == sorted(members) and same_views(p.views, views)]
    return [p for p in published if not p.ensemble and same_views(p.views, views)]


def same_views(one: str, other: str) -> bool:
    """Whether two protocols look at the same number of clips and crops, at whatever resolution."""
    return one.partition("/")[0] == other.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a test measured, in the terms of a paper's tables: shares from 0 to 1; None where nothing was measured."""

    top1: float | None
    top5: float | None
    views: str
    num_views: int
    gflops: float | None  # of one view


def published_table(published: Sequence[Published], measured: Measured) -> Table | None:
    """Measured beside printed, a line for each printed row; None where there is none."""
    if not published:
        return None
    table = Table(title="measured / printed", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    for name in ("table", "row", "views"):
        table.add_column(name)
    for name in ("top-1", "top-5", "GFLOPs x views"):
        table.add_column(name, justify="right")
    for p in published:
        table.add_row(
            *(Text(p.table), Text(p.row), measured.views),
            f"{_share(measured.top1)} / {_number(p.top1)}",
            f"{_share(measured.top5)} / {_number(p.top5)}",
            f"{cost(measured.gflops, measured.num_views)} / {cost(p.gflops, count_views(p.views))}",
        )
    return table


def notes(published: Sequence[Published]) -> list[str]:
    """What must be known of the printed figures."""
    return [f"table {p.table}, {p.row}: {p.note}" for p in published if p.note]


def departures_note(row: str | None, settings: Sequence[str]) -> str:
    """Return what to say where figures printed for a row stand next to a run that is not quite that row."""
    return f"this is not the row itself: {', '.join(settings)} differ from {row}"


def cost(gflops: float | None, views: int) -> str:
    """GFLOPs of a view and the number of views: `33 x 30`."""
    return "-" if gflops is None else f"{gflops:.3g} x {views}"


def count_views(text: str) -> int:
    """How many views `10x3` or `10x3/crop` has."""
    clips, _, crops = text.partition("/")[0].partition("x")
    return int(clips) * int(crops)


def _share(value: float | None) -> str:
    return "-" if value is None or value != value else f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
