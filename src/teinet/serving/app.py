"""The HTTP application: predictions, timelines, live events, a page to try it, and what a server says of itself."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import python_multipart  # noqa: F401  # which forms need; if it is missing, it is named
from fastapi import FastAPI, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from teinet import __version__
from teinet.errors import ConfigError, VideoError
from teinet.serving.gate import PAGE, THIS_MACHINE, AsciiJson, RequestGate, error_answer
from teinet.serving.incoming import LiveFields, PredictFields, TimelineFields, read_fields
from teinet.serving.limits import Limits, Refused
from teinet.serving.service import ServedModel, Service

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": what, "content": {"application/json": {"schema": _ERROR}}}
    for code, what in {
        400: "a field is wrong",
        401: "the token is missing or wrong",
        403: "an address that is not allowed",
        408: "the request took too long",
        413: "the video is too large or too long",
        415: "neither a form nor JSON",
        422: "the video cannot be read",
        429: "too many requests of one client",
        503: "too many requests are waiting",
    }.items()
}


def create_app(
    models: Mapping[str, ServedModel],
    *,
    limits: Limits | None = None,
    allow: Sequence[str] = (),
    token: str | None = None,
    host: str = "127.0.0.1",
    batch_size: int = 8,
    workers: int | None = None,
) -> FastAPI:
    """Return an ASGI application that serves recognizers; `app.state.service` is its `Service`.

    Args:
        models: by the names under which they are served.
        allow: prefixes of addresses that requests may name, see `Allowed`; none: files are uploaded.
        token: the bearer token that requests need; None: none.
        host: the address that it is served at. At this machine's own, and without a token, browsers are answered only
            under its usual names.
        batch_size: views in one pass of the network, of several requests.
        workers: decoding threads of each model (default: the number of cores, at most 4).

    Raises:
        ConfigError: no model, one of optical flow, or a prefix that cannot be allowed.
    """
    limits = limits or Limits()
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a broken form is the client's to know
    service = Service(models, limits=limits, allow=allow, batch_size=batch_size, workers=workers)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    title = f"teinet: {', '.join(service.models)}"
    app = FastAPI(title=title, version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan, responses=_ERRORS)
    app.state.service = service
    local = host in THIS_MACHINE
    app.add_middleware(RequestGate, limits=limits, token=token, local=local, registry=service.registry)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> AsciiJson:
        return error_answer(error)

    @app.exception_handler(VideoError)
    async def unreadable(_: Request, error: VideoError) -> AsciiJson:
        return error_answer(Refused(422, error.reason))

    @app.exception_handler(ConfigError)
    async def wrong(_: Request, error: ConfigError) -> AsciiJson:
        return error_answer(Refused(400, str(error)))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> AsciiJson:
        answer = error_answer(Refused(error.status_code, str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> AsciiJson:
        return error_answer(Refused(500, "internal error; the server's log says more"))

    async def page(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2] or "index.html"
        return Response(PAGE[name], media_type=_TYPES[name.rpartition(".")[2]])

    for name in ("", *PAGE):
        app.add_route(f"/{name}", page, include_in_schema=False)

    @app.post("/predict", openapi_extra=_described(PredictFields, body=True))
    async def predict(request: Request) -> AsciiJson:
        """Recognize the action in a video."""
        async with service.request(request):
            return AsciiJson(await service.predict(*await read_fields(request, PredictFields)))

    @app.post("/timelines", status_code=202, openapi_extra=_described(TimelineFields, body=True))
    async def add_timeline(request: Request) -> AsciiJson:
        """Find the events in a recording: start a job, whose state is at `/timelines/{number}`."""
        async with service.request(request):
            job = await service.add_timeline(*await read_fields(request, TimelineFields))
            return AsciiJson(job.to_dict(), 202, headers={"Location": f"/timelines/{job.id}"})

    @app.get("/timelines/{number}")
    async def timeline_state(number: str) -> AsciiJson:
        """Return state and progress (0 to 1) of a job, and its events when it is done."""
        return AsciiJson(service.jobs.get(number).to_dict())

    @app.delete("/timelines/{number}")
    async def cancel_timeline(number: str) -> AsciiJson:
        """Cancel a job, or forget its result."""
        return AsciiJson(service.jobs.cancel(number).to_dict())

    @app.get("/live", openapi_extra=_described(LiveFields, body=False))
    async def live(request: Request) -> Response:
        """Stream the events of a live source, as server-sent events."""
        fields, _ = await read_fields(request, LiveFields, body=False)
        return await service.live(request, fields)

    @app.get("/models")
    async def models_served() -> AsciiJson:
        """List the models with their classes."""
        listed = [{"name": name, **model.to_dict()} for name, model in service.models.items()]
        return AsciiJson({"models": listed, "limits": {"upload_mb": limits.upload_mb, "rate": limits.rate}})

    @app.get("/health")
    async def health() -> AsciiJson:
        """Say that the server lives."""
        return AsciiJson({"status": "stopping" if service.stopping.is_set() else "ok", "version": __version__})

    @app.get("/metrics")
    async def metrics() -> Response:
        """Count requests, in the text format of Prometheus."""
        return Response(generate_latest(service.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _described(fields: type[BaseModel], *, body: bool) -> dict[str, Any]:
    """Return the part of an operation's description that FastAPI does not see: fields of its query and its body."""
    schema = fields.model_json_schema()
    properties, required = schema["properties"], schema.get("required", [])
    found: dict[str, Any] = {
        "parameters": [
            {"name": name, "in": "query", "required": name in required, "schema": each}
            for name, each in properties.items()
        ]
    }
    if body:
        file = {"file": {"type": "string", "format": "binary", "description": "the video"}}
        form = {key: value for key, value in properties.items() if key != "address"}
        found["requestBody"] = {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": {"type": "object", "properties": file | form}},
                "application/json": {"schema": schema},
            },
        }
    return found
