"""Recognisers that come with the library: files in its folder `weights`, each with a card that says what it is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teinet.models import checkpoint


@dataclass(frozen=True)
class Shipped:
    """One of them.

    Args:
        name: what `--weights` and `Recognizer.load` call it.
        path: its file.
        header: all that the file says; `header["card"]` holds title, data, figures and not_for, in words.
    """

    name: str
    path: Path
    header: dict[str, Any]

    @property
    def summary(self) -> str:
        """Lines: what it tells apart and under which licence, how well, and what it is not for."""
        card = self.header["card"]
        return (
            f"{card.get('title', '')}; licence {self.header['licence'] or 'not stated'}\n"
            f"{card.get('figures', '')}\nnot for {card.get('not_for', '')}"
        )


def list_shipped() -> list[Shipped]:
    """All of them, by name.

    Raises:
        CheckpointError: a file that is damaged.
    """
    return [
        Shipped(path.stem, path, checkpoint.read_header(path))
        for path in sorted(checkpoint.SHIPPED.glob("*.safetensors"))
    ]
