"""The videos that a user means by files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from teinet.data.video.reader import is_video
from teinet.data.video.source import Source
from teinet.errors import ConfigError
from teinet.utils.text import natural


def find_videos(names: Iterable[str | Path], problems: list[str] | None = None) -> list[Path]:
    """Expand files, folders (recursively) and patterns such as `clips/**/*.webm`, each video once.

    A named file is taken whatever its suffix, and even if it is missing. A folder of numbered images is one video.
    Names keep their order; the contents of a folder or pattern come in natural order.

    Args:
        problems: takes a message for each folder or pattern without videos, while other names have some.

    Raises:
        ConfigError: no file exists; a folder or pattern without videos, or a camera, address or pipe; with `problems`,
            only if no name is a video.
    """
    found: dict[str, Path] = {}
    for name in names:
        try:
            for path in _expand(str(name)):
                found.setdefault(os.path.abspath(path), path)
        except ConfigError as error:
            if problems is None:
                raise
            problems.append(str(error))
    if problems and not found:
        raise ConfigError("; ".join(problems))
    if found and not any(path.exists() for path in found.values()):
        first, *more = found.values()
        raise ConfigError(f"{first}: no such file or folder" + (f", nor {len(more)} others" if more else ""))
    return list(found.values())


def _expand(name: str) -> list[Path]:
    if (live := _live(name)) is not None:
        raise ConfigError(f"{live} is live video, not a file; use teinet watch WEIGHTS {live}")
    path = Path(name).expanduser()
    if path.is_dir():
        videos = list(_walk(path))
        if not videos:
            raise ConfigError(f"{name}: no videos in this folder")
        return videos
    if path.exists() or not glob.has_magic(name):  # a file's own name may hold [ ] * ?
        return [path]
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)), key=natural)
    if not matches:
        raise ConfigError(f"{name}: no file matches this pattern")
    asked = Path(name).suffix not in ("", ".*")  # "*.dat" says what it wants, "*" may well match notes and tables
    found = (_walk(match) if match.is_dir() else [match] if asked or is_video(match) else [] for match in matches)
    videos = [video for each in found for video in each]
    if not videos:
        raise ConfigError(f"{name}: this pattern matches {len(matches)} names, but no video")
    return videos


def _live(name: str) -> str | None:
    """Return how `teinet watch` names a camera, an address or a pipe, without passwords; None for a file."""
    if not name or (os.path.lexists(name) and not name.startswith("/dev/video")):
        return None
    source = Source.parse(name)
    return {"file": None, "pipe": "-"}.get(source.kind, source.name)


def _walk(folder: Path) -> Iterator[Path]:
    # without hidden files: macOS's ._clip.mp4 companions are no videos
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    entries.sort(key=lambda entry: natural(entry.name))
    if is_video(folder) and not any(entry.is_file() and is_video(entry) for entry in entries):
        yield folder  # images; next to videos they are their thumbnails
        return
    for entry in entries:
        if entry.is_dir():
            if not entry.is_symlink():  # a link may lead back up
                yield from _walk(entry)
        elif is_video(entry):
            yield entry
