"""Measures the peak memory of `teinet predict` by size of the frames: python -m benchmarks.memory

It draws clips (h264, 80 frames), predicts one at a time and four at once, and writes results/memory-MACHINE.json. The
peak is that of the whole process, from import to exit, as the system accounts for it. Linux and macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

from benchmarks.naming import machine_name
from teinet.utils.machine import machine

RESULTS = Path(__file__).parent / "results"
SIZES = {"320x240": (320, 240), "1280x720": (1280, 720), "3840x2160": (3840, 2160), "7680x4320": (7680, 4320)}
FRAMES = 80


def draw(path: Path, width: int, height: int) -> None:
    """Write a clip of colored blocks that move sideways."""
    blocks = np.random.default_rng(0).integers(0, 256, (-(-height // 16), -(-width // 16), 3), dtype=np.uint8)
    image = blocks.repeat(16, 0).repeat(16, 1)[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(image, 7 * number, 1)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def peak_mb(words: list[str]) -> float:
    """Return the peak memory of `teinet WORDS`, megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, bytes
    process = subprocess.Popen([sys.executable, "-m", "teinet", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"teinet {' '.join(words)} failed")
    return round(usage.ru_maxrss * unit / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="motion_pairs")
    parser.add_argument("--views", default="10x3")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--output", default=str(RESULTS))
    parser.add_argument("--machine", default=None, help="its name in the file's; by default its processor and cores")
    args = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            clips = [Path(folder) / f"{size}-{number}.mp4" for number in range(4)]
            draw(clips[0], *SIZES[size])
            for clip in clips[1:]:
                clip.hardlink_to(clips[0])
            predict = ["predict", args.weights, "--views", args.views]
            found[size] = {"one": peak_mb([*predict, str(clips[0])]), "four": peak_mb([*predict, *map(str, clips)])}
            print(size, found[size], flush=True)
            clips[0].unlink()
    facts = machine()
    target = Path(args.output) / f"memory-{args.machine or machine_name(facts)}.json"
    settings = {"weights": args.weights, "views": args.views, "frames": FRAMES}
    target.write_text(json.dumps({"machine": facts, **settings, "peak_mb": found}, indent=2) + "\n")
    print(target)


if __name__ == "__main__":
    main()
