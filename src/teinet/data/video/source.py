"""Where live video comes from: a camera, a stream's address, a pipe or a file; opened alike, told apart by name."""

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

from teinet.data.video.container import open_video, silence
from teinet.errors import ConfigError, VideoError

Kind = Literal["camera", "stream", "pipe", "file"]

_NAMED = re.compile(r"([\w][\w .-]*)=(.+)", re.DOTALL)
_ADDRESS = re.compile(r"\w+://[^\s'\"]+")
_HOST_AND_PORT = re.compile(r"[^:@]*:\d{0,5}")
_IN_BRACKETS = re.compile(r"\[[\w:.%]*\](:\d*)?")  # IPv6
_SECRET = r"((?:user|usr|login|account|pass|psw|pwd|pw|token|key|secret|auth|sig|cred|session)[\w-]*?=)"
_IN_PATH = re.compile(_SECRET + r"(?:(?!_[a-z]+=)[^&])*", re.IGNORECASE)  # /user=me_password=secret_channel=1
_IN_QUERY = re.compile(_SECRET + r"[^&]*", re.IGNORECASE)
_HIDDEN = r"\1***"
_PATIENCE = 10.0


@dataclass(frozen=True)
class Source:
    """One place that video comes from.

    Args:
        name: what messages and events call it; holds no password.
        address: what is opened.
        kind: "camera", "stream" (any address with ://), "pipe" (standard input) or "file".
    """

    name: str
    address: str = field(repr=False)
    kind: Kind

    @classmethod
    def parse(cls, word: str) -> Source:
        """A source as it is written: `camera`, `camera:1`, `/dev/video0`, `rtsp://...`, `http://...`, `-`, or a file.

        `NAME=` before it gives it a name, where no file is called so; ConfigError where nothing else is written.
        """
        name, address = None, word
        if (named := _NAMED.fullmatch(word)) and not os.path.exists(word):
            name, address = named.groups()
        if not address.strip():
            raise ConfigError("a source to watch has no name: give a camera, an address or a file")
        if address == "-":
            return cls(name or "standard input", "pipe:0", "pipe")
        if address.startswith("file://"):
            address = address.removeprefix("file://")
        elif "://" in address:
            return cls(name or without_secrets(address), address, "stream")
        if address.split(":")[0] == "camera" or address.startswith("/dev/video"):
            return cls(name or address, address, "camera")
        return cls(name or address, address, "file")

    @contextmanager
    def open(
        self, patience: float = _PATIENCE, threads: int | Literal["auto"] = "auto"
    ) -> Iterator[tuple[InputContainer, av.VideoStream]]:
        """Open it, closed on leaving; arguments as of `VideoReader`.

        Raises:
            VideoError: it is missing, holds no video, or broke off; also of FFmpeg's errors inside the `with` block.
        """
        if self.kind == "file":
            with open_video(self.address, threads) as opened:
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
            stream.thread_type = "SLICE"  # whole frames in parallel would each wait for the next
            yield container, stream
        except (FFmpegError, OSError) as error:
            raise VideoError(self.name, f"broke off ({self._text(error, patience)})") from None
        finally:
            container.close()

    def _text(self, error: Exception, patience: float) -> str:
        if isinstance(error, ExitError):  # PyAV's own time limit
            return f"no answer for {patience:g} s"
        text = str(getattr(error, "strerror", None) or error).splitlines()[0]
        return hidden(text.replace(self.address, without_secrets(self.address)))


def without_secrets(address: str) -> str:
    """An address as it may be shown: without user and password, and with *** for such values in its path and query."""
    scheme, _, rest = address.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if _IN_BRACKETS.fullmatch(host):
        before = ""
    elif _HOST_AND_PORT.fullmatch(host):  # or a user and the beginning of a password, which is likelier without a dot
        before = rest.partition("?")[0] if "." in host and rest[len(host) :][:1] != "?" else rest
    elif ":" in host.partition("@")[0]:  # a password, which may hold any character
        before = rest
    else:
        before = host
    path, mark, query = rest[before.rfind("@") + 1 :].partition("?")
    return f"{scheme}://{_IN_PATH.sub(_HIDDEN, path)}{mark}{_IN_QUERY.sub(_HIDDEN, query)}"


def hidden(text: str) -> str:
    """A text with its addresses as they may be shown."""
    return _ADDRESS.sub(lambda found: without_secrets(found[0]), text)


def _stream(address: str, patience: float) -> dict:
    options = {}
    if address.startswith(("rtsp", "rtp", "rtmp", "udp", "srt")):
        options["fflags"] = "nobuffer"  # what was read to find out what comes is late by then; elsewhere the beginning
    if address.startswith("http"):
        options["reconnect"] = "1"  # a recording whose connection breaks is read on where it broke
    if address.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # over UDP lost packets are gray images
    return {"options": options, "timeout": None if address.startswith("pipe:") else (patience, patience)}


def _camera(address: str) -> tuple[str, dict]:
    which = address.partition(":")[2] or "0"
    if sys.platform.startswith("linux"):
        device = address if address.startswith("/dev/") else f"/dev/video{which}"
        if not os.path.exists(device):
            raise VideoError(address, f"there is no camera {device}")
        return device, {"format": "v4l2"}
    if sys.platform == "darwin":
        return which, {"format": "avfoundation", "options": {"framerate": "30"}}
    if which.isdecimal():
        raise VideoError(address, "name the camera as the system does: camera:NAME (ffmpeg -f dshow -list_devices)")
    return f"video={which}", {"format": "dshow"}
