"""What all our HTML pages share: one look, images inside the file, everything from outside escaped."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def render(template: str, *, filters: dict[str, Any], **values: Any) -> str:
    """A page from a template of this folder, which may include style.css."""
    from jinja2 import Environment, PackageLoader  # an extra: only pages need it

    environment = Environment(loader=PackageLoader("teinet", "pages"), autoescape=True)
    environment.filters |= filters
    return environment.get_template(template).render(values)


def png(pixels: np.ndarray) -> bytes:
    """Return pixels (H, W, 3) uint8 as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def figure_png(figure: Figure, **options: Any) -> bytes:
    """Return a figure of matplotlib as a PNG, with the options of its `savefig`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", **options)
    return buffer.getvalue()


def inline(picture: bytes, kind: Literal["png", "jpeg"] = "png") -> str:
    """Return an image as its own address, so that a page needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
