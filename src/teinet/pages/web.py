"""What all our HTML pages share: one look, pictures inside the file, everything from outside escaped."""

from __future__ import annotations

import base64
from typing import Any, Literal


def render(template: str, *, filters: dict[str, Any], **values: Any) -> str:
    """A page from a template of this folder, which may include style.css."""
    from jinja2 import Environment, PackageLoader  # an extra: only pages need it

    environment = Environment(loader=PackageLoader("teinet", "pages"), autoescape=True)
    environment.filters |= filters
    return environment.get_template(template).render(values)


def inline(picture: bytes, kind: Literal["png", "jpeg"] = "png") -> str:
    """A picture as the address of itself, so that a page needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
