"""Measures recognizing frame by frame: python -m benchmarks.live [step] [rate] [chunks] [recording] [--hours 2]

step       a step of causal TEINet next to one frame of TSN and next to a clip of 8 frames, in turns, same engine
rate       steps a second of EfficientNet-Lite0 at 224 from images of 640x480, and the delay from image to scores
chunks     causal TEINet on a recording's frames, some at a time as teinet timeline does, next to single steps, in turns
recording  teinet timeline's speed against real time on 480p h264, the share of decoding, and its memory over time

Writes results/live-MACHINE.json. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from benchmarks.naming import machine_name
from teinet.data.motion_pairs import MotionPairs, draw_clip
from teinet.data.transforms import Preprocessing
from teinet.data.video.reader import VideoReader
from teinet.detection import timeline
from teinet.detection.sampler import FrameSampler
from teinet.detection.scorer import SampledFrame, Scorer, make_scorer
from teinet.evaluation.speed import Timing
from teinet.models import create_model
from teinet.recognition import Recognizer
from teinet.recognition.stream import Stream
from teinet.utils.machine import machine
from teinet.utils.memory import keep_freed_memory

RESULTS = Path(__file__).parent / "results"
PARTS = ("step", "rate", "chunks", "recording")
BACKBONES, SMALL = ("resnet50", "tf_efficientnet_lite0"), "tf_efficientnet_lite0"
ENGINES = ("eager", "folded", "compile")
FRAMES, SIZE, CLASSES = 8, 224, 27
RATE = 25  # frames a second of the recordings


def recognizer(name: str, engine: str, precision: str) -> Recognizer:
    torch.manual_seed(0)
    model = create_model(name, num_classes=CLASSES, num_frames=FRAMES, causal=True)
    mean, std = model.data_config["mean"], model.data_config["std"]
    pixels = Preprocessing(size=SIZE, short_side=SIZE * 256 // 224, mean=mean, std=std)
    made = Recognizer(model, [f"class {i}" for i in range(CLASSES)], preprocessing=pixels)
    return made if engine == "eager" else made.optimize(engine=engine, precision=precision)


def step(rounds: int, precision: str) -> dict:
    """Seconds of each, and the ratios within a round; the second TSN shows what noise alone makes of it."""
    found = {}
    for backbone in BACKBONES:
        for engine in ENGINES:
            ours, tsn = (recognizer(f"{kind}_{backbone}", engine, precision) for kind in ("teinet", "tsn"))
            runs = {
                "step": _stepping(ours),
                "tsn": _stepping(tsn),
                "tsn again": _stepping(tsn),
                "clip": _clip(ours),
                "tsn clip": _clip(tsn),
            }
            times = [{name: _seconds(run) for name, run in runs.items()} for _ in range(rounds + 3)][3:]
            ratios = {
                "step / tsn frame": [t["step"] / t["tsn"] for t in times],
                "tsn frame again / tsn frame": [t["tsn again"] / t["tsn"] for t in times],
                "step / 8-frame clip": [t["step"] / t["clip"] for t in times],
                "tsn frame / tsn 8-frame clip": [t["tsn"] / t["tsn clip"] for t in times],
            }
            found[f"{backbone} {engine}"] = {
                "milliseconds": {name: _spread([1000 * t[name] for t in times]) for name in runs},
                "ratios": {name: _spread(values) for name, values in ratios.items()},
            }
            print(backbone, engine, {name: round(value["median"], 3) for name, value in
                                     found[f"{backbone} {engine}"]["ratios"].items()})  # fmt: skip
    return found


def _stepping(made: Recognizer) -> Callable[[], object]:
    stream = made.stream()
    frame = torch.randint(0, 256, (1, 3, SIZE, SIZE), dtype=torch.uint8)

    def run() -> None:
        for _ in range(FRAMES):  # as many frames as the clip has; the time is divided
            stream.step(frame)

    run.share = FRAMES
    return run


def _clip(made: Recognizer) -> Callable[[], object]:
    clip = torch.randint(0, 256, (1, FRAMES, 3, SIZE, SIZE), dtype=torch.uint8)

    def run() -> None:
        with torch.inference_mode():
            made.model(clip)

    run.share = 1
    return run


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) / run.share


def rate(steps: int, precision: str) -> dict:
    """From a camera's image to its scores: cutting, the network, averaging."""
    found = {}
    for engine in ENGINES:
        made = recognizer(f"teinet_{SMALL}", engine, precision)
        stream = made.stream()
        image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        delays = []
        for _ in range(steps + 20):
            began = time.perf_counter()
            stream.step([image])
            delays.append(time.perf_counter() - began)
        delays = np.array(delays[20:])
        found[engine] = {
            "steps": steps,
            "steps_per_second": steps / float(delays.sum()),
            "delay_ms": {str(p): 1000 * float(np.percentile(delays, p)) for p in (50, 90, 99, 100)},
            "state_bytes": stream.state.nbytes,
            "state_bytes_fp16": made.stream(state="fp16").state.nbytes,
        }
        print("rate", engine, found[engine])
    return found


