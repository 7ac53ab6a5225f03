"""Addresses that a server may open for its clients: under prefixes that were allowed, without a way out of them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from teinet.errors import ConfigError
from teinet.serving.limits import Limits, Refused
from teinet.utils.addresses import without_secrets

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_FETCHED = ("http", "https")
_CAMERA = re.compile(r"camera(:\w+)?")
_PATIENCE = 10.0  # seconds without an answer
_CHUNK = 1 << 16
_NOT_ALLOWED = "this address is not under a prefix that the server allows (--allow)"

Place = tuple[str, str, int, tuple[str, ...]]  # scheme, host, port, parts of the path


class Allowed:
    """A list of prefixes of addresses.

    Args:
        prefixes: `https://host/videos/` or `rtsp://host/`, a local folder or file, `camera` or `camera:1`. Cameras and
            rtsp are for live video alone.

    Raises:
        ConfigError: a prefix of another scheme, or a folder that does not exist.
    """

    def __init__(self, prefixes: Iterable[str] = ()):
        self._places: list[Place] = []
        self._folders: list[str] = []
        self._cameras: set[str] = set()
        for prefix in prefixes:
            if "://" in prefix:
                if (place := _place(prefix)) is None:
                    raise ConfigError(f"{without_secrets(prefix)}: only http, https and rtsp addresses can be allowed")
                self._places.append(place)
            elif _CAMERA.fullmatch(prefix) and not os.path.exists(prefix):
                self._cameras.add(prefix)
            elif os.path.exists(prefix):
                self._folders.append(os.path.realpath(prefix))
            else:
                raise ConfigError(f"{prefix}: no such folder; --allow takes a folder, or http(s)://HOST/PATH")
        self._opener = _opener(self)

    def check(self, address: str, *, live: bool = False) -> str:
        """Return an address as it is opened: a local path without links; Refused (403) if it is not allowed."""
        if not (self._places or self._folders or self._cameras):
            raise Refused(403, "this server opens no addresses (--allow); upload the file")
        if "://" in address:
            place = _place(address)
            schemes = _PORTS if live else _FETCHED
            if place and place[0] in schemes and any(_under(place, prefix) for prefix in self._places):
                return address
        elif address in self._cameras and live:
            return address
        else:
            try:
                path = os.path.realpath(address)
            except (OSError, ValueError):  # characters that no path has
                path = ""
            if any(path == folder or path.startswith(folder.rstrip(os.sep) + os.sep) for folder in self._folders):
                return path
        raise Refused(403, _NOT_ALLOWED)

    def open(self, address: str) -> Any:
        """Open an http(s) address for reading; Refused if it leads elsewhere (403) or does not answer (422)."""
        try:
            return self._opener.open(Request(self.check(address), headers={"User-Agent": "teinet"}), timeout=_PATIENCE)
        except (OSError, ValueError) as error:  # URLError is an OSError
            code = 403 if isinstance(error, HTTPError) and 300 <= error.code < 400 else 422  # to another scheme
            raise Refused(code, f"{without_secrets(address)}: cannot be opened ({_reason(error)})") from None

    def download(self, address: str, file: IO[bytes], limits: Limits) -> None:
        """Write what is at an http(s) address to a file.

        Raises:
            Refused: as `open`; it is too large (413), or takes too long (408).
        """
        until, most = time.monotonic() + limits.timeout, limits.upload_bytes
        with self.open(address) as answer:
            while True:
                try:
                    chunk = answer.read1(_CHUNK)
                except (OSError, ValueError) as error:
                    raise Refused(422, f"{without_secrets(address)}: cannot be read ({_reason(error)})") from None
                if not chunk:
                    return
                most -= len(chunk)
                if most < 0:
                    raise limits.too_large()
                if time.monotonic() > until:
                    raise Refused(408, f"{without_secrets(address)}: the download took too long (--timeout)")
                file.write(chunk)


def _place(address: str) -> Place | None:
    """Return the parts of an address that is compared; None for one that could be read in two ways."""
    if re.search(r"[^!-~]|\\", address):  # spaces, control characters, backslashes: readers differ about them
        return None
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    path = unquote(parts.path)
    segments = tuple(path.split("/")[1:]) if path else ("",)
    if parts.scheme not in _PORTS or not parts.hostname or "#" in address:
        return None
    if re.search(r"[%\\]|[^ -\U0010ffff]", path) or {".", ".."} & set(segments):
        return None
    return parts.scheme, parts.hostname.lower(), port, segments


def _under(place: Place, prefix: Place) -> bool:
    folder = prefix[3][:-1] if prefix[3][-1] == "" else prefix[3]
    return place[:3] == prefix[:3] and place[3][: len(folder)] == folder


def _opener(allowed: Allowed) -> OpenerDirector:
    class Redirects(HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            allowed.check(newurl)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    opener = OpenerDirector()  # without urllib's handlers of ftp, file and data addresses
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, Redirects, HTTPErrorProcessor):
        opener.add_handler(handler())
    return opener


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    return " ".join(str(getattr(reason, "strerror", None) or reason).split())
