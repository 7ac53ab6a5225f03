"""The checks that every request passes: who may ask, how often, how much; headers and counts of all answers."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from contextlib import suppress
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teinet.export.web_page import page_files
from teinet.pages.render import PAGE_HEADERS
from teinet.serving.incoming import FORM_BYTES
from teinet.serving.limits import Limits, RateLimiter, Refused

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
PAGE = page_files() | {"model.js": (files("teinet.serving") / "model.js").read_text(encoding="utf-8")}
_PATHS = ("/", "/predict", "/timelines", "/live", "/models", "/health", "/metrics", "/openapi.json")
_OPEN = ("/", "/health", *(f"/{name}" for name in PAGE))  # without a token: a page that asks for it, and a sign of life
_GONE = 499  # counted for a client that left before its answer
_DRAINED = 1.0  # seconds of a body that is not wanted: clients read an answer only once they have sent theirs
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class AsciiJson(JSONResponse):
    """An answer in JSON; other characters are escaped, so that any name of a file can be in it."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def error_answer(refused: Refused) -> AsciiJson:
    """Return the answer to a refused request: `{"error": reason}`."""
    return AsciiJson({"error": " ".join(refused.reason.split())}, refused.code, headers=refused.headers)


class RequestGate:
    """An ASGI application before another one.

    Args:
        token: the bearer token that requests need; None: none.
        local: answer this machine's own browsers alone, and no page of another site.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, token: str | None, local: bool, registry: CollectorRegistry):
        self._app, self._limits, self._token, self._local = app, limits, token, local
        self._rates = RateLimiter(limits.rate)
        self._count = Counter("teinet_requests", "Requests by path and code", ["path", "code"], registry=registry)
        self._seconds = Histogram(
            "teinet_request_seconds", "Time to the end of the answer", ["path"], buckets=_BUCKETS, registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, began, code = _Body(scope, receive, self._limits), time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                MutableHeaders(scope=message).update(PAGE_HEADERS)
                if code >= 400:
                    await body.drain()
            await send(message)

        try:
            try:
                self._check(scope, body)
            except Refused as refused:
                await error_answer(refused)(scope, receive, answer)
                return
            await self._app(scope, body.receive, answer)
        except ClientDisconnect:
            code = _GONE
        finally:
            path = _label(scope["path"])
            self._count.labels(path, code).inc()
            self._seconds.labels(path).observe(time.perf_counter() - began)

    def _check(self, scope: Scope, body: _Body) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._local and self._token is None:
            self._check_own_pages(headers)
        if path != "/health":
            self._rates.check((scope.get("client") or ("",))[0])
        if self._token is not None and path not in _OPEN:
            kind, _, token = headers.get("authorization", "").partition(" ")
            known = hmac.compare_digest(token.strip().encode(), self._token.encode())
            if kind.lower() != "bearer" or not known:
                raise Refused(401, "the token is missing or wrong; requests send it as Authorization: Bearer TOKEN")
        body.check_length()

    @staticmethod
    def _check_own_pages(headers: Headers) -> None:
        """Refuse browsers that were led here by other names (DNS rebinding), or by a page of another site."""
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        if name not in THIS_MACHINE:
            raise Refused(403, "this server answers to 127.0.0.1 and localhost alone (--host)")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Refused(403, "this server does not answer pages of other sites")


class _Body:
    """The body of a request, up to the size of a video and fields."""

    def __init__(self, scope: Scope, receive: Receive, limits: Limits):
        headers = Headers(scope=scope)
        self._receive, self._limits, self._received = receive, limits, 0
        self._most = limits.upload_bytes + FORM_BYTES
        self._length = headers.get("content-length", "")
        self._ended = not self._length.strip("0") and "transfer-encoding" not in headers
        self._asks = headers.get("expect", "").lower() == "100-continue"  # before it sends anything

    def check_length(self) -> None:
        if self._length.isdecimal() and int(self._length) > self._most:
            raise self._limits.too_large()

    async def receive(self) -> Message:
        self._asks = False
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._ended = self._ended or not message.get("more_body", False)
        if self._received > self._most:
            raise self._limits.too_large()
        return message

    async def drain(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAINED):
                while not (self._ended or self._asks):
                    self._ended = not (await self._receive()).get("more_body", False)


def _label(path: str) -> str:
    """Return the path of a request for counts: one of a few."""
    if path.startswith("/timelines/"):
        return "/timelines/{id}"
    return path if path in _PATHS else "other"
