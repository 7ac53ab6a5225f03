"""Prepares pages for the site."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parents[1]


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace links to files outside docs/, which are not part of the site, by the file's path in the repository."""
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def shown(link: re.Match[str]) -> str:
        target = (folder / link["path"]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return link[0]
        path = PurePosixPath(target.relative_to(ROOT)).as_posix()
        text = link["text"]
        return f"`{path}`" if text.strip("`") in path else f"{text} (`{path}`)"

    return re.sub(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<path>\.\.[^)#]+)(?:#[^)]*)?\)", shown, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Keep options such as --frame-interval on one line."""
    return re.sub(r"<code>(?=--?\w[^<]{0,30}</code>)", '<code style="white-space: nowrap">', html)
