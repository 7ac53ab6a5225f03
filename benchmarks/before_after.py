"""Measures this checkout against another one, in turns: python -m benchmarks.before_after ../other [VIDEO ...].

Each checkout runs in a process of its own, with one thread and the same libraries. The two take turns at each task, so
that both see the same machine; a ratio above 1 means that this one is slower. Without videos, one is drawn. The tasks:

- index: open each video and count its frames, for the first time;
- read: eight frames of each video as the network sees them, as training reads;
- iterate: every frame of each video, one after the other, as images;
- network: TEINet on ResNet-50, a clip of 8 frames of 224 pixels;
- step: a frame through the pretrained causal model, as live video.

Prints medians with the lowest and highest, and the median of the ratios of all rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

_HERE = Path(__file__).parents[1]


def tasks(videos: list[str]) -> dict[str, Callable[[], object]]:
    """Return the tasks; run in each checkout, so it keeps to what both have."""
    import torch

    from teinet import Recognizer, VideoReader, create_model
    from teinet.data.sampling import Sampling
    from teinet.data.transforms import Preprocessing
    from teinet.data.video.index import clear_memory
    from teinet.data.view_loading import load_views

    torch.set_num_threads(1)
    torch.manual_seed(0)
    sampling, preprocessing = Sampling(num_frames=8), Preprocessing(size=224, short_side=256)
    model = create_model("teinet_resnet50", num_classes=10).eval()
    clip = torch.randint(0, 255, (1, 8, 3, 224, 224), dtype=torch.uint8)
    recognizer = Recognizer.load("motion_pairs_causal", device="cpu")
    stream = recognizer.stream()
    frame = torch.zeros(1, 240, 320, 3, dtype=torch.uint8).numpy()

    def index() -> None:
        clear_memory()
        for video in videos:
            len(VideoReader(video))

    def read() -> None:
        for video in videos:
            load_views(video, sampling, preprocessing)

    def iterate() -> None:
        for video in videos:
            for each in VideoReader(video):
                each.image  # noqa: B018

    def network() -> None:
        with torch.inference_mode():
            model(clip)

    def step() -> None:
        for _ in range(20):
            stream.step(frame)

    return {"index": index, "read": read, "iterate": iterate, "network": network, "step": step}


def serve(videos: list[str]) -> None:
    """Run the tasks that are named on standard input, and answer with their seconds."""
    found = tasks(videos)
    for line in sys.stdin:
        began = time.perf_counter()
        found[line.strip()]()
        print(time.perf_counter() - began, flush=True)


class Checkout:
    """A process that runs the tasks with the code of a checkout."""

    def __init__(self, folder: Path, videos: list[str], cache: str):
        start = f"import sys; sys.path.insert(0, {str(_HERE)!r})"
        code = f"{start}; import benchmarks.before_after as b; b.serve(sys.argv[1:])"
        environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "TEINET_CACHE": cache}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", code, *videos], env=environment, text=True, **pipes)

    def run(self, task: str) -> float:
        """Return the seconds of a task."""
        into, out = self.process.stdin, self.process.stdout
        assert into is not None and out is not None
        into.write(f"{task}\n")
        into.flush()
        return float(out.readline())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="folder of the other checkout")
    parser.add_argument("videos", nargs="*", help="files to read")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tasks", nargs="+", default=["index", "read", "iterate", "network", "step"])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        videos = [os.path.abspath(video) for video in args.videos] or [_drawn(Path(scratch))]
        both = [Checkout(folder.absolute(), videos, f"{scratch}/{n}") for n, folder in enumerate((args.other, _HERE))]
        found = {}
        for task in args.tasks:
            for checkout in both:
                checkout.run(task)  # not counted
            rounds = [[checkout.run(task) for checkout in both] for _ in range(args.rounds)]
            found[task] = {
                name: {"median": median(each), "low": min(each), "high": max(each)}
                for name, each in zip(("before", "after"), zip(*rounds))
            } | {"ratio": median(after / before for before, after in rounds)}
            if not args.json:
                print(_line(task, found[task]), flush=True)
        for checkout in both:
            checkout.process.kill()
    if args.json:
        print(json.dumps(found, indent=2))


def _line(task: str, found: dict) -> str:
    before, after = (
        f"{1000 * each['median']:8.1f} ms ({1000 * each['low']:.1f} to {1000 * each['high']:.1f})"
        for each in (found["before"], found["after"])
    )
    return f"{task:<8} {before:<36} {after:<36} {found['ratio']:.3f}"


def _drawn(folder: Path) -> str:
    """Draw a video of 100 moving frames of 640x360."""
    from fractions import Fraction

    import av
    import numpy as np

    path = folder / "drawn.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        plane = np.add.outer(np.arange(360), np.arange(640))
        for i in range(100):
            image: Any = np.stack([(plane + 3 * i) % 256, (2 * plane + i) % 256, plane % 200], -1).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return str(path)


if __name__ == "__main__":
    main()
