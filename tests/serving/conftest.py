"""A small recognizer behind HTTP, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from teinet import Recognizer
from teinet.serving import Limits, ServedModel, create_app
from tests import miniatures
from tests.detection.test_recording import make

MANY = 1_000_000  # requests a minute: all that a test sends
HERE = "http://127.0.0.1"


@pytest.fixture(scope="session")
def recognizer() -> Recognizer:
    return make("teinet", causal=True, header={"frame_interval": 0.2, "license": "MIT"})


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """Three clips, and a film of six seconds."""
    folder = tmp_path_factory.mktemp("served")
    for kind in range(3):
        miniatures.write(folder / f"{kind}.mp4", kind, length=21)
    miniatures.write(folder / "film.mp4", 3, length=61, rate=10)
    return folder


@pytest.fixture
def client(recognizer) -> Iterator[Callable[..., TestClient]]:
    """Serve the recognizer as `net`, with the options of `create_app` and limits by name; returns its client."""
    with ExitStack() as stack:

        def serve(**options) -> TestClient:
            limits = Limits(**{"rate": MANY, **options.pop("limits", {})})
            models = options.pop("models", None) or {"net": ServedModel(recognizer)}
            app = create_app(models, limits=limits, workers=2, **options)
            made = TestClient(app, base_url=HERE, raise_server_exceptions=False, client=("127.0.0.1", 1234))
            return stack.enter_context(made)

        yield serve


def left_over(client: TestClient) -> list[Path]:
    """The files of requests that a server still has."""
    return list(Path(client.app.state.service.videos.folder).iterdir())
