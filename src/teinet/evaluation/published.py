"""Figures that a paper printed, next to those that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from rich.text import Text

from teinet.utils.tables import plain_table
from teinet.utils.text import share

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of a paper's table.

    Args:
        table, row: the table's number, such as 1a, and its name of the row.
        top1, top5: per cent, on the validation clips; over all official splits where the data set has several.
        test: top-1, per cent, on the test clips, whose labels are not public.
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
        listed = rows if isinstance(rows, list) else []
        return [cls(**row) for row in listed if isinstance(row, Mapping) and {"table", "row"} <= set(row) <= known]

    def figures(self) -> dict[str, float | None]:
        """The printed per cent by what they are."""
        return {"top-1": self.top1, "top-5": self.top5, "test": self.test}


def comparable(published: Sequence[Published], *, views: str, members: Sequence[str] = ()) -> list[Published]:
    """The rows that a test by `views` measures; with `members`, recipes' rows, those of their ensemble."""
    wanted = views.partition("/")[0]  # at whatever resolution
    return [p for p in published if sorted(p.ensemble) == sorted(members) and p.views.partition("/")[0] == wanted]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a test measured, in the terms of a paper's tables: shares from 0 to 1; None where nothing was measured."""

    top1: float | None
    top5: float | None
    views: str
    num_views: int
    gflops: float | None  # of one view


def print_published(
    console: Console,
    published: Sequence[Published],
    measured: Measured,
    departures: Mapping[str | None, Sequence[str]] | None = None,
) -> None:
    """Print measured / printed figures, a line for each printed row, and the notes on them.

    `departures` are the settings in which a run differs from the row that it follows, by the name of that row.
    """
    if published:
        texts, figures = ("table", "row", "views"), ("top-1", "top-5", "GFLOPs x views")
        table = plain_table(*texts, *figures, text=texts, title="measured / printed")
        for p in published:
            table.add_row(
                *(Text(p.table), Text(p.row), measured.views),
                f"{share(measured.top1)} / {share(p.top1, 1)}",
                f"{share(measured.top5)} / {share(p.top5, 1)}",
                f"{cost(measured.gflops, measured.num_views)} / {cost(p.gflops, count_views(p.views))}",
            )
        console.print(table)
    notes = paper_notes(published)
    notes += [departures_note(row, settings) for row, settings in (departures or {}).items() if settings]
    for note in notes:
        console.print(note, style="dim", highlight=False, soft_wrap=True)


def paper_notes(published: Sequence[Published]) -> list[str]:
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
