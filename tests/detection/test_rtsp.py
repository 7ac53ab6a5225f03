"""A camera on the network, as nearly all of them are reached: RTSP with a password, H.264 over one connection."""

from __future__ import annotations

import numpy as np
import pytest

from teinet.data.video.source import Source
from tests.detection.rtsp import camera, packets
from tests.detection.sources import read, said, shots


@pytest.fixture(scope="module")
def sent() -> list[bytes]:
    """Three seconds at 20 frames a second."""
    return packets(60)


def test_a_camera_is_seen_and_opened_again_when_it_hangs_up(sent):
    with camera(sent, times=2) as address:
        items, reader = read(Source.parse(address), until=lambda items: said(items).count("lost") == 2)
    assert said(items) == ["connected", "lost", "connected", "lost"]
    assert reader.error is None and reader.counts.connections == 2 and reader.counts.broken == 0
    times = np.array([shot.time for shot in shots(items)])
    assert [shot.reset for shot in shots(items)].count(True) == 2 and len(times) >= 10
    apart = np.diff(times)
    assert (apart > 0).all() and np.median(apart) == pytest.approx(0.1, abs=0.011)  # every second frame
    assert shots(items)[0].image.shape == (64, 64, 3)


def test_a_wrong_password_is_said_without_it(sent):
    with camera(sent) as address:
        items, reader = read(Source.parse(address.replace("me:secret@", "")))
    assert not shots(items) and "401" in str(reader.error)
    with camera(sent) as address:
        source = Source.parse(address)
    assert "secret" not in source.name and source.name.startswith("rtsp://127.0.0.1:")
    _, reader = read(source)  # nobody is there any more
    assert "refused" in str(reader.error) and "secret" not in str(reader.error)
