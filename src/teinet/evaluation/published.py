"""Published results of a paper's tables, next to measured ones."""

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
        table, row: the number of the table, such as 1a, and the name of the row.
        top1, top5: percent, on the validation clips; the mean of the official splits if the data set has several.
        test: top-1 in percent on the test clips, whose labels are not public.
        views: clips x crops of the protocol.
        gmacs: multiply-adds of one view in billions, as published.
        ensemble: rows of the recipes whose scores are averaged; empty for a single network.
        note: where the paper contradicts itself or its sources.
        cost_note: where `gmacs` is not the cost of this network.
    """

    table: str
    row: str
    top1: float | None = None
    top5: float | None = None
    test: float | None = None
    views: str = "1x1"
    gmacs: float | None = None
    ensemble: list[str] = field(default_factory=list)
    note: str = ""
    cost_note: str = ""

    @classmethod
    def from_header(cls, rows: object) -> list[Published]:
        """Return the rows in the recipe of a weights file; empty if it has none or other fields."""
        known = {f.name for f in fields(cls)}
        listed = rows if isinstance(rows, list) else []
        return [cls(**row) for row in listed if isinstance(row, Mapping) and {"table", "row"} <= set(row) <= known]

    def figures(self) -> dict[str, float | None]:
        """Return the published accuracies in percent, by name."""
        return {"top-1": self.top1, "top-5": self.top5, "test": self.test}


def comparable(published: Sequence[Published], *, views: str, members: Sequence[str] = ()) -> list[Published]:
    """Return the rows comparable with a test by `views`, of one network or of an ensemble of recipe rows `members`."""
    wanted = views.partition("/")[0]  # at any resolution
    return [p for p in published if sorted(p.ensemble) == sorted(members) and p.views.partition("/")[0] == wanted]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Results of a test, as in a paper's tables: accuracies from 0 to 1, None if not measured."""

    top1: float | None
    top5: float | None
    views: str
    num_views: int
    gmacs: float | None  # of one view


def print_published(
    console: Console,
    published: Sequence[Published],
    measured: Measured,
    changed_settings: Mapping[str | None, Sequence[str]] | None = None,
) -> None:
    """Print measured / published results, one line for each published row, and notes on them.

    `changed_settings` are the settings in which a run differs from the row that it reproduces, by the name of that row.
    """
    if published:
        texts, figures = ("table", "row", "views"), ("top-1", "top-5", "GMACs x views")
        table = plain_table(*texts, *figures, text=texts, title="measured / published")
        for p in published:
            table.add_row(
                *(Text(p.table), Text(p.row), measured.views),
                f"{share(measured.top1)} / {share(p.top1, 1)}",
                f"{share(measured.top5)} / {share(p.top5, 1)}",
                f"{cost(measured.gmacs, measured.num_views)} / {cost(p.gmacs, count_views(p.views))}",
            )
        console.print(table)
    notes = paper_notes(published)
    notes += [changed_settings_note(row, settings) for row, settings in (changed_settings or {}).items() if settings]
    for note in notes:
        console.print(note, style="dim", highlight=False, soft_wrap=True)


def paper_notes(published: Sequence[Published]) -> list[str]:
    """Return the notes on published results."""
    notes = [(p, "; ".join(filter(None, (p.note, p.cost_note)))) for p in published]
    return [f"table {p.table}, {p.row}: {note}" for p, note in notes if note]


def changed_settings_note(row: str | None, settings: Sequence[str]) -> str:
    """Return the note on a run that differs from the row that it reproduces."""
    return f"this run differs from {row} in {', '.join(settings)}"


def cost(gmacs: float | None, views: int) -> str:
    """Return GMACs of a view and the number of views: `33 x 30`."""
    return "-" if gmacs is None else f"{gmacs:.3g} x {views}"


def count_views(text: str) -> int:
    """Return the number of views in `10x3` or `10x3/crop`."""
    clips, _, crops = text.partition("/")[0].partition("x")
    return int(clips) * int(crops)
