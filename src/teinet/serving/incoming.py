"""The content of a request: fields from its query, form or JSON, and a video, as a file of this machine."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile

from teinet.data.video.index import passing_file
from teinet.data.video.reader import VIDEO_SUFFIXES, VideoReader
from teinet.detection.events import Rules
from teinet.errors import nearest
from teinet.serving.allowed import Allowed
from teinet.serving.limits import Limits, Refused
from teinet.utils.text import printable, short_repr

FORM_BYTES = 1 << 16  # of the fields, or of JSON
_MOST_FIELDS = 20
_NAME = 200  # characters of an uploaded file's name


class Fields(BaseModel):
    """The fields of every request."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    model: str | None = Field(None, description="name of a model; may be left out if the server has only one")


class PredictFields(Fields):
    """The fields of a prediction, as the options of `teinet predict`."""

    address: str | None = Field(None, description="address of a video in place of a file, if the server allows it")
    views: str = Field("1x1", max_length=20, description="clips x crops to look at: 1x1 is quick, 10x3 thorough")
    top_k: int = Field(5, ge=1, description="number of classes")
    start: float | None = Field(None, description="first second of the video to look at")
    end: float | None = Field(None, description="last second of the video to look at")


class EventFields(Fields):
    """The rules of events, as the options of `teinet timeline`."""

    threshold: float = Field(0.5, description="score at which an event begins, 0 to 1")
    off_threshold: float | None = Field(None, description="score below which it ends (default: 0.7 of threshold)")
    min_duration: float = Field(0.5, description="seconds that an event lasts at least")
    frame_interval: float | None = Field(None, description="seconds between the frames that the network takes")

    def rules(self) -> Rules:
        """Return the rules; ConfigError for a value out of its range."""
        return Rules(**{name: getattr(self, name) for name in ("threshold", "off_threshold", "min_duration")})


class TimelineFields(EventFields):
    """The fields of a timeline."""

    address: str | None = Field(None, description="address of a video in place of a file, if the server allows it")


class LiveFields(EventFields):
    """The fields of a live stream."""

    source: str = Field(description="an allowed address, file or camera")


@dataclass(frozen=True)
class Incoming:
    """The video of a request: an uploaded file, or an address.

    Args:
        name: what the client calls it.
        file: an upload, else None.
    """

    name: str
    file: BinaryIO | None = None


F = TypeVar("F", bound=Fields)


async def read_fields(request: Request, kind: type[F], *, body: bool = True) -> tuple[F, UploadFile | None]:
    """Return the fields of a request, and the file of a form.

    Args:
        body: whether fields may come in a body, too.

    Raises:
        Refused: a field that is unknown, of a wrong value or given twice (400), or a body of another type (415).
    """
    given, upload = request.query_params.multi_items(), None
    content = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and content == "multipart/form-data":
        form = await request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=FORM_BYTES)
        for name, value in form.multi_items():
            if isinstance(value, str):
                given.append((name, value))
            elif name != "file":
                raise Refused(400, f"the file comes in a field named {printable(name)!r}; name it 'file'")
            else:
                upload = value
    elif body and content == "application/json":
        given += (await _json(request)).items()
    elif body:
        raise Refused(415, "send multipart/form-data with a file, or application/json with an address")
    names = [name for name, _ in given]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Refused(400, f"the field {printable(twice)} is given twice")
    try:
        return kind(**dict(given)), upload
    except ValidationError as error:
        raise Refused(400, _explained(error, kind)) from None


async def _json(request: Request) -> dict[str, Any]:
    text = b""
    async for chunk in request.stream():
        text += chunk
        if len(text) > FORM_BYTES:
            raise Refused(413, f"the JSON has more than {FORM_BYTES} bytes")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(values, dict):
        raise Refused(400, 'the JSON must be an object, such as {"address": "..."}')
    return values


def _explained(error: ValidationError, kind: type[Fields]) -> str:
    first = error.errors()[0]
    name = printable(first["loc"][0] if first["loc"] else "")
    if first["type"] == "extra_forbidden":
        return f"unknown field {name!r}.{nearest(name, kind.model_fields)} Fields: {', '.join(kind.model_fields)}"
    if first["type"] == "missing":
        return f"the field {name} is missing"
    return f"{name} is {printable(short_repr(first['input']))}: {first['msg'][:1].lower()}{first['msg'][1:]}"


def incoming(upload: UploadFile | None, address: str | None) -> Incoming:
    """Return the video that a request sends; Refused (400) for none or two."""
    if (upload is None) == (not address):
        raise Refused(400, "send one video: a file in the field 'file', or its address in the field 'address'")
    if upload is None:
        return Incoming(str(address))
    name = os.path.basename((upload.filename or "").replace("\\", "/"))
    return Incoming(printable(name)[:_NAME], upload.file)


class Videos:
    """Gives the videos of requests as files; uploads and downloads are in a temporary folder while they are read."""

    def __init__(self, allowed: Allowed, limits: Limits):
        self._allowed, self._limits = allowed, limits
        self._folder = tempfile.TemporaryDirectory(prefix="teinet-serve-", ignore_cleanup_errors=True)
        self.folder = self._folder.name

    @contextmanager
    def open(self, video: Incoming) -> Iterator[VideoReader]:
        """Give a video of an allowed length inside the block; a copy of it is removed afterwards.

        Raises:
            VideoError: it cannot be read.
            Refused: an address that is not allowed (403), or a video that is too large or long (413).
        """
        if video.file is None and "://" not in video.name:
            yield self._of_allowed_length(self._allowed.check(video.name))
            return
        suffix = os.path.splitext(video.name.partition("?")[0])[1].lower()  # some formats are known by it alone
        path = os.path.join(self.folder, secrets.token_hex(16) + (suffix if suffix in VIDEO_SUFFIXES else ""))
        try:
            with open(path, "xb") as file:
                if video.file is not None:
                    shutil.copyfileobj(video.file, file)
                    if file.tell() > self._limits.upload_bytes:
                        raise self._limits.too_large()
                else:
                    self._allowed.download(video.name, file, self._limits)
            with passing_file(path):
                yield self._of_allowed_length(path)
        finally:
            with suppress(OSError):
                os.unlink(path)

    def _of_allowed_length(self, path: str) -> VideoReader:
        reader, limits = VideoReader(path, threads=1), self._limits
        if len(reader) > limits.frames:
            raise Refused(413, f"the video has {len(reader)} frames; this server takes {limits.frames} (--max-frames)")
        if (reader.duration or 0) > limits.seconds:
            most = f"this server takes {limits.seconds:g} s (--max-seconds)"
            raise Refused(413, f"the video has {reader.duration:.0f} s; {most}")
        return reader

    def close(self) -> None:
        """Remove the folder and what is left in it."""
        self._folder.cleanup()
