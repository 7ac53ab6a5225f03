"""Which class a clip belongs to once it is mirrored: direction words exchanged in the class names, never in indices."""

from __future__ import annotations

import re
from collections.abc import Sequence

from teinet.errors import ConfigError

_PAIRS = (("left", "right"), ("leftward", "rightward"), ("leftwards", "rightwards"), ("clockwise", "counterclockwise"))
_EXCHANGE = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
# "pulling it right out", "left behind": no directions
_NO_DIRECTION = re.compile(r"\b(right[ _-](?:out|away|after|before|now|there|here)|left[ _-](?:behind|over|alone))\b")
_COUNTER = re.compile(r"(?:counter|anti)[ _-]?clockwise|\bccw\b")
_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")  # SwipeLeft


def _words(name: str) -> tuple[str, ...]:
    """The words of a class name, however it is written: lower case, anticlockwise and its spellings as one word."""
    text = _COUNTER.sub("counterclockwise", _BORDER.sub(" ", name).lower())
    text = _NO_DIRECTION.sub(lambda found: re.sub("[ _-]", "", found[0]), text)
    return tuple(re.findall(r"[^\W_]+", text))


def mirrored_name(name: str) -> str:
    """The words of `name` with left and right, clockwise and counterclockwise exchanged, in lower case."""
    return " ".join(_EXCHANGE.get(word, word) for word in _words(name))


def mirrored_labels(class_names: Sequence[str]) -> list[int]:
    """For each class the index of the class that its mirrored clips show; itself where no direction is named.

    Raises:
        ConfigError: a class names a direction and its mirror image is no class.
    """
    index: dict[str, int] = {}
    for i, name in enumerate(class_names):
        index.setdefault(" ".join(_words(name)), i)
    labels = []
    for i, name in enumerate(class_names):
        image = mirrored_name(name)
        if image == " ".join(_words(name)):
            labels.append(i)
        elif image in index:
            labels.append(index[image])
        else:
            raise ConfigError(
                f"mirroring would turn class {name!r} into {image!r}, which is no class; train without mirror"
            )
    return labels
