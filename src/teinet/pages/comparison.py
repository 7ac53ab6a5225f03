"""The comparison as a page: HTML that needs no other file, or Markdown with its pictures in a folder beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader

from teinet import __version__
from teinet.errors import ConfigError
from teinet.pages.web import inline, render
from teinet.report import show
from teinet.report.beside import beside_test
from teinet.report.compare import Comparison
from teinet.report.pictures import confusions, curves
from teinet.utils.files import replacing


def page_writer(path: str | Path) -> Callable[[Comparison], None]:
    """What writes a comparison into `path`, in the form of its suffix.

    Raises:
        ConfigError: another suffix than .html and .md, or a folder that does not exist.
    """
    path = Path(path).expanduser()
    writers = {".html": write_html, ".htm": write_html, ".md": write_markdown}
    if path.suffix.lower() not in writers:
        raise ConfigError(f"{path}: its form is not known; the name of a page ends in .html or .md")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: cannot be written; name a file in a folder that exists")
    return lambda comparison: writers[path.suffix.lower()](comparison, path)


def write_html(comparison: Comparison, path: Path) -> None:
    """Write one file that holds everything, pictures too."""
    filters = _filters() | {"inline": inline}
    _write(path, render("comparison.html.jinja", filters=filters, **_values(comparison)))


def write_markdown(comparison: Comparison, path: Path) -> None:
    """Write the page, and its pictures into `NAME-pictures` beside it."""
    environment = Environment(loader=PackageLoader("teinet", "pages"), trim_blocks=True, autoescape=False)
    environment.filters |= _filters() | {"md": _plain}
    folder = path.with_name(f"{path.stem}-pictures")
    values = _values(comparison)
    for picture in values["curves"] + values["confusions"]:
        folder.mkdir(exist_ok=True)
        with replacing(folder / f"{picture.name}.png") as part:
            part.write_bytes(picture.png)
    text = environment.get_template("comparison.md.jinja").render(values, pictures=quote(folder.name))
    _write(path, re.sub(r"\n{3,}", "\n\n", text))


def _values(comparison: Comparison) -> dict[str, Any]:
    runs = comparison.runs
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    return {
        **vars(comparison),
        "title": runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared",
        "tests": len(outcomes),
        "printed": any(outcome.published for outcome in outcomes),
        "marked": [run for run in runs if run.problems or run.warnings],
        "known": sum(bool(run.recipe) for run in runs),
        "curves": curves(runs),
        "confusions": confusions(runs),
        "version": __version__,
    }


def _filters() -> dict[str, Callable[..., Any]]:
    numbers = (show.share, show.number, show.signed, show.spread, show.test_cost, show.printed_cost)
    texts = (show.setting, show.network, show.test, show.state, show.varied, show.facts)
    return {shown.__name__: shown for shown in (*numbers, *texts, beside_test)}


def _plain(text: object) -> str:
    """Text that Markdown leaves as it is, in one line."""
    return re.sub(r"([\\|<*`\[\]])", r"\\\1", " ".join(str(text).split()))


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_bytes(text.encode("utf-8", "replace"))
