"""What all our HTML pages share: one look, pictures inside the file, everything from outside escaped."""

from __future__ import annotations

import base64
from typing import Any, Literal

from jinja2 import ChoiceLoader, Environment, PackageLoader


def render(room: str, template: str, *, filters: dict[str, Any], **values: Any) -> str:
    """A page from `template` in a room such as demo, which may include style.css of this one."""
    loader = ChoiceLoader([PackageLoader("teinet", room), PackageLoader("teinet", "report")])
    environment = Environment(loader=loader, autoescape=True)
    environment.filters |= filters
    return environment.get_template(template).render(values)


def inline(picture: bytes, kind: Literal["png", "jpeg"] = "png") -> str:
    """A picture as the address of itself, so that a page needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
