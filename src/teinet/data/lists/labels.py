"""Class names read from a file, and the classes of horizontally flipped clips."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teinet.data import remote
from teinet.data.video.source import refuse_address
from teinet.errors import AnnotationError, ConfigError
from teinet.utils.addresses import without_secrets
from teinet.utils.text import one_text, spelling_key

_NUMBERED = re.compile(r"([0-9]{1,9})\s+(\S.*)")
_SEPARATOR = re.compile(r"[,;|]")
_JSON = re.compile(r"\s*(\[\s*[\"\]]|\{)")  # a plain name may begin with a bracket: [Something] falling

_PAIRS = (("left", "right"), ("leftward", "rightward"), ("leftwards", "rightwards"), ("clockwise", "counterclockwise"))
_EXCHANGE = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
# "pulling it right out", "left behind": not directions
_NO_DIRECTION = re.compile(r"\b(right[ _-](?:out|away|after|before|now|there|here)|left[ _-](?:behind|over|alone))\b")
_COUNTER = re.compile(r"(?:counter|anti)[ _-]?clockwise|\bccw\b")
_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")  # SwipeLeft

# index (None: in the order of the file), name, line (None: unknown)
_Entry = tuple[int | None, str, int | None]


def read_class_names(path: str | Path) -> list[str]:
    """Read class names from a file, in the order of their indices.

    Args:
        path: UTF-8: one name per line; or `index name` per line, from 0 or 1, in any order; or a JSON list of names; or
            a JSON object from name to index, which may be a string ("0").

    Raises:
        AnnotationError: no such file, another encoding, no names, one twice, or indices other than 0..n-1 or 1..n.
    """
    text = read_text(Path(path))
    is_json = Path(path).suffix.lower() == ".json" or _JSON.match(text)
    entries = _from_json(path, text) if is_json else _from_lines(path, text)
    if not entries:
        raise AnnotationError(path, "has no class names; expected one per line, or JSON")
    seen: dict[str, int | None] = {}
    for _, name, line in entries:
        if name in seen:
            before = f" (first in line {seen[name]})" if seen[name] else ""
            raise AnnotationError(path, f"class {name!r} is a duplicate{before}; remove it", line)
        seen[name] = line
    if all(index is None for index, _, _ in entries):
        return [name for _, name, _ in entries]
    return _in_order(path, entries)


def several_labels(class_names: Sequence[str]) -> str:
    """Return a warning on names that look like several labels of a clip (`fight,outdoor`), or an empty string."""
    known, found = set(class_names), []
    for name in class_names:
        parts = [part.strip() for part in _SEPARATOR.split(name)]
        words = len(parts) > 1 and all(re.search(r"[^\W\d]", part) for part in parts)
        # a sentence has a space after its comma, unless a part of it is a class itself
        if words and (not re.search(f"{_SEPARATOR.pattern}\\s", name) or known & set(parts)):
            found.append(name)
    if not found:
        return ""
    count = "1 label looks" if len(found) == 1 else f"{len(found)} labels look"
    return f"{count} like several ({found[0]!r}); each is one class; with data.multi_label, a|b are two"


def labels_alike(class_names: Sequence[str]) -> str:
    """Return a warning on names that differ by case, Unicode form, spaces or a number's zeros, or an empty string."""
    seen: dict[str, str] = {}
    pairs = []
    for name in class_names:
        key = " ".join(spelling_key(name).split())
        key = re.sub(r"^0+(?=\d)|\.0*$", "", key) if re.fullmatch(r"\d+(\.0*)?", key) else key
        if (other := seen.setdefault(key, name)) != name:
            form = " (of other Unicode forms)" if one_text(other, name) else ""
            pairs.append(f"{other!r} and {name!r}{form}")
    if not pairs:
        return ""
    more = f" (and {len(pairs) - 1} more pairs)" if len(pairs) > 1 else ""
    return f"{pairs[0]}{more} are two classes; give them one spelling if they are one"


def refuse_half_characters(text: str, path: str | Path, line: int | None = None) -> None:
    """Raise AnnotationError for a text of JSON with half of a surrogate pair, which no file could hold."""
    try:
        text.encode("utf-8", "surrogateescape")  # the escapes of names that are not UTF-8 pass
    except UnicodeEncodeError:
        raise AnnotationError(path, f"{text[:60]!r} is not a text: it has half of a surrogate pair", line) from None


