"""The videos that a user means by files, folders and patterns."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from teinet.data import remote
from teinet.data.video import image_folder
from teinet.data.video.reader import is_video
from teinet.data.video.source import Source, refuse_address
from teinet.errors import ConfigError
from teinet.utils.text import count, natural, other_names, printable

log = logging.getLogger("teinet")


def find_videos(names: Iterable[str | Path], problems: list[str] | None = None) -> list[Path]:
    """Expand files, folders (recursively) and patterns such as `clips/**/*.webm`, each video once.

    A named file is taken whatever its suffix, and even if it is missing. A folder of numbered images is one video.
    Names keep their order; the contents of a folder or pattern come in natural order. Links to folders are followed
    unless they lead back up, each folder once. Names in a folder or of a pattern that are no videos are logged.

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
                # one key for all ways to its folder; a link to a file is a name of its own
                key = os.path.join(os.path.realpath(path.parent), path.name)
                found.setdefault(key, path)
        except ConfigError as error:
            if problems is None:
                raise
            problems.append(str(error))
    if problems and not found:
        raise ConfigError("; ".join(problems))
    if found and not any(path.exists() or image_folder.is_folder(str(path)) for path in found.values()):
        first, *more = found.values()
        raise ConfigError(f"{first}: no such file or folder" + (f", nor {count(len(more), 'other')}" if more else ""))
    return list(found.values())


def _expand(name: str) -> list[Path]:
    if (address := remote.address_of(name)) and not name.partition("?")[0].endswith((".m3u8", ".mpd", ".sdp")):
        return remote.videos_at(address, is_video)
    if re.match("(https?|ftp)://", name):  # more often a file than a stream
        refuse_address(name)
    if (live := _live(name)) is not None:
        raise ConfigError(f"{live} is live video, not a file; use teinet watch WEIGHTS {live}")
    path = Path(os.path.expanduser(name))
    others: list[str] = []
    if path.is_dir():
        videos = list(_walk(path, others, {os.path.realpath(path)}))
        if not videos:
            raise ConfigError(f"{name}: no videos in this folder{other_names(others)}")
    elif path.exists() or not glob.has_magic(name):  # a file's own name may hold [ ] * ?
        return [path]
    else:
        matches = sorted({Path(match) for match in _matches(str(path))}, key=natural)
        if not matches:
            raise ConfigError(f"{name}: no file matches this pattern")
        asked = path.suffix not in ("", ".*")  # "*.dat" says what it wants, "*" may well match notes and tables
        seen, videos = set[str](), []
        for match in matches:
            if match.is_dir():
                videos += _walk(match, others, seen) if _enters(match, seen) else ()
            elif asked or is_video(match):
                videos.append(match)
            else:
                others.append(str(match))
        if not videos:
            raise ConfigError(
                f"{name}: this pattern matches {count(len(matches), 'name')}, but no video{other_names(others)}"
            )
    if others:
        log.warning("%s", printable(f"{name}: ignored{other_names(others)}, no videos"))
    return videos


def _live(name: str) -> str | None:
    """Return how `teinet watch` names a camera, an address or a pipe, without passwords; None for a file."""
    if not name or (os.path.lexists(name) and not name.startswith("/dev/video")):
        return None
    source = Source.parse(name)
    return {"file": None, "pipe": "-"}.get(source.kind, source.name)


def _matches(pattern: str) -> Iterator[str]:
    """Yield what a pattern matches as `glob.glob` does, but each folder below `**` once, whatever links lead to it."""
    before, stars, after = pattern.partition(f"**{os.sep}")
    if not stars or (before and not before.endswith(os.sep)):
        yield from glob.glob(pattern)
        return
    for start in glob.glob(before) if before else [os.curdir]:
        for folder in _tree(start, {os.path.realpath(start)}):
            yield from _matches(os.path.join(glob.escape(folder), after))


def _tree(folder: str, seen: set[str]) -> Iterator[str]:
    yield folder
    try:
        inside = sorted((entry for entry in os.scandir(folder)), key=lambda entry: entry.name)
    except OSError:  # may not be read
        return
    for entry in inside:
        # a link may lead to itself, where `DirEntry.is_dir` raises OSError
        is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
        if is_folder and not entry.name.startswith(".") and _enters(entry.path, seen):
            yield from _tree(entry.path, seen)


def _enters(folder: str | Path, seen: set[str]) -> bool:
    """Return true and note a folder that was not seen before and, if it is a link, does not lead back up."""
    real = os.path.realpath(folder)
    above = os.path.join(os.path.realpath(os.path.dirname(folder) or os.curdir), "")
    if real in seen or (os.path.islink(folder) and above.startswith(os.path.join(real, ""))):
        return False
    seen.add(real)
    return True


def _walk(folder: Path, others: list[str], seen: set[str]) -> Iterator[Path]:
    """Yield the videos below a folder, each real folder once; add what is no video to `others`."""
    # without hidden files: macOS's ._clip.mp4 companions are no videos
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    entries.sort(key=lambda entry: natural(entry.name))
    if is_video(folder) and not any(entry.is_file() and is_video(entry) for entry in entries):
        yield folder  # images; next to videos they are their thumbnails
        return
    for entry in entries:
        if entry.is_dir():
            if _enters(entry, seen):
                yield from _walk(entry, others, seen)
        elif is_video(entry):
            yield entry
        else:
            others.append(str(entry))
