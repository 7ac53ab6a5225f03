"""Watches servers that fail, and networks: python -m benchmarks.live_faults [--only ts|mjpeg|hls|rtsp] [--links]

On loopback, each with a server of its own and all at once: MPEG-TS, JPEG images and HLS over HTTP, and RTSP. In the
middle of a stream the server stalls, breaks the connection, sends noise instead of video, loses or reorders packets,
delays them, or changes the frame size; or it refuses, answers nothing, or only noise at first. The run fails where

- a source does not come back: no frame is given in the last third of the time;
- a frame that was due is neither given, dropped nor waiting, or a report is missing;
- a thread or an open file is left when all have ended.

With --links (Linux) the servers do all right, but are in another network namespace, behind links that lose, delay or
reorder each kind's packets; also MPEG-TS over UDP, which is not sent again. It runs itself by unshare.

Prints a line for each. Nothing outside the process is contacted.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
from PIL import Image

from benchmarks.lossy_link import HERE, THERE, Link, far_side
from teinet.data.video.source import Source
from teinet.detection.source_thread import DueFrame, SourceThread
from tests.detection import rtsp

RATE = 10  # frames a second
KINDS = ("ts", "mjpeg", "hls", "rtsp")
FAULTS = (
    "none",
    "stalls",
    "breaks",
    "noise",
    "loses",
    "reorders",
    "wavers",
    "resizes",
    "refuses",
    "silent",
    "only noise",
)
# What has to be reported besides "connected". Where video is damaged, FFmpeg decides what still is a frame.
REPORTS = {
    "stalls": {"stalled"},
    "breaks": {"lost"},
    "resizes": {"resized"},
    "refuses": {"lost"},
    "silent": {"lost"},
    "only noise": {"lost"},
}
LINKS = {
    "sound": Link(),
    "loses 2 %": Link(loss=0.02),
    "loses 10 %": Link(loss=0.1),
    "delays": Link(delay=0.3),
    "reorders": Link(delay=0.05, jitter=0.02),
    "all": Link(loss=0.05, delay=0.1, jitter=0.02),
}
STALL = 1.0  # seconds
# Seconds until the fault, of the whole run, and without a frame until a connection counts as lost. FFmpeg looks at
# MPEG-TS for up to 7 seconds before it opens it.
TIMES = {"mjpeg": (2.0, 8.0, 2.0), "rtsp": (2.0, 8.0, 2.0), "ts": (9.0, 24.0, 9.0), "hls": (9.0, 24.0, 9.0)}
TIMES["udp"] = TIMES["ts"]
UDP_PORT, DATAGRAM = 5000, 7 * 188
SEGMENT = 1  # seconds of HLS
MAY_BE_LEFT = 2  # threads or files: of the interpreter
_MAY_BE_UNKNOWN = 0.05  # share of the frames: those that are lost where the numbers of packets happen to fit
_ALONE = "TEINET_LINKS"  # set in the process that has no network but its own


def packets(seconds: float, *, resized: float = float("inf"), first: float = 0.0) -> list[bytes]:
    """Return MPEG-TS, a piece for each frame; frames are larger from `resized` seconds on."""
    pieces: list[bytes] = []
    for begin, end, side in (
        (first, min(resized, first + seconds), 64),
        (min(max(first, resized), first + seconds), first + seconds, 96),
    ):
        numbers = range(round(begin * RATE), round(end * RATE))
        if not numbers:
            continue
        buffer, read = io.BytesIO(), 0
        options = {"g": "5", "bf": "0", "tune": "zerolatency", "preset": "ultrafast"}
        with av.open(buffer, "w", format="mpegts", options={"flush_packets": "1"}) as out:
            stream = out.add_stream("libx264", rate=RATE, options=options)
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            for number in numbers:
                image = np.full((side, side, 3), 5 * number % 256, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = number
                out.mux(stream.encode(frame))
                pieces.append(buffer.getvalue()[read:])
                read = buffer.tell()
            out.mux(stream.encode())
        pieces[-1] += buffer.getvalue()[read:]
    return pieces


def images(seconds: float, *, resized: float = float("inf")) -> list[bytes]:
    """Return the parts of a stream of JPEG images, as network cameras send it."""
    parts = []
    for number in range(round(seconds * RATE)):
        side = 64 if number < resized * RATE else 96
        jpeg = io.BytesIO()
        Image.fromarray(np.full((side, side, 3), 5 * number % 256, np.uint8)).save(jpeg, "JPEG")
        head = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg.getvalue())
        parts.append(head + jpeg.getvalue() + b"\r\n")
    return parts


def damaged(pieces: list[bytes], fault: str, begin: int, rng: np.random.Generator) -> list[bytes]:
    """Return the pieces of a stream as a bad network leaves them, from piece `begin` on."""
    pieces = list(pieces)
    if fault == "noise":
        for place in range(begin, min(begin + RATE, len(pieces))):
            pieces[place] = rng.bytes(len(pieces[place]))
    elif fault == "loses":
        pieces = pieces[:begin] + [piece for piece in pieces[begin:] if rng.random() > 0.1]
    elif fault == "reorders":
        for place in range(begin, len(pieces) - 1, 5):
            pieces[place], pieces[place + 1] = pieces[place + 1], pieces[place]
    return pieces


@dataclass
class Server:
    """A server of one kind with one fault; `connections` counts those that asked for video."""

    kind: str
    fault: str
    rng: np.random.Generator
    host: str
    connections: int = 0
    began: float = field(default_factory=time.monotonic)
    closing: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serve while the block runs; yield the address."""
        server = _Http((self.host, 0), self._handler())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        path = "live.m3u8" if self.kind == "hls" else f"live.{self.kind}"
        try:
            yield f"http://{self.host}:{server.server_address[1]}/{path}"
        finally:
            self.closing.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        here = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(OSError):
                    here._answer(self)

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if self.kind != "hls" or request.path.endswith(".m3u8"):
            self.connections += 1
        if self.connections <= 2 and self.fault in ("refuses", "silent", "only noise"):
            if self.fault == "refuses":
                request.send_error(503)
            elif self.fault == "silent":
                self.closing.wait(60)
            else:
                self._head(request, "video/mp2t")
                while not self.closing.wait(0.05):
                    request.wfile.write(self.rng.bytes(2000))
            return
        if self.kind == "hls":
            self._segment(request)
        else:
            self._stream(request)

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        fault = self.fault if self.connections == 1 or self.fault in ("loses", "reorders", "wavers") else "none"
        begin, seconds, _ = TIMES[self.kind]
        resized = begin if fault == "resizes" else float("inf")
        make = packets if self.kind == "ts" else images
        pieces = damaged(make(seconds, resized=resized), fault, round(begin * RATE), self.rng)
        self._head(request, "video/mp2t" if self.kind == "ts" else "multipart/x-mixed-replace; boundary=x")
        began = time.monotonic()
        for number, piece in enumerate(pieces):
            late = self.rng.exponential(0.3) if fault == "wavers" and number % RATE == 0 else 0.0
            if self.closing.wait(max(0.0, began + number / RATE + late - time.monotonic())):
                return
            if number == begin * RATE and fault == "stalls":
                self.closing.wait(STALL + 0.6)
            if number == begin * RATE and fault == "breaks":
                request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                request.connection.close()
                return
            request.wfile.write(piece)
            request.wfile.flush()

    def _segment(self, request: BaseHTTPRequestHandler) -> None:
        """Answer with the playlist, or a segment of it."""
        passed = time.monotonic() - self.began
        when = TIMES[self.kind][0]
        fault = self.fault if when <= passed < when + 1.5 else "none"
        if fault == "stalls":
            self.closing.wait(STALL + 2.0)
        if fault == "breaks":
            request.connection.close()
            return
        if request.path.endswith(".ts"):
            number = int(request.path.strip("/").partition(".")[0])
            begin, resized = number * SEGMENT, when if self.fault == "resizes" else float("inf")
            pieces = packets(SEGMENT, first=begin, resized=resized if resized < begin + SEGMENT else float("inf"))
            if fault == "noise":
                pieces = [self.rng.bytes(len(piece)) for piece in pieces]
            elif fault == "loses" and self.rng.random() < 0.3:
                request.send_error(404)
                return
            elif fault == "wavers":
                self.closing.wait(self.rng.uniform(0, 1))
            body = b"".join(pieces)
        else:
            whole = int(passed / SEGMENT) + 3  # three were there before
            lines = [
                "#EXTM3U",
                "#EXT-X-VERSION:3",
                f"#EXT-X-TARGETDURATION:{SEGMENT}",
                f"#EXT-X-MEDIA-SEQUENCE:{whole - 3}",
            ]
            for number in range(whole - 3, whole):
                lines += [f"#EXTINF:{SEGMENT}.0,", f"{number}.ts"]
            body = ("\n".join(lines) + "\n").encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    @staticmethod
    def _head(request: BaseHTTPRequestHandler, kind: str) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.end_headers()


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore connections that the fault has closed."""


@contextmanager
def sending() -> Iterator[str]:
    """Send MPEG-TS over UDP to the near side of a link; yield the address to listen at."""
    closing, sender = threading.Event(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send() -> None:
        began = time.monotonic()
        for number, piece in enumerate(packets(TIMES["udp"][1])):
            if closing.wait(max(0.0, began + number / RATE - time.monotonic())):
                return
            for at in range(0, len(piece), DATAGRAM):
                with suppress(OSError):  # no listener yet
                    sender.sendto(piece[at : at + DATAGRAM], (HERE, UDP_PORT))

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield f"udp://{HERE}:{UDP_PORT}"
    finally:
        closing.set()
        thread.join()
        sender.close()


@contextmanager
def serving(kind: str, fault: str, seed: int, host: str) -> Iterator[str]:
    """Serve one kind of stream with one fault; yield the address."""
    rng = np.random.default_rng(seed)
    if kind != "rtsp":
        with sending() if kind == "udp" else Server(kind, fault, rng, host).serve() as address:
            yield address
        return
    begin, seconds, _ = TIMES[kind]
    sent = rtsp.packets(round(20 * (begin if fault == "breaks" else seconds)))
    if fault == "noise":
        sent = [packet[:12] + rng.bytes(len(packet) - 12) if 40 <= i < 60 else packet for i, packet in enumerate(sent)]
    elif fault in ("loses", "reorders"):
        sent = damaged(sent, fault, round(20 * begin), rng)
    with rtsp.camera(sent, times=20, host=host) as address:
        yield address


def scenario(kind: str, fault: str, seed: int = 0, *, link: str = "", there: Executor | None = None) -> dict:
    """Watch one source, served by a thread on the far side of a link if one is given; return what came of it."""
    _, seconds, patience = TIMES[kind]
    with ExitStack() as stack:
        if there is None:
            address = stack.enter_context(serving(kind, fault, seed, "127.0.0.1"))
        else:
            address = there.submit(stack.enter_context, serving(kind, fault, seed, THERE)).result()
        ready, began = threading.Condition(), time.monotonic()
        how = {"frame_interval": 1 / RATE, "stall": STALL, "pauses": (0.1, 0.2), "wait": True}
        thread = SourceThread(Source.parse(address), ready=ready, began=began, **how)
        thread._reader._patience = patience
        thread.start()
        given, said = [], []
        while time.monotonic() - began < seconds and not thread.done:
            thread.check_stall()
            with ready:
                if (item := thread.take()) is None:
                    ready.wait(min(0.05, max(0.0, thread.due_in())))
                    continue
            if isinstance(item, DueFrame):
                given.append((time.monotonic() - began, item.time))
            else:
                said.append(item.type)
        thread.stop()
    thread.join(10)
    times = [second for _, second in given]
    due = round((times[-1] - times[0]) * RATE) + 1 if times else 0
    return {
        "source": f"{kind} {link or fault}",
        "given": len(given),
        "last": sum(at > seconds * 2 / 3 for at, _ in given),
        "taken": thread.sampler.num_taken,
        "uncounted": thread.sampler.num_taken - len(given) - thread.counts.dropped - thread._num_frames,
        "dropped": thread.counts.dropped,
        "broken": thread.counts.broken,
        "unknown": max(0, due - len(given) - thread.counts.dropped - thread.counts.broken),
        "reports": {kind: said.count(kind) for kind in dict.fromkeys(said)},
        "ordered": times == sorted(times),
        "ended": not thread.is_alive() and thread.error is None,
    }


def problems(found: dict) -> list[str]:
    """Return what must not be."""
    wrong = []
    if not found["last"]:
        wrong.append("did not come back")
    if found["uncounted"]:
        wrong.append(f"{found['uncounted']} frames are neither given nor counted")
    if not found["ordered"] or not found["ended"]:
        wrong.append("times ran backwards" if not found["ordered"] else "the thread did not end, or gave up")
    kind, _, fault = found["source"].partition(" ")
    if kind == "udp" and found["unknown"] > _MAY_BE_UNKNOWN * found["given"]:
        wrong.append(f"{found['unknown']} frames are lost without being counted")
    missing = REPORTS.get(fault, set()) - set(found["reports"])
    if missing and not (kind == "hls" and fault == "breaks"):  # FFmpeg asks for a segment again
        wrong.append(f"no report of {', '.join(sorted(missing))}")
    return wrong


def cases() -> list[tuple[str, str]]:
    """Return all pairs of a kind and a fault that it can have."""
    rtsp_can = ("none", "breaks", "noise", "loses", "reorders")
    return [(kind, fault) for kind in KINDS for fault in FAULTS if kind != "rtsp" or fault in rtsp_can]


def handles() -> tuple[int, int]:
    """Return the numbers of threads and of open files."""
    return threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def run(
    chosen: list[tuple[str, str]], tell: Callable[[str], object] = print, watch: Callable[[str, str], dict] = scenario
) -> list[str]:
    """Watch all at once; return what must not be."""
    wrong = []
    before = handles()
    with ThreadPoolExecutor(len(chosen)) as pool:
        for found in pool.map(lambda case: watch(*case), chosen):
            wrong += [f"{found['source']}: {what}" for what in problems(found)]
            tell(json.dumps(found))
    deadline = time.monotonic() + 5
    while any(now > then + MAY_BE_LEFT for now, then in zip(handles(), before, strict=True)):
        if time.monotonic() > deadline:
            wrong.append(f"threads and open files: {before} before, {handles()} after")
            break
        time.sleep(0.1)
    return wrong


def run_links(kinds: list[str], links: Mapping[str, Link] = LINKS) -> list[str]:
    """Watch all kinds over each link in turn; return what must not be."""
    wrong = []
    for name, link in links.items():
        with far_side(link) as there:
            watch = functools.partial(scenario, link=name, there=there)
            wrong += run([(kind, "none") for kind in kinds], watch=watch)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=(*KINDS, "udp"))
    parser.add_argument("--links", action="store_true", help="bad networks instead of bad servers")
    options = parser.parse_args()
    if not options.links:
        wrong = run([case for case in cases() if options.only in (None, case[0])])
    elif os.environ.get(_ALONE):
        TIMES.update(dict.fromkeys(TIMES, TIMES["udp"]))  # requests take long on such links
        wrong = run_links([kind for kind in (*KINDS, "udp") if options.only in (None, kind)])
    else:
        again = ["unshare", "--map-root-user", "--net", sys.executable, "-m", "benchmarks.live_faults", *sys.argv[1:]]
        raise SystemExit(subprocess.run(again, env={**os.environ, _ALONE: "1"}).returncode)
    raise SystemExit("; ".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