def read_text(path: Path) -> str:
    """Return a text file's content; AnnotationError if it cannot be read or is not UTF-8 (with the line)."""
    try:
        content = remote.content(address) if (address := remote.address_of(path)) else path.read_bytes()
    except OSError as error:
        if address is None:
            refuse_address(path)
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise AnnotationError(without_secrets(address) if address else path, reason) from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise AnnotationError(path, "is encoded in UTF-16; save it as UTF-8", 1)
    if b"\0" in content:
        raise AnnotationError(path, "is not a text file; expected a list, such as a csv with columns path and label")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason = f"is not encoded in UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8"
        raise AnnotationError(path, reason, line) from None


def _from_lines(path: str | Path, text: str) -> list[_Entry]:
    lines = [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []
    if "" in lines:
        raise AnnotationError(path, "this line is empty; expected one name per line", lines.index("") + 1)
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if all(numbered):
        return [(int(match[1]), match[2], line) for line, match in enumerate(numbered, start=1) if match]
    return [(None, name, line) for line, name in enumerate(lines, start=1)]


def _from_json(path: str | Path, text: str) -> list[_Entry]:
    try:
        content = json.loads(text, object_pairs_hook=list)  # a dict would swallow a repeated name
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise AnnotationError(path, f"is not valid JSON: {error}", line) from error
    if not isinstance(content, list):
        raise AnnotationError(path, f"has {content!r:.40}; expected a JSON list of names or an object of indices")
    is_list = text.lstrip()[0] == "["
    entries: list[_Entry] = []
    for name, index in ((name, None) for name in content) if is_list else content:
        if not isinstance(name, str) or not name.strip():
            raise AnnotationError(path, f"has {name!r:.40} in place of a class name; expected non-empty strings")
        refuse_half_characters(name, path)
        entries.append((None if is_list else _as_index(path, name, index), name.strip(), None))
    return entries


def _as_index(path: str | Path, name: str, index: Any) -> int:
    if re.fullmatch("-?[0-9]{1,9}", index if isinstance(index, str) else repr(index)):
        return int(index)
    raise AnnotationError(path, f"{name!r} has the index {index!r:.40}; expected a JSON object from name to index")


def _in_order(path: str | Path, entries: list[_Entry]) -> list[str]:
    start = 0 if any(index == 0 for index, _, _ in entries) else 1
    last = start + len(entries) - 1
    seen: set[int | None] = set()
    for index, name, line in entries:
        if index is None or index in seen or not start <= index <= last:
            what = "is given twice" if index in seen else f"is outside {start} to {last}"
            reason = (
                f"index {index} of {name!r} {what}; the {len(entries)} indices must start at 0 or 1 without gaps "
                "(write names that begin with a number as a JSON list)"
            )
            raise AnnotationError(path, reason, line)
        seen.add(index)
    return [name for _, name, _ in sorted(entries)]


def _words(name: str) -> tuple[str, ...]:
    """Return the lower-case words of a class name; anticlockwise and its spellings are one word."""
    text = _COUNTER.sub("counterclockwise", _BORDER.sub(" ", name).lower())
    text = _NO_DIRECTION.sub(lambda found: re.sub("[ _-]", "", found[0]), text)
    return tuple(re.findall(r"[^\W_]+", text))


def flipped_labels(class_names: Sequence[str]) -> list[int]:
    """Return for each class the index of its flipped clips' class; ConfigError if there is none."""
    index: dict[str, int] = {}
    for i, name in enumerate(class_names):
        index.setdefault(" ".join(_words(name)), i)
    labels = []
    for i, name in enumerate(class_names):
        words = _words(name)
        image = " ".join(_EXCHANGE.get(word, word) for word in words)
        if image == " ".join(words):
            labels.append(i)
        elif image in index:
            labels.append(index[image])
        else:
            raise ConfigError(
                f"a horizontal flip turns class {name!r} into {image!r}, which is not a class; train without hflip"
            )
    return labels
