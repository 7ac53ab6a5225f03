"""A camera that speaks RTSP (RFC 2326), as far as a client needs it: H.264 in RTP over the same connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise

import av
import numpy as np

_CLOCK = 90_000  # ticks a second of H.264 in RTP
_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=door
c=IN IP4 127.0.0.1
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:track0
"""


def packets(frames: int, *, rate: int = 20) -> list[bytes]:
    """RTP packets of so many images, as FFmpeg makes them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiver.bind(("127.0.0.1", 0))
        found = []
        with av.open(f"rtp://127.0.0.1:{receiver.getsockname()[1]}", "w", format="rtp") as out:
            stream = out.add_stream("libx264", rate=rate, options={"bf": "0", "g": "10", "tune": "zerolatency"})
            stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
            for number in range(frames):
                image = np.full((64, 64, 3), 4 * number % 256, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            out.mux(stream.encode())
            receiver.settimeout(0.2)
            try:
                while True:
                    found.append(receiver.recv(65536))
            except TimeoutError:
                return found


@contextmanager
def camera(sent: list[bytes], *, times: int = 1, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve the packets at their own speed to each of so many clients, then hang up; gives the address.

    A client must name the user me and the password secret.
    """
    listener = socket.create_server((host, 0))
    listener.settimeout(30)

    def serve() -> None:
        for _ in range(times):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):  # a client that goes away
                connection.settimeout(30)
                _answer(connection, sent)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield f"rtsp://me:secret@{host}:{listener.getsockname()[1]}/door"
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        listener.close()
        server.join(5)


def _answer(connection: socket.socket, sent: list[bytes]) -> None:
    """Speak with one client until it has all packets or goes away."""
    with connection.makefile("rwb") as line:
        while head := _request(line):
            method, headers = head
            lines, body = [], ""
            if "authorization" not in headers:
                status, lines = "401 Unauthorized", ['WWW-Authenticate: Basic realm="door"']
            else:
                status = "200 OK"
            if status == "200 OK" and method == "DESCRIBE":
                body = _SDP.replace("\n", "\r\n")
                lines = ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            elif status == "200 OK" and method == "SETUP":
                lines = [f"Transport: {headers['transport']}", "Session: 1"]
            said = [f"RTSP/1.0 {status}", f"CSeq: {headers['cseq']}", *lines, "", body]
            line.write("\r\n".join(said).encode())
            line.flush()
            if status == "200 OK" and method == "PLAY":
                break
        else:
            return
        ticks = [int.from_bytes(packet[4:8], "big") for packet in sent]
        pauses = [0.0, *((after - before) / _CLOCK for before, after in pairwise(ticks))]
        try:
            for packet, pause in zip(sent, pauses):
                time.sleep(max(0.0, pause))
                line.write(b"$\0" + len(packet).to_bytes(2, "big") + packet)
                line.flush()
        except OSError:  # it has gone
            return


def _request(line) -> tuple[str, dict[str, str]] | None:
    first = line.readline().decode()
    if not first:
        return None
    headers = {}
    while row := line.readline().decode().strip():
        name, _, value = row.partition(":")
        headers[name.lower()] = value.strip()
    return first.split()[0], headers
