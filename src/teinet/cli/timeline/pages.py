"""Where `teinet timeline --page` writes: one page, or a folder of pages with an index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli.timeline.forms import check_place, is_one_file
from teinet.utils.files import replacing
from teinet.utils.text import printable

if TYPE_CHECKING:
    from teinet.detection.events import Rules
    from teinet.detection.timeline import Timeline
    from teinet.errors import VideoError
    from teinet.recognition import Recognizer

SUFFIXES = (".html", ".htm")


class Pages:
    """The pages of a command.

    Args:
        path: a file that ends in .html, for one recording; else a folder, which is made.
        videos: the recordings.
        weights: what to call them.

    Raises:
        ConfigError: one file for several recordings, or a place that cannot be written.
    """

    def __init__(self, path: str, videos: Sequence[Path], weights: str):
        from teinet.pages.recording import page_names

        self._videos, self._weights = videos, weights
        self._names = [printable(str(video)) for video in videos]
        check_place("--page", path, videos, SUFFIXES)
        single = is_one_file(path, SUFFIXES)
        self._folder = None if single else Path(path)
        self._pages = [Path(path)] if single else [Path(path) / name for name in page_names(videos)]
        self._entries: dict[int, object] = {}

    def describe(self, recognizer: Recognizer, rules: Rules) -> None:
        """Take what the pages say of the recogniser, and by which rules events are found."""
        self._rules = rules
        self._network = str((recognizer.header.get("architecture") or {}).get("name", "a network"))
        self._licence = recognizer.header.get("licence") or ""

    def take(self, number: int, timeline: Timeline) -> None:
        """Write a recording's page, and the index so far."""
        from teinet.pages.recording import Entry, render_page

        page = render_page(
            timeline,
            name=Path(self._names[number]).name,
            weights=printable(self._weights),
            network=self._network,
            licence=self._licence,
            rules=self._rules,
            index=self._folder is not None,
        )
        _write(self._pages[number], page)
        self._note(number, Entry.of(timeline, self._names[number], self._pages[number].name))

    def fail(self, number: int, error: VideoError) -> None:
        """Note in the index that a recording could not be read."""
        from teinet.pages.recording import Entry

        self._note(number, Entry(self._names[number], problem=printable(error.reason)))

    def _note(self, number: int, entry: object) -> None:
        from teinet.pages.recording import render_index

        if self._folder is not None:
            self._entries[number] = entry
            entries = [self._entries[n] for n in sorted(self._entries)]
            _write(self._folder / "index.html", render_index(entries, weights=printable(self._weights)))


def _write(path: Path, page: str) -> None:
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")
