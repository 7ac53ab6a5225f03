"""Sources of video: a camera, the address of a stream, a pipe or a file, with one interface."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError

from teinet.data.video.container import limit_size, open_video, silence
from teinet.errors import ConfigError, VideoError
from teinet.utils.addresses import hidden, without_secrets

Kind = Literal["camera", "stream", "pipe", "file"]

_NAMED = re.compile(r"([\w][\w .-]*)=(.+)", re.DOTALL)
_PATIENCE = 10.0


@dataclass(frozen=True)
class Source:
    """One source of video.

    Args:
        name: its name in messages and events, without passwords.
        address: the path or address to open.
        kind: "camera", "stream" (any address with ://), "pipe" (standard input) or "file".
    """

    name: str
    address: str = field(repr=False)
    kind: Kind

    @classmethod
    def parse(cls, word: str) -> Source:
        """Parse `camera`, `camera:1` or `1`, `/dev/video0`, `rtsp://...`, `http://...`, `-`, or a file.

        A prefix `NAME=` names the source, unless the whole word is an existing file.

        Raises:
            ConfigError: the source is empty.
        """
        name, address = None, word
        if (named := _NAMED.fullmatch(word)) and not os.path.exists(word):
            name, address = named.groups()
        if not address.strip():
            raise ConfigError("a source is empty; give a camera, an address or a file")
        if address == "-":
            return cls(name or "standard input", "pipe:0", "pipe")
        if address.startswith("file://"):
            address = address.removeprefix("file://")
        elif "://" in address and not re.match("(s3|gs|hf)://", address):  # which FFmpeg cannot open
            return cls(name or without_secrets(address), address, "stream")
        if address.isdecimal() and not os.path.exists(address):
            address = f"camera:{address}"
        if address.split(":")[0] == "camera" or address.startswith("/dev/video"):
            return cls(name or address, address, "camera")
        return cls(name or hidden(address), address, "file")

    @contextmanager
    def open(
        self, patience: float = _PATIENCE, threads: int | Literal["auto"] = "auto"
    ) -> Iterator[tuple[InputContainer, av.VideoStream]]:
        """Open the source inside a block; arguments as in `VideoReader`.

        Raises:
            VideoError: it is missing, has no video, or the connection was lost; also for FFmpeg's errors in the block.
        """
        if self.kind == "file":
            with open_video(self.address, threads, once=True) as opened:
                yield opened
            return
        is_camera = self.kind == "camera"
        address, options = _camera(self.address) if is_camera else (self.address, _stream(self.address, patience))
        silence()
        try:
            container = av.open(address, **options)
        except (FFmpegError, OSError, ValueError) as error:
            raise VideoError(self.name, f"cannot be opened ({self._text(error, patience)})") from None
        try:
            if not container.streams.video:
                raise VideoError(self.name, "has no video")
            stream = container.streams.best("video") or container.streams.video[0]
            limit_size(self.name, stream)
            stream.thread_type = "SLICE"  # frame threads would delay each frame until the next one
            yield container, stream
        except (FFmpegError, OSError) as error:
            raise VideoError(self.name, f"connection lost ({self._text(error, patience)})") from None
        finally:
            container.close()

    def _text(self, error: Exception, patience: float) -> str:
        if isinstance(error, ExitError):  # PyAV's timeout
            return f"no response for {patience:g} s"
        text = str(getattr(error, "strerror", None) or error).splitlines()[0]
        return hidden(text.replace(self.address, without_secrets(self.address)))


def refuse_address(path: str | os.PathLike[str]) -> None:
    """Raise ConfigError for an address in place of a file, also where pathlib has changed its slashes."""
    address = re.sub(r"^(?:.*/)?(https?|ftp|rtsp|rtmp|s3|gs|hf):/(?=[^/])", r"\1://", os.fspath(path))
    if "://" in address and not os.path.lexists(path):
        what = "is an address, not a file; download it first, or look at live video with teinet watch"
        raise ConfigError(f"{without_secrets(address)} {what}")


def _stream(address: str, patience: float) -> dict:
    options = {}
    if address.startswith(("rtsp", "rtp", "rtmp", "udp", "srt")):
        options["fflags"] = "nobuffer"  # drop packets read for probing: late for live video, the start of others
    if address.startswith("http"):
        options["reconnect"] = "1"  # after a lost connection a recording continues at the same position
        options["live_start_index"] = "-1"  # of HLS: begin with the last segment, not two segments earlier
    if address.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # lost UDP packets give gray images
    return {"options": options, "timeout": None if address.startswith("pipe:") else (patience, patience)}


def _camera(address: str) -> tuple[str, dict]:
    which = address.partition(":")[2] or "0"
    if sys.platform.startswith("linux"):
        device = address if address.startswith("/dev/") else f"/dev/video{which}"
        if not os.path.exists(device):
            raise VideoError(address, f"no camera {device} found")
        return device, {"format": "v4l2"}
    if sys.platform == "darwin":
        return which, {"format": "avfoundation", "options": {"framerate": "30"}}
    if which.isdecimal():
        raise VideoError(address, "use the system's name of the camera: camera:NAME (ffmpeg -f dshow -list_devices)")
    return f"video={which}", {"format": "dshow"}
