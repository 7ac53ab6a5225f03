"""Which class a clip belongs to once it is mirrored: direction words exchanged in the class names, never in indices."""

from __future__ import annotations

import re
from collections.abc import Sequence

from teinet.errors import ConfigError

_EXCHANGE = {
    "left": "right",
    "right": "left",
    "clockwise": "counterclockwise",
    "counterclockwise": "clockwise",
    "anticlockwise": "clockwise",
    "leftward": "rightward",
    "rightward": "leftward",
    "leftwards": "rightwards",
    "rightwards": "leftwards",
}
_WORDS = re.compile(r"[a-z]+|[^a-z]+", re.IGNORECASE)


def mirrored_name(name: str, counter: str = "counterclockwise") -> str:
    """`name` with left and right, clockwise and counterclockwise (or anticlockwise) exchanged; case is ignored."""
    text = re.sub(r"\bcounter[ -]clockwise\b", "counterclockwise", name, flags=re.IGNORECASE)
    words = [_EXCHANGE.get(w.lower(), w) for w in _WORDS.findall(text)]
    return "".join(counter if w == "counterclockwise" else w for w in words)


def mirrored_labels(class_names: Sequence[str]) -> list[int]:
    """For each class the index of the class that its mirrored clips show; itself where no direction is named.

    Raises:
        ConfigError: a class names a direction and its mirror image is no class.
    """
    index = {name.lower(): i for i, name in enumerate(class_names)}
    labels = []
    for i, name in enumerate(class_names):
        candidates = [mirrored_name(name, c).lower() for c in ("counterclockwise", "counter clockwise", "counter-clockwise", "anticlockwise")]
        plain = re.sub(r"\bcounter[ -]clockwise\b", "counterclockwise", name, flags=re.IGNORECASE).lower()
        if candidates[0] == plain:
            labels.append(i)
        elif found := [index[c] for c in candidates if c in index]:
            labels.append(found[0])
        else:
            raise ConfigError(
                f"mirroring would turn class {name!r} into {candidates[0]!r}, which is no class; train without mirror"
            )
    return labels
