"""The look of tables on the terminal."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def plain_table(*columns: str, text: Collection[str] = (), title: str | None = None, **settings: Any) -> Table:
    """Return an empty table; the columns in `text` are left-aligned, the others, numbers, right-aligned."""
    head = None if title is None else Text(title, style="table.title", no_wrap=True, overflow="ignore")
    table = Table(title=head, title_justify="left", pad_edge=False, box=SIMPLE_HEAD, **settings)
    for name in columns:
        table.add_column(name, justify="left" if name in text else "right", overflow="fold")
    return table
