"""Opening video files with PyAV; all errors become a VideoError of one line."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av
import av.logging
from av.container import InputContainer
from av.error import EOFError as EndOfFile
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition

from teinet.data import remote, shards
from teinet.errors import VideoError
from teinet.utils.files import other_spelling

MOST_PIXELS = 178_956_970  # of a frame, as for images in Pillow: a few bytes of a header could ask for gigabytes
_FROM_ZERO = ("matroska",)  # its stated length counts from second 0, not from the first frame
_DRAWN_TEXT = ("ansi", "bintext", "idf", "xbin")  # FFmpeg makes images of text (.nfo, .diz, ...)
_TS_PACKET = 188  # bytes, each begins with a G
# Metadata may not be UTF-8; PyAV handles that from version 19 on.
_LENIENT: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}

_PLAYLISTS = {"applehttp", "concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp"}
_options: dict[str, str] = {}  # of FFmpeg, for files


def silence() -> None:
    """Keep FFmpeg's messages off the terminal; errors reach the user as VideoError.

    The level is None: at any other level PyAV passes messages to Python, and deadlocks when a decoder thread waits for
    Python's global lock while its holder waits for the decoder. Older versions of torchvision set a level on import.
    """
    av.logging.set_level(None)
    av.logging.set_libav_level(av.logging.PANIC)


def refuse_playlists() -> None:
    """Refuse files that name others, which FFmpeg would read in their place, in the rest of this process.

    It is for files that strangers send: a playlist could name any file or address of this machine.
    """
    _options["format_whitelist"] = ",".join(sorted(av.formats_available - _PLAYLISTS))


@contextmanager
def open_video(
    path: str, threads: int | Literal["auto"] = 1, *, once: bool = False
) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Open a file and its best video stream inside a block; raise VideoError, also for FFmpeg's errors in the block.

    Args:
        once: for one pass from the beginning; a remote file is then read as the pass goes.
    """
    check_file(path)
    silence()
    with ExitStack() as stack:
        try:
            container = av.open(stack.enter_context(shards.opened(path, once=once)), options=_options, **_LENIENT)
        except (FFmpegError, OSError, ValueError) as error:
            raise VideoError(path, _why_not_opened(path, error)) from None
        try:
            stream = _video_stream(path, container)
            limit_size(path, stream)
            stream.codec_context.thread_count = 0 if threads == "auto" else int(threads)
            stream.thread_type = "AUTO" if threads == "auto" or int(threads) > 1 else "NONE"
            yield container, stream
        except (FFmpegError, remote.StoreError) as error:
            raise VideoError(path, f"cannot be read ({_text(error)})") from None
        finally:
            container.close()


def limit_size(name: str, stream: av.VideoStream) -> None:
    """Raise VideoError for frames of more than `MOST_PIXELS`, and let the decoder skip those that follow."""
    context = stream.codec_context
    if context.width * context.height > MOST_PIXELS:
        most = f"more than {MOST_PIXELS // 10**6} million pixels"
        raise VideoError(name, f"its frames have {most} ({context.width}x{context.height}), which is too large to read")
    context.options = {**context.options, "max_pixels": str(MOST_PIXELS)}


def check_file(path: str) -> None:
    """Raise VideoError for a missing or empty file, and for a pipe or device, which may never end."""
    try:
        if shards.shard_part(path := os.fspath(path)) or remote.address_behind(path):
            if shards.status_of(path)[1] == 0:
                raise VideoError(path, "the file is empty (0 bytes)")
            return
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(path, "not a regular file")
        if status.st_size == 0:
            raise VideoError(path, "the file is empty (0 bytes)")
        with open(path, "rb"):
            return
    except FileNotFoundError:
        hint = other_spelling(path)
        raise VideoError(path, "no such file or folder" + (f"; {hint}" if hint else "")) from None
    except PermissionError:
        raise VideoError(path, "not readable: permission denied") from None
    except OSError as error:
        raise VideoError(path, f"cannot be opened ({error.strerror or error})") from None


def begin(container: InputContainer) -> float:
    """Return the timestamp at which a file begins, in seconds."""
    return (container.start_time or 0) / av.time_base


