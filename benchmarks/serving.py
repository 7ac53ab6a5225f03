"""Requests a second of `teinet serve` against single calls of its recognizer: python -m benchmarks.serving [--json]

32 clients upload drawn clips to a server on this machine, and a recognizer in this process is called with the same
clips one after the other, in turns. A call is measured in two ways: of a file that was never read before, as each
upload is, and of one whose frames have been counted before. The clients run on the same cores as the server. Let
nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console

from teinet.data.motion_pairs import MotionPairs, draw_clip
from teinet.data.video.index import clear_memory, passing_file
from teinet.data.video.reader import VideoReader
from teinet.data.video.writer import write_video
from teinet.recognition import Recognizer
from teinet.utils.machine import machine
from teinet.utils.memory import keep_freed_memory
from teinet.utils.tables import plain_table

BOUNDARY = "teinet-benchmark"
SINGLE, KNOWN, SERVED = "calls, new files", "calls, known files", "server"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="?", default="motion_pairs")
    parser.add_argument("--clips", type=int, default=48, help="different clips, drawn")
    parser.add_argument("--requests", type=int, default=192, help="of each way in a round")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--engine", default="eager")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    keep_freed_memory()  # as the command does
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TEINET_CACHE"] = f"{scratch}/cache"
        paths = drawn(Path(scratch), args.clips)
        asked = [paths[number % len(paths)] for number in range(args.requests)]
        recognizer = Recognizer.load(args.weights).optimize(engine=args.engine)
        words = [args.weights, "--engine", args.engine, "--batch-size", str(args.batch_size)]
        with server(words) as port:
            ways: dict[str, Callable[[], None]] = {
                SINGLE: lambda: calls(recognizer, asked, known=False),
                KNOWN: lambda: calls(recognizer, asked, known=True),
                SERVED: lambda: requests(port, asked, args.clients),
            }
            rates = measured(ways, asked, args.rounds)
    found = {
        "settings": {name: value for name, value in vars(args).items() if name != "json"},
        "requests_per_second": {name: spread(values) for name, values in rates.items()},
        "server_over_calls": {
            name: spread([s / c for s, c in zip(rates[SERVED], rates[name])]) for name in (SINGLE, KNOWN)
        },
        "machine": machine(),
    }
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)


def drawn(folder: Path, count: int) -> list[str]:
    """Draw clips of motion_pairs as files."""
    settings = MotionPairs()
    paths = [folder / f"{number}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        write_video(path, draw_clip(number % 12, settings, np.random.default_rng(number)), settings.frame_rate)
    return [str(path) for path in paths]


@contextmanager
def server(words: Sequence[str]) -> Iterator[int]:
    """Run `teinet serve` inside the block; give its port."""
    command = [sys.executable, "-m", "teinet", "serve", *words, "--port", "0", "--rate", "100000000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("serving "):
                break
        else:
            raise SystemExit("".join(said))
        yield int(line.rstrip("/\n").rpartition(":")[2])
        process.terminate()
        process.communicate(timeout=60)
    finally:
        process.kill()


def calls(recognizer: Recognizer, paths: Sequence[str], *, known: bool) -> None:
    """Recognize the files one after the other; unless they are known, as if none had been read before."""
    for path in paths:
        with nullcontext() if known else passing_file(path):
            assert recognizer(path).error is None


def requests(port: int, paths: Sequence[str], clients: int) -> None:
    """Upload the files, many at once, each client over one connection."""
    bodies = {path: body(path) for path in dict.fromkeys(paths)}
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for path in paths[client::clients]:
            connection.request("POST", "/predict", bodies[path], headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise SystemExit(answer.read().decode())
            answer.read()
        connection.close()

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(clients)))


def body(path: str) -> bytes:
    """A form with a file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="clip.mp4"\r\n\r\n'
    return head.encode() + Path(path).read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


def measured(ways: dict[str, Callable[[], None]], paths: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Requests a second of each way in each round; the order changes from round to round."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    gc.collect()
    gc.freeze()  # as the server does
    for number in range(-1, rounds):
        names = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        for name in names:
            clear_memory()
            if name == KNOWN:
                for path in set(paths):
                    len(VideoReader(path))
            began = time.perf_counter()
            ways[name]()
            if number >= 0:  # the first round is not counted
                rates[name].append(len(paths) / (time.perf_counter() - began))
    return rates


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles, lowest and highest."""
    low, high = np.percentile(values, [25, 75]).tolist()
    return {"median": median(values), "quartile_1": low, "quartile_3": high, "low": min(values), "high": max(values)}


def show(found: dict) -> None:
    """Print the figures as a table."""
    table = plain_table("", "median", "quartiles", "range", text=[""], title="requests a second, and ratios in a round")
    rows = [*found["requests_per_second"].items()]
    rows += [(f"server / {name}", values) for name, values in found["server_over_calls"].items()]
    for name, each in rows:
        form = ".1f" if name in found["requests_per_second"] else ".2f"
        shown = {key: format(value, form) for key, value in each.items()}
        quartiles = f"{shown['quartile_1']} to {shown['quartile_3']}"
        table.add_row(name, shown["median"], quartiles, f"{shown['low']} to {shown['high']}")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
