"""The paper's Table 2, measured on one Tesla P100 with a batch of 1 for latency and of 16 for throughput."""

from __future__ import annotations

from typing import NamedTuple

from teinet.benchmark.contenders import Contender


class Row(NamedTuple):
    """Milliseconds of one clip, clips a second."""

    latency: float
    throughput: float


# Network's prefix and frames; TEINet, arXiv 1911.09435, Table 2. It has no TSN of 16 frames.
TABLE_2 = {
    ("tsn", 8): Row(15.5, 81.5),
    ("tsm", 8): Row(17.4, 77.4),
    ("tsm", 16): Row(29.0, 39.5),
    ("tim", 8): Row(20.1, 61.6),
    ("tim", 16): Row(34.9, 31.4),
    ("teinet", 8): Row(36.5, 46.9),
    ("teinet", 16): Row(49.5, 24.2),
}


def published(contender: Contender) -> Row | None:
    """The paper's figures of a network, which are of ResNet-50 and two-sided."""
    known = contender.backbone == "resnet50" and not contender.causal
    return TABLE_2.get((contender.network, contender.num_frames)) if known else None
