"""What a watch has to say, one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from teinet.detection.events import Event

What = Literal["begin", "end", "connected", "lost", "stalled", "resumed", "restarted", "resized", "finished"]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something happened before a camera, or to it.

    Args:
        what: "begin", "end": of an event. "connected", "lost": a source gives frames, or gives none any more.
            "stalled", "resumed": a live one is open, but sends no frames; it sends some again. "restarted": its times
            jumped or paused, and what was seen before no longer counts. "resized": its pictures have another size,
            likewise. "finished": it has no more frames.
        source: its name.
        time: seconds: in a recording, of its own clock, where it is at (0 before its first frame); else since the watch
            began.
        at: the time of day, with its zone.
        event: what began or ended, else None.
        why: in words, where there is something to say, else "".
    """

    what: What
    source: str
    time: float
    at: datetime
    event: Event | None = None
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        said = {"what": self.what, "source": self.source, "at": self.at.isoformat(timespec="milliseconds")}
        if self.event is not None:
            event = self.event.to_dict()
            if self.what == "begin":
                del event["end"]
            return {**said, **event}
        return {**said, "time": round(self.time, 3), **({"why": self.why} if self.why else {})}
