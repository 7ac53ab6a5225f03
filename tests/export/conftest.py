"""Browser pages of two networks, for tests in a browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from benchmarks.chromium import Browser
from teinet import Recognizer, create_model
from teinet.data.transforms import Preprocessing
from teinet.errors import TeinetError
from teinet.export import web_page
from teinet.export.cached import exported_file
from teinet.models.header import read_header
from tests.conftest import CLASSES
from tests.networks import wake

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
def causal_page(runtime, tmp_path_factory) -> tuple[Path, Recognizer]:
    """The page of a pretrained causal network, and the recognizer."""
    return _page(Recognizer.load("motion_pairs_causal", device="cpu"), runtime, tmp_path_factory.mktemp("causal"))


@pytest.fixture(scope="session")
def bidirectional_page(runtime, tmp_path_factory) -> tuple[Path, Recognizer]:
    """The page of a small bidirectional network, and the recognizer."""
    torch.manual_seed(0)
    model = wake(create_model("teinet_resnet10t", num_classes=len(CLASSES), num_frames=4))
    pixels = Preprocessing(size=32, short_side=32, interpolation="bicubic")
    made = Recognizer(model, CLASSES, preprocessing=pixels, header={"frame_interval": 0.2})
    return _page(made, runtime, tmp_path_factory.mktemp("bidirectional"))


def fits_a_phone(browser: Browser, *selectors: str) -> None:
    """Assert that nothing is wider than a phone's screen, and that these elements are seen whole on it."""
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    try:
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth && innerWidth") == 390
        box = "(({ left, right, width, height }) => [left, right, width, height])(e.getBoundingClientRect())"
        for selector in selectors:
            left, right, width, height = browser.evaluate(f"(e => {box})(document.querySelector('{selector}'))")
            assert left >= 0 and right <= 390 and width > 20 and height > 20, selector
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")


def _page(recognizer: Recognizer, runtime: Path, folder: Path) -> tuple[Path, Recognizer]:
    model = exported_file(recognizer, "onnx", "fp32")
    web_page.write_page(folder, model, read_header(model), runtime)
    return folder, recognizer
