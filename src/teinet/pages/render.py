"""The common basis of the HTML pages: one look, inline images, escaped values."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of a page that is served: it loads nothing from elsewhere, and no other page may show it.
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; media-src blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'",
}


def render(template: str, *, filters: dict[str, Any], **values: Any) -> str:
    """Return a page from a template of this folder, with autoescaped values."""
    from jinja2 import Environment, PackageLoader  # an extra: only pages need it

    environment = Environment(loader=PackageLoader("teinet", "pages"), autoescape=True)
    environment.filters |= filters
    return environment.get_template(template).render(values)


def png(pixels: np.ndarray) -> bytes:
    """Return pixels (H, W, 3) uint8 as a PNG."""
    return _encoded(Image.fromarray(pixels), "PNG")


def jpeg(pixels: np.ndarray, largest: int = 1 << 16) -> bytes:
    """Return pixels (H, W, 3) uint8 as a JPEG, scaled down to sides of at most `largest` pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((largest, largest))
    return _encoded(image, "JPEG", quality=80)


def _encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def figure_png(figure: Figure, **options: Any) -> bytes:
    """Return a matplotlib figure as a PNG, with the options of its `savefig`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", **options)
    return buffer.getvalue()


def inline(image: bytes, kind: Literal["png", "jpeg"] = "png") -> str:
    """Return an image as a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
