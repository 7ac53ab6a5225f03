"""What the files of measurements are called."""

from __future__ import annotations

import re
from typing import Any


def machine_name(facts: dict[str, Any]) -> str:
    """A name for files: the processor and its cores, as in amd-epyc-2-cores."""
    processor = re.sub(r"\((R|TM|tm)\)|CPU|Processor|@.*", " ", facts["processor"])
    return re.sub(r"[^a-z0-9]+", "-", f"{processor} {facts['cores']} cores".lower()).strip("-")
