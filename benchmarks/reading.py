"""Measures reading clips against decord2 and torchcodec, where they are there: python -m benchmarks.reading FOLDER ...

From the same files the same frames (the middles of 8 segments), as upright RGB images, and from there the same clip
(short side 256, center 224, uint8), one file after the other on one thread, as a data worker reads. The readers take
turns on each file. Each opens the file again, as it must with clips drawn at random; the system has them in memory.
"first look" is ours before it has counted a file's frames, which it remembers; the others count them every time, or
trust the header. --webm N adds N clips of Something-Something's kind (VP9, 240 lines, 12 frames a second, 48 frames),
made from the first files. Writes results/reading-MACHINE.json.

The others are no dependency of this library: pip install decord2 torchcodec (torchcodec needs FFmpeg's libraries too).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.naming import machine_name
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing, test_crops
from teinet.data.video.index import clear_memory
from teinet.data.video.reader import VideoReader, is_video
from teinet.evaluation.speed import Timing
from teinet.utils.machine import machine

RESULTS = Path(__file__).parent / "results"
FRAMES = 8
Reader = Callable[[str, int], torch.Tensor]  # a path and the number of its frames, to (T, H, W, 3) uint8


def middles(count: int) -> list[int]:
    return [int((i + 0.5) * count / FRAMES) for i in range(FRAMES)]


def ours(path: str, count: int) -> torch.Tensor:
    return torch.from_numpy(VideoReader(path, threads=1).sample(middles).images)


def readers() -> dict[str, Reader]:
    found: dict[str, Reader] = {"teinet": ours}
    try:
        import decord

        def by_decord(path: str, count: int) -> torch.Tensor:
            video = decord.VideoReader(path, num_threads=1)
            return torch.from_numpy(video.get_batch(middles(len(video))).asnumpy())

        found["decord2"] = by_decord
    except ImportError as error:
        print(f"without decord2: {error}")
    try:
        from torchcodec.decoders import VideoDecoder

        def by_torchcodec(path: str, count: int) -> torch.Tensor:
            video = VideoDecoder(path, num_ffmpeg_threads=1, dimension_order="NHWC")
            return video.get_frames_at(middles(len(video))).data

        def by_header(path: str, count: int) -> torch.Tensor:
            video = VideoDecoder(path, num_ffmpeg_threads=1, dimension_order="NHWC", seek_mode="approximate")
            return video.get_frames_at(middles(len(video))).data

        found["torchcodec"], found["torchcodec, approximate"] = by_torchcodec, by_header
    except (ImportError, RuntimeError, OSError) as error:
        print(f"without torchcodec: {str(error).splitlines()[0]}")
    return found


def make_webm(paths: list[str], folder: Path) -> list[str]:
    """VP9 clips of 48 frames, 240 lines high, as Something-Something's are."""
    made = []
    for number, path in enumerate(paths):
        frames = VideoReader(path).sample(lambda n: [min(i, n - 1) for i in range(48)]).images
        height, width = 240, max(2, frames.shape[2] * 240 // frames.shape[1] // 2 * 2)
        target = folder / f"{number}.webm"
        with av.open(str(target), "w") as container:
            stream = container.add_stream(
                "libvpx-vp9", rate=Fraction(12), options={"crf": "32", "b": "0", "cpu-used": "5"}
            )
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for image in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                container.mux(stream.encode(frame.reformat(width, height, "yuv420p")))
            container.mux(stream.encode())
        made.append(str(target))
    return made


def measure(paths: list[str], rounds: int) -> dict:
    preprocessing, found = Preprocessing(size=224, short_side=256), readers()
    seconds: dict[str, list[float]] = {}
    differ: dict[str, list[float]] = {}
    counts = {path: len(VideoReader(path)) for path in paths}
    for turn in range(rounds + 1):
        total: dict[str, float] = {}
        for path in paths:
            images: dict[str, torch.Tensor] = {}
            for name, read in [*found.items(), ("teinet, first look", ours)][:: 1 if turn % 2 else -1]:
                if name == "teinet, first look":
                    clear_memory()
                    os.environ["TEINET_CACHE"], kept = os.devnull, os.environ.get("TEINET_CACHE")
                began = time.perf_counter()
                frames = read(path, counts[path])
                middle = time.perf_counter()
                test_crops(frames, preprocessing)
                end = time.perf_counter()
                if name == "teinet, first look":
                    os.environ.pop("TEINET_CACHE")
                    os.environ.update({} if kept is None else {"TEINET_CACHE": kept})
                    len(VideoReader(path))
                images[name] = frames
                total[name] = total.get(name, 0.0) + end - began
                total[f"{name}: frames"] = total.get(f"{name}: frames", 0.0) + middle - began
            if not turn:
                for name, frames in images.items():
                    same = frames.shape == images["teinet"].shape
                    wrong = (
                        (frames.int() - images["teinet"].int()).abs().float().mean().item() if same else float("nan")
                    )
                    differ.setdefault(name, []).append(wrong)
        for name, value in total.items():
            if turn:
                seconds.setdefault(name, []).append(len(paths) / value)
    measured = {}
    for name in differ:
        measured[name] = {
            "clips_per_second": [round(value, 2) for value in Timing.of(seconds[name])],
            "frames_alone": [round(value, 2) for value in Timing.of(seconds[f"{name}: frames"])],
            "gray_levels_from_ours": round(float(np.nanmean(differ[name])), 3),
            "of_another_size": int(np.isnan(differ[name]).sum()),
        }
        print(name, measured[name], flush=True)
    videos = [VideoReader(path) for path in paths]
    kinds = sorted({f"{video.codec} {video.size[0]}x{video.size[1]}" for video in videos})
    return {"clips": len(paths), "kinds": kinds, "readers": measured}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--clips", type=int, default=32, help="of each folder, evenly chosen")
    parser.add_argument("--webm", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", default=str(RESULTS))
    parser.add_argument("--machine", default=None, help="its name in the file's; by default its processor and cores")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for folder in args.folders:
        paths = [str(path) for path in sorted(folder.rglob("*")) if path.is_file() and is_video(path)]
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, min(args.clips, len(paths))).round().astype(int)]
        print(f"{folder}: {len(paths)} clips")
        results.append({"source": folder.name, **measure(paths, args.rounds)})
        if args.webm and folder is args.folders[0]:
            with tempfile.TemporaryDirectory() as made:
                webm = make_webm(paths[: args.webm], Path(made))
                print(f"webm: {len(webm)} clips")
                results.append({"source": "webm, made", **measure(webm, args.rounds)})
    facts = machine()
    for name in ("decord2", "torchcodec"):
        try:
            facts["versions"][name] = version(name)
        except PackageNotFoundError:
            facts["versions"][name] = None
    target = Path(args.output) / f"reading-{args.machine or machine_name(facts)}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    sampling = Sampling(num_frames=FRAMES).strategy
    target.write_text(json.dumps({"machine": facts, "sampling": sampling, "results": results}, indent=2) + "\n")
    print(target)


if __name__ == "__main__":
    main()
