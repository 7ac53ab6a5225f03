"""The page of `teinet serve`: choose a video, see its scores."""

from __future__ import annotations

from collections.abc import Sequence

from teinet.pages.render import render
from teinet.utils.text import number


def render_page(models: Sequence[tuple[str, str]], *, most_mb: float, has_token: bool) -> str:
    """Return the page, which posts a chosen file to `predict`.

    Args:
        models: (name, title) of each; the first is chosen at the beginning.
        most_mb: largest size of a file, 10^6 bytes.
        has_token: whether requests need a token, which the page then asks for.
    """
    return render("try.html.jinja", filters={"number": number}, models=models, most_mb=most_mb, has_token=has_token)
