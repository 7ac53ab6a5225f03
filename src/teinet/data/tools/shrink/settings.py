"""How clips are made smaller."""

from __future__ import annotations

from dataclasses import dataclass

from teinet.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Shrinking:
    """How clips are made smaller.

    Args:
        short_side: pixels of the shorter side; smaller clips keep their size.
        keyframes: a frame that can be decoded without others, every so many frames.
        quality: x264's constant rate factor, 0 (lossless) to 51; pictures are JPEGs of quality 90.
    """

    short_side: int = 256
    keyframes: int = 16
    quality: int = 23

    def __post_init__(self) -> None:
        if self.short_side < 16 or self.keyframes < 1 or not 0 <= self.quality <= 51:
            raise ConfigError(
                f"short side {self.short_side}, keyframes {self.keyframes}, quality {self.quality}: "
                "expected at least 16, at least 1, 0 to 51"
            )

    def size(self, width: int, height: int, *, even: bool = False) -> tuple[int, int]:
        """The size of a smaller clip in pixels: of the same shape, and never larger.

        With `even`, the nearest even one, for h264 halves its colours; at least 2.
        """
        scale = min(1.0, self.short_side / min(width, height))
        if not even:
            return max(1, round(width * scale)), max(1, round(height * scale))
        small = (max(2, min(2 * round(side * scale / 2), side // 2 * 2)) for side in (width, height))
        return next(small), next(small)