def chunks(rounds: int, frames: int, precision: str) -> dict:
    """Milliseconds a frame and the ratios within a round; images are cut and decoded before either begins.

    The second stepping shows what noise alone makes of it; the difference is the largest of all scores.
    """
    found = {}
    for backbone in BACKBONES:
        for engine in ENGINES:
            made = recognizer(f"teinet_{backbone}", engine, precision)
            images = torch.randint(0, 256, (frames, 3, SIZE, SIZE), dtype=torch.uint8)
            stream, scorer = made.stream(), make_scorer(made, batched=True)

            def stepping(stream: Stream = stream, images: Tensor = images) -> np.ndarray:
                stream.reset()
                return np.concatenate([stream.step(image[None]).scores for image in images])

            def chunked(scorer: Scorer = scorer, images: Tensor = images) -> np.ndarray:
                frames = (SampledFrame(n / 8, image, n == 0) for n, image in enumerate(images))
                scored = [row for frame in frames for row in scorer.push({0: frame})[0]]
                return np.stack([row.scores for row in [*scored, *scorer.finish(0)]])

            runs = {"stepping": stepping, "chunks": chunked, "stepping again": stepping}
            for run in runs.values():
                run.share = frames
            difference = float(np.abs(stepping() - chunked()).max())  # which compiles, too
            times = [{name: _seconds(run) for name, run in runs.items()} for _ in range(rounds)]
            ratios = {
                "chunks / stepping": [t["chunks"] / t["stepping"] for t in times],
                "stepping again / stepping": [t["stepping again"] / t["stepping"] for t in times],
            }
            found[f"{backbone} {engine}"] = {
                "frames": frames,
                "milliseconds": {name: _spread([1000 * t[name] for t in times]) for name in runs},
                "ratios": {name: _spread(values) for name, values in ratios.items()},
                "largest_difference": difference,
            }
            medians = {name: round(float(np.median(values)), 3) for name, values in ratios.items()}
            print("chunks", backbone, engine, medians, f"scores differ by at most {difference:.1e}", flush=True)
    return found


def recording(minutes: float, hours: float, precision: str) -> dict:
    """A causal EfficientNet-Lite0 at 8 frames a second of video, over a short recording and a long one.

    The long one runs in a process of its own, so that its memory is not that of the others.
    """
    with tempfile.TemporaryDirectory() as folder:
        one = _write(Path(folder) / "one.mp4")
        found = {}
        if copies := round(minutes):
            names = ("folded", "compile")
            made = {engine: recognizer(f"teinet_{SMALL}", engine, precision) for engine in names}
            for each in made.values():
                timeline(each, one, frame_interval=0.125)  # compiles, and wakes the machine
            for name, engine in (
                ("short, folded", "folded"),
                ("short", "compile"),
                ("short again, folded", "folded"),
                ("short again", "compile"),
            ):
                found[name] = _look(made[engine], _repeat(one, Path(folder) / f"{name}.mp4", copies), 60.0 * copies)
                print("recording", name, found[name], flush=True)
        if copies := round(60 * hours):
            path = _repeat(one, Path(folder) / "long.mp4", copies)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                found["long"] = alone.submit(_look_alone, one, path, 60.0 * copies, precision).result()
            print("recording long", found["long"], flush=True)
    return found


