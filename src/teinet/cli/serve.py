"""`teinet serve`: recognizers behind HTTP."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from teinet.cli import options
from teinet.cli.parser import option, positional
from teinet.errors import ConfigError
from teinet.utils.machine import check_device
from teinet.utils.text import printable

if TYPE_CHECKING:
    from teinet.serving import Limits, ServedModel

_LIMITS = "limits"
_TOKEN = "TEINET_TOKEN"  # the environment variable
_NAMED = re.compile(r"([\w][\w .-]*)=(.+)")


@dataclass(kw_only=True)
class ServeOptions(options.EngineOptions):
    """Answer over HTTP: predictions of uploaded videos, timelines, live events, and a page to try it.

    teinet serve fights                                  http://127.0.0.1:8000/, for this machine
    teinet serve fights gestures=runs/first --allow /data/videos
    teinet serve fights --host 0.0.0.0 --token-file token.txt
    """

    weights: list[str] = positional(f"{options.WEIGHTS}; NAME=WEIGHTS names it for requests")
    host: str = option("address of this machine to serve at; 0.0.0.0: all", default="127.0.0.1")
    port: int = option("port; 0 takes a free one", default=8000)
    allow: list[str] | None = option(
        "requests may name addresses under this prefix: a folder, http(s)://HOST/PATH; for live video also "
        "rtsp://HOST/PATH, camera:1; repeat it for several (default: none)",
        metavar="PREFIX",
    )
    token_file: str | None = option(
        f"file with the token that requests must send (default: the environment variable {_TOKEN}, if set)",
        metavar="FILE",
    )
    max_upload: float = option("size of a video, MB", default=200.0, group=_LIMITS)
    max_seconds: float = option("length of a video", default=3600.0, group=_LIMITS)
    max_frames: int = option("frames of a video", default=250_000, group=_LIMITS)
    max_waiting: int = option("requests in work or waiting", default=64, group=_LIMITS)
    rate: int = option("requests of one client in a minute", default=600, group=_LIMITS)
    timeout: float = option("seconds for one request", default=60.0, group=_LIMITS)
    jobs: int = option("timelines in work or waiting", default=8, group=_LIMITS)
    keep: float = option("seconds for which the events of a timeline are kept", default=3600.0, group=_LIMITS)
    live: int = option("streams of live events at once", default=4, group=_LIMITS)
    batch_size: int = option(
        "views in one pass of the network, of several requests together", default=8, group="device"
    )
    workers: int | None = option("threads that decode (default: one per core, at most 4)", group="device")

    explain_missing = staticmethod(options.WeightsArgument.explain_missing)


def run(args: ServeOptions) -> int:
    """Serve until Ctrl-C or SIGTERM; return 0.

    Raises TeinetError for unusable weights or arguments, or an address in use, before the weights are loaded.
    """
    options.check_range(args, port=0, batch_size=1, workers=1)
    if args.port > 65535:
        raise ConfigError(f"--port is {args.port}; it must be at most 65535")
    check_device(args.device)
    named = names_of(args.weights)
    for weights in named.values():
        options.check_weights(weights, multi_label=False)
    token = read_token(args.token_file)
    from teinet.serving import create_app
    from teinet.serving.allowed import Allowed
    from teinet.serving.server import bound
    from teinet.serving.server import run as serve

    limits = _limits(args)
    Allowed(args.allow or ())  # which checks it
    with bound(args.host, args.port) as (listener, address):
        models = {name: _model(weights, args) for name, weights in named.items()}
        same = {name: getattr(args, name) for name in ("host", "batch_size", "workers")}
        app = create_app(models, limits=limits, allow=args.allow or (), token=token, **same)
        try:
            app.state.service.warm_up()
        except BaseException:
            app.state.service.close()
            raise
        if token is None and args.host not in ("127.0.0.1", "localhost", "::1"):
            print("without a token, everyone who reaches this machine can use it (--token-file)", file=sys.stderr)

        def started() -> None:
            print(printable(f"serving {', '.join(models)} at {address}"), file=sys.stderr, flush=True)

        serve(app, listener, seconds=limits.timeout, started=started)
    print("stopped", file=sys.stderr)
    return 0


def names_of(weights: Sequence[str]) -> dict[str, str]:
    """Return weights by the names that requests use: those given, else of the file or run folder.

    Raises:
        ConfigError: two of the same name.
    """
    found: dict[str, str] = {}
    for word in weights:
        match = None if os.path.exists(word) else _NAMED.fullmatch(word)
        name, path = match.groups() if match else (Path(word).name.removesuffix(".safetensors"), word)
        if name in found:
            raise ConfigError(f"two models are called {name}; give one of them another name: NAME={path}")
        found[name] = path
    return found


def read_token(file: str | None) -> str | None:
    """Return the token of a file, else of the environment; None if there is none. ConfigError for an unusable one."""
    if file is None:
        return os.environ.get(_TOKEN, "").strip() or None
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    if not token or len(token.split()) > 1:
        raise ConfigError(f"{file}: a token is one word; the file has {len(token.split())}")
    return token


def _model(weights: str, args: ServeOptions) -> ServedModel:
    from teinet.serving import ServedModel

    events = partial(options.load_recognizer, options.find_causal_form(weights), args)
    return ServedModel(options.load_recognizer(weights, args), events)


def _limits(args: ServeOptions) -> Limits:
    from teinet.serving import Limits

    other = {"upload_mb": "max_upload", "seconds": "max_seconds", "frames": "max_frames", "waiting": "max_waiting"}
    names = {field.name: other.get(field.name, field.name) for field in fields(Limits)}
    for name in names.values():
        if not getattr(args, name) > 0:
            raise ConfigError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be above 0")
    return Limits(**{name: getattr(args, ours) for name, ours in names.items()})
