"""The bad network of the live benchmark loses, delays and reorders packets as it is told."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SENT = 200
ALONE = ["unshare", "--map-root-user", "--net"]
SCRIPT = f"""
import json, socket, time
from benchmarks.lossy_link import HERE, THERE, Link, far_side

found = []
for link in (Link(), Link(loss=0.25), Link(delay=0.2), Link(delay=0.05, jitter=0.02)):
    with far_side(link) as there:
        receiver = there.submit(socket.create_server, (THERE, 5000)).result()  # also by connections
        datagrams = there.submit(socket.socket, socket.AF_INET, socket.SOCK_DGRAM).result()
        datagrams.bind((THERE, 5000))
        datagrams.settimeout(1)
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for number in range({SENT}):
            sender.sendto(number.to_bytes(2, "big"), (THERE, 5000))
            time.sleep(0.001)
        got = []
        try:
            while len(got) < {SENT}:
                got.append(int.from_bytes(datagrams.recv(10), "big"))
        except TimeoutError:
            pass
        with socket.create_connection((THERE, 5000), timeout=20) as one, receiver.accept()[0] as other:
            one.sendall(bytes(10_000))
            one.shutdown(socket.SHUT_WR)
            whole = sum(map(len, iter(lambda: other.recv(65536), b"")))
        found.append((len(got), len(set(got)), got == sorted(got), whole))
        for each in (receiver, datagrams, sender):
            each.close()
print(json.dumps(found))
"""


def test_packets_are_lost_and_overtake_each_other_and_connections_lose_nothing():
    try:
        subprocess.run([*ALONE, "ip", "tuntap", "add", "mode", "tun"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network namespaces here")
    done = subprocess.run([*ALONE, sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    sound, lossy, late, mixed = json.loads(done.stdout or done.stderr)
    assert sound == [SENT, SENT, True, 10_000] and late == [SENT, SENT, True, 10_000]
    assert 0.65 * SENT < lossy[0] < 0.85 * SENT and lossy[2:] == [True, 10_000]
    assert mixed == [SENT, SENT, False, 10_000]
