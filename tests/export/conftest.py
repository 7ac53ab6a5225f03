"""Pages of pretrained models, for tests in a browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from teinet.errors import TeinetError
from teinet.export import web_page

_USERS = os.environ.get("TEINET_CACHE")  # before the session's own: what is downloaded is kept from one to the next


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The file of onnxruntime-web; without it the test is skipped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TEINET_CACHE", raising=False)
        if _USERS:
            patch.setenv("TEINET_CACHE", _USERS)
        try:
            return web_page.downloaded()
        except TeinetError as error:
            pytest.skip(f"onnxruntime-web cannot be had: {error}")


@pytest.fixture(scope="session")
def pages(runtime, tmp_path_factory) -> Callable[[str], Path]:
    """Return the folder of a pretrained model's page, by its name."""

    @cache
    def page(name: str) -> Path:
        from tests.export.rig import export

        folder = tmp_path_factory.mktemp(name)
        model, header = export(name, folder)
        web_page.write_page(folder / "page", model, header, runtime)
        return folder / "page"

    return page
