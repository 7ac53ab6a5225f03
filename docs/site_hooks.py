"""Prepares pages for the site: a link that leaves docs/ becomes the name of its file."""

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
