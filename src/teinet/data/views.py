"""Views of a video: the clips and crops of a test (`1x1`, `10x3`), the paper's testing protocols (section 4.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from teinet.errors import ConfigError

_FORM = re.compile(r"(\d+)\s*[x×]\s*(\d+)(?:/(full|crop))?", re.IGNORECASE)


@dataclass(frozen=True)
class Views:
    """The numbers of clips of a video, and of crops of each clip.

    Args:
        num_clips: clips spread evenly over the video, at least 1.
        num_crops: 1 (center), 3 (left, middle, right), or any other number, evenly spaced from edge to edge.
        full_resolution: crops as large as the short side (256), not the training size (224); None: for several crops.

    Raises:
        ConfigError: a number below 1.
    """

    num_clips: int = 1
    num_crops: int = 1
    full_resolution: bool | None = None

    def __post_init__(self):
        for count, name in ((self.num_clips, "clips"), (self.num_crops, "crops")):
            if count < 1:
                raise ConfigError(f"views have {count} {name}; there must be at least 1")
        if self.full_resolution is None:
            object.__setattr__(self, "full_resolution", self.num_crops > 1)

    @classmethod
    def parse(cls, text: str | Views) -> Views:
        """Parse `clips x crops`: `1x1`, `10x3`; `10x3/crop` for crops of 224 pixels, `1x1/full` for 256.

        Raises:
            ConfigError: a text of another form.
        """
        if isinstance(text, Views):
            return text
        match = _FORM.fullmatch(str(text).strip())
        if match is None:
            example = f"{text}x1" if str(text).isdecimal() else "1x1 or 10x3"
            raise ConfigError(f"views {text!r} cannot be parsed; write clips x crops, such as {example}")
        resolution = {None: None, "full": True, "crop": False}[match[3] and match[3].lower()]
        return cls(int(match[1]), int(match[2]), resolution)

    def __str__(self) -> str:
        habit = self.full_resolution == (self.num_crops > 1)
        return f"{self.num_clips}x{self.num_crops}" + ("" if habit else "/full" if self.full_resolution else "/crop")

    def __len__(self) -> int:
        return self.num_clips * self.num_crops


def check_views(views: Views, fit: str) -> None:
    """Raise ConfigError for several crops with fit "squash", which would all be the same."""
    if fit == "squash" and views.num_crops > 1:
        raise ConfigError(
            f"views are {views}, but the network sees the whole frame (fit squash), of which there is one crop; use "
            f"{views.num_clips}x1"
        )
