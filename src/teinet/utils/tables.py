"""Tables of one look for the terminal."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table


def plain_table(*columns: str, text: Collection[str] = (), title: str | None = None, **settings: Any) -> Table:
    """Return an empty table; the columns in `text` stand to the left and fold, the others, numbers, to the right."""
    table = Table(title=title, title_justify="left", pad_edge=False, box=SIMPLE_HEAD, **settings)
    for name in columns:
        table.add_column(name, justify="left" if name in text else "right", overflow="fold")
    return table
