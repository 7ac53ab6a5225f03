"""Seconds as people and players read them."""

from __future__ import annotations


def clock(second: float) -> str:
    """Hours, minutes, seconds and milliseconds: 00:01:02.500."""
    whole = round(max(second, 0.0) * 1000)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // 1000 % 60:02d}.{whole % 1000:03d}"


def short_clock(second: float) -> str:
    """Minutes and seconds, hours where there are some: 1:02, 2:00:00."""
    whole = round(max(second, 0.0))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