def stated_length(container: InputContainer, stream: av.VideoStream) -> float | None:
    """Return the stated seconds from a file's beginning to its video's end, the lowest of several, or None."""
    if container.start_time is None:  # bare frames without timestamps: FFmpeg guesses by the number of bytes
        return None
    stated = []
    if container.duration:
        late = begin(container) if container.format.name.startswith(_FROM_ZERO) else 0.0
        stated.append(container.duration / av.time_base - late)
    if stream.duration and stream.time_base:
        late = 0.0 if stream.start_time is None else float(stream.start_time * stream.time_base)
        stated.append(float(stream.duration * stream.time_base) + late - begin(container))
    return min(stated, default=None)


def _video_stream(path: str, container: InputContainer) -> av.VideoStream:
    # A cover image of a music file is a video stream too, marked as attached.
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    streams = [s for s in streams if s.codec_context is not None]
    if not streams:
        if container.streams.audio:
            raise VideoError(path, "has no video, only audio")
        if ends_too_early(path):
            raise VideoError(path, "cut off before its first frame")
        raise VideoError(path, "has no video stream that can be decoded")
    best = container.streams.best("video")
    stream = best if isinstance(best, av.VideoStream) and best in streams else streams[0]
    if stream.codec_context.name in _DRAWN_TEXT:
        raise VideoError(path, "not a video, but a text file")
    return stream


def _why_not_opened(path: str, error: Exception) -> str:
    try:
        with shards.opened_bytes(path) as file:
            boxes = list(_mp4_boxes(file))
            is_text = _looks_like_text(file)
    except OSError as unread:  # a store without an answer
        return f"cannot be read ({unread.strerror or unread})"
    if is_text:
        return "not a video, but a text file"
    if any(kind in (b"ftyp", b"mdat") for kind, _ in boxes) and all(kind != b"moov" for kind, _ in boxes):
        return "cut off, or its recording was not finished: the index (moov) at its end is missing"
    if ends_too_early(path):
        return "cut off: its end, which is needed to read it, is missing"
    if isinstance(error, InvalidDataError | EndOfFile | ValueError):
        return "not a video that FFmpeg can read, or its beginning is damaged"
    return f"cannot be opened ({_text(error)})"


def _text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def _looks_like_text(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(2048)
    try:
        text = head[: len(head) - 3].decode() if len(head) == 2048 else head.decode()
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def ends_too_early(path: str | Path) -> bool:
    """Return true if an MP4, AVI, Matroska or MPEG-TS file states more bytes than it has; false if it states none."""
    with shards.opened_bytes(os.fspath(path)) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(_TS_PACKET + 1)
        if head[:1] == head[_TS_PACKET:] == b"G":
            return size % _TS_PACKET > 0
        if head[:4] == b"RIFF":
            return any(end > size for end in _riff_ends(file, size))
        if head[:4] == b"\x1aE\xdf\xa3":
            end = _matroska_end(file)
            return end is not None and end > size
        return any(kind in (b"mdat", b"moof", b"moov") and end > size for kind, end in _mp4_boxes(file))


def _mp4_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield the name and end of each top-level box; the last may end after the file."""
    file.seek(0, os.SEEK_END)
    size, position = file.tell(), 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        elif length == 0:  # to the end of the file
            length = size - position
        if length < 8 or not head[4:8].isalnum():
            return
        yield head[4:8], position + length
        position += length


def _riff_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield the end of each RIFF chunk; AVI files above 1 GB have several."""
    position = 0
    while position + 12 <= size:
        file.seek(position)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):  # unknown length: never written back
            return
        yield position + 8 + length
        position += 8 + length + length % 2


def _matroska_end(file: BinaryIO) -> int | None:
    """Return the end of the segment; None if not stated (a live recording)."""

    def number(keep_marker: bool) -> int | None:
        first = file.read(1)
        if not first or not first[0]:
            return None
        length = 9 - first[0].bit_length()
        rest = file.read(length - 1)
        value = int.from_bytes(first + rest, "big")
        if keep_marker:
            return value
        value &= (1 << 7 * length) - 1
        return None if value == (1 << 7 * length) - 1 else value

    file.seek(4)
    header = number(False)
    if header is None:
        return None
    file.seek(header, os.SEEK_CUR)
    if number(True) != 0x18538067:
        return None
    length = number(False)
    return None if length is None else file.tell() + length
