"""Watching: sources read beside each other, one step of a recogniser for all that have a frame, events as they happen.

`watch` is all that a program needs; `teinet watch` prints what it yields, and `serve` shows it on a local page.
"""

from __future__ import annotations

from teinet.live.notice import Notice
from teinet.live.page import serve
from teinet.live.watch import Counts, Watch

__all__ = ["Counts", "Notice", "Watch", "serve"]
