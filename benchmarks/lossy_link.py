"""A bad network between two threads of one process: packets are lost, delayed and overtake each other."""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

HERE, THERE = "10.77.0.1", "10.77.0.2"
_DEVICE = "teinet0"
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


@dataclass(frozen=True)
class Link:
    """The faults of a link, in both directions.

    Args:
        loss: share of the packets that are lost.
        delay: seconds that each packet takes.
        jitter: mean of the exponential time in seconds that each packet takes besides, so that some overtake others.
    """

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0


@contextmanager
def far_side(link: Link, seed: int = 0) -> Iterator[ThreadPoolExecutor]:
    """Give a thread in a network namespace of its own; what it listens on has the address THERE.

    The process must have no network but its own (`unshare --map-root-user --net`): the link is its only one.
    """
    closing = threading.Event()
    near = _end(HERE, THERE)
    with ThreadPoolExecutor(1, initializer=_leave) as there:
        far = there.submit(_end, THERE, HERE).result()
        rngs = np.random.default_rng(seed).spawn(2)
        ways = zip((near, far), (far, near), rngs, strict=True)
        carriers = [threading.Thread(target=_carry, args=(*way, link, closing), daemon=True) for way in ways]
        for carrier in carriers:
            carrier.start()
        try:
            yield there
        finally:
            closing.set()
            for carrier in carriers:
                carrier.join()
            os.close(near)
            os.close(far)


def _leave() -> None:
    """Give this thread a network namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace can be made")


def _end(ours: str, theirs: str) -> int:
    """Return an open end of a link in this thread's namespace, whose packets we carry."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    for command in (f"address add {ours} peer {theirs} dev {_DEVICE}", f"link set {_DEVICE} up", "link set lo up"):
        subprocess.run(["ip", *command.split()], check=True)
    return end


def _carry(source: int, target: int, rng: np.random.Generator, link: Link, closing: threading.Event) -> None:
    """Carry packets one way until the link closes."""
    waiting: list[tuple[float, int, bytes]] = []
    number = 0
    while not closing.is_set():
        pause = min(0.05, max(0.0, waiting[0][0] - time.monotonic())) if waiting else 0.05
        if select.select([source], [], [], pause)[0]:
            packet = os.read(source, 65536)
            number += 1
            if rng.random() >= link.loss:
                due = time.monotonic() + link.delay + link.jitter * rng.exponential()
                heapq.heappush(waiting, (due, number, packet))
        while waiting and waiting[0][0] <= time.monotonic():
            os.write(target, heapq.heappop(waiting)[2])