def _look_alone(one: Path, path: Path, seconds: float, precision: str) -> dict:
    """What a process of its own does: compile, wake up, look."""
    keep_freed_memory()
    made = recognizer(f"teinet_{SMALL}", "compile", precision)
    timeline(made, one, frame_interval=0.125)
    return _look(made, path, seconds)


def _look(made: Recognizer, path: Path, seconds: float) -> dict:
    memory: list[tuple[float, int]] = []  # by the video's position; the last one with its last frame
    last = seconds - 1.5 / RATE
    _forget_peak()
    began = time.perf_counter()
    with Progress(transient=True) as bar:
        task = bar.add_task(path.name, total=seconds)

        def reached(second: float) -> None:
            bar.update(task, completed=second)
            if second >= min(300 * len(memory), last):
                memory.append((round(second), _resident()))

        timeline(made, path, frame_interval=0.125, progress=reached)
    took = time.perf_counter() - began
    peak = _peak()
    began = time.perf_counter()
    sampler = FrameSampler(0.125)
    for frame in VideoReader(path):
        _ = sampler.judge(frame.time) == "skip" or frame.image
    decoding = time.perf_counter() - began
    return {
        "video_seconds": seconds,
        "seconds": took,
        "times_real_time": seconds / took,
        "decoding_share": decoding / took,  # measured alone; next to the network it shares the cores
        "memory_mb_at_second": [(second, size / 2**20) for second, size in memory],
        "peak_memory_mb": peak / 2**20,  # from the first frame to the last
    }


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _forget_peak() -> None:
    """Have Linux count the peak of memory from now on."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _write(path: Path) -> Path:
    """A minute of 854x480 h264 at 25 frames a second: things that move, drawn over and over."""
    settings = MotionPairs(size=480, frames=RATE, segments=1)
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = 480, 854, "yuv420p"
        clips = [draw_clip(kind, settings, rng) for kind in range(6)]
        for second in range(60):
            for image in clips[second % len(clips)]:
                wide = np.concatenate([image, image[:, : 854 - 480]], 1)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(wide), format="rgb24")))
        out.mux(stream.encode())
    return path


def _repeat(one: Path, path: Path, copies: int) -> Path:
    """The same packets again and again, their times moved on."""
    with av.open(str(path), "w") as out:
        with av.open(str(one)) as first:
            target = out.add_stream_from_template(first.streams.video[0])
        for copy in range(copies):
            with av.open(str(one)) as source:
                stream = source.streams.video[0]
                shift = round(60 * copy / stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = target
                        out.mux(packet)
    return path


def _spread(values: list[float]) -> dict:
    return Timing.of(values)._asdict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=64, help="of the recording of `chunks`")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--hours", type=float, default=0, help="of the long recording; 0 leaves it out")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of folded and compiled networks")
    options = parser.parse_args()
    keep_freed_memory()
    facts = machine()
    target = RESULTS / f"live-{machine_name(facts)}.json"
    found = json.loads(target.read_text()) if target.exists() else {}
    for part in options.parts:
        if part == "step":
            measured = step(options.rounds, options.precision)
        elif part == "rate":
            measured = rate(options.steps, options.precision)
        elif part == "chunks":
            measured = chunks(options.rounds, options.frames, options.precision)
        else:
            measured = recording(options.minutes, options.hours, options.precision)
        name = part if options.precision == "fp32" else f"{part} {options.precision}"
        found[name] = {"machine": machine(), **measured}
        target.write_text(json.dumps(found, indent=2) + "\n")
    print(target)


if __name__ == "__main__":
    main()
