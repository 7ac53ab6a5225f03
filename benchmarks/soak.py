"""Watches cameras that misbehave for a day: python -m benchmarks.soak [--hours 24] [--cameras 3] [--speed 100]

Time passes faster: the watch's clocks run, and its waits end, so many times as fast. The cameras join (every third one
late), leave, stall, send broken frames, change size, jump in time, send segments at once, and break off, all by a seed.
Every image bears its camera's number and that of the stretch that it belongs to, in its pixels. Each stretch is also
stepped through by a stream of its own. The run fails where

- scores of the watch differ from those of the stretch alone by more than 1e-5, or a step mixes two stretches;
- frames that were due are neither seen nor counted as dropped, or broken ones are not counted;
- memory at the end lies more than 5 % above that after a tenth of the time, or threads or open files become more;
- something of all this never happened in 10,000 steps or more.

Writes results/soak-MACHINE.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import torch
from rich.progress import Progress

from benchmarks.naming import machine_name
from teinet.data.transforms import Preprocessing
from teinet.data.video import reader as reading
from teinet.data.video.source import Source
from teinet.detection import Watch
from teinet.detection import monitor as watching
from teinet.detection import source_thread as sources
from teinet.detection.detector import StreamDetectors, Update
from teinet.detection.events import Rules
from teinet.errors import VideoError
from teinet.models import create_model
from teinet.recognition import Recognizer
from teinet.recognition.stream import Step, Stream
from teinet.utils.machine import machine
from teinet.utils.memory import keep_freed_memory

RESULTS = Path(__file__).parent / "results"
INTERVAL, RATE = 4.0, 0.25  # seconds between frames that are taken, frames a second
STALL = 60.0  # seconds; a camera has stalled after half of that
LATE = 5  # how often a camera that joins late is missing
SEGMENT = 20  # frames that are sent at once
SIZES = ((24, 32), (32, 24), (40, 40))
TROUBLE = ("lost", "stall", "broken", "resized", "jump back", "jump on", "late", "early")
NOTICES = ("connected", "lost", "restarted", "resized", "stalled", "resumed", "begin", "end")
MOST_GROWTH = 1.05


class Hurry:
    """Lets time pass faster in the modules of a watch."""

    def __init__(self, speed: float):
        self._speed, self._began = speed, time.monotonic()

    def monotonic(self) -> float:
        return self._began + self._speed * (time.monotonic() - self._began)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self._speed)

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        speed = self._speed

        def hurried(kind: type) -> type:
            class Hurried(kind):
                def wait(self, timeout: float | None = None) -> bool:
                    return super().wait(None if timeout is None else timeout / speed)

            return Hurried

        quick = SimpleNamespace(
            Thread=threading.Thread, Condition=hurried(threading.Condition), Event=hurried(threading.Event)
        )
        modules = (watching, sources, reading)
        before = [(module, module.time, getattr(module, "threading", None)) for module in modules]
        try:
            for module in modules:
                module.time, module.threading = self, quick
            yield
        finally:
            for module, own, threads in before:
                module.time, module.threading = own, threads


class Camera(Source):
    """A source made up by a seed; counts what it sent.

    Attributes:
        sent: whole frames that it sent.
        damaged: broken packets that it sent.
        trouble: how often each kind of trouble came.
    """

    def __init__(self, number: int, seed: int, hurry: Hurry):
        self.__dict__ |= {"name": f"camera {number}", "address": "", "kind": "stream"}
        self.sent = self.damaged = 0
        self.trouble = dict.fromkeys(TROUBLE, 0)
        self._number, self._stretch = number, 0
        self._rng = np.random.default_rng([seed, number])
        self._opened = 0
        self.ended, self._hurry = False, hurry

    @contextmanager
    def open(self, patience: float, threads: object) -> Iterator[tuple[SimpleNamespace, SimpleNamespace]]:
        self._opened += 1
        if self._number % 3 == 2 and self._opened <= LATE:
            raise VideoError(self.name, "not there yet")
        if self._opened > 1 and self._rng.random() < 0.3:  # it stays away for a while
            raise VideoError(self.name, "refused")
        self._stretch += 1
        container = SimpleNamespace(duration=None, start_time=0, demux=lambda stream: self._packets())
        container.format = SimpleNamespace(name="made")
        stream = SimpleNamespace(time_base=Fraction(1, 1000), average_rate=Fraction(RATE), guessed_rate=None)
        stream.duration, stream.start_time = None, 0
        stream.codec_context = SimpleNamespace(sample_aspect_ratio=None)
        yield container, stream

    def _packets(self) -> Iterator[SimpleNamespace]:
        size = SIZES[self._rng.integers(len(SIZES))]
        clock = int(self._rng.integers(1, 100_000))  # seconds
        due = self._hurry.monotonic()
        while not self.ended:
            clock += INTERVAL
            what = TROUBLE[self._rng.integers(len(TROUBLE))] if self._rng.random() < 0.01 else ""
            if what:
                self.trouble[what] += 1
            if what == "lost":
                return
            if what == "stall":
                due += STALL
            elif what == "broken":
                self.damaged += 1
                yield SimpleNamespace(decode=_broken, is_corrupt=False)
                continue
            elif what == "resized":
                other = SIZES[self._rng.integers(len(SIZES))]
                self._stretch += other != size
                size = other
            elif what.startswith("jump"):
                clock += int(self._rng.integers(16, 1000)) * (-1 if what == "jump back" else 1)
                self._stretch += 1
            elif what == "late":  # a network that stands still, but not for long enough to count as stalled
                due += STALL / 3
            elif what == "early":  # a segment
                for _ in range(SEGMENT):
                    yield self._packet(clock, size)
                    clock += INTERVAL
            self._hurry.sleep(max(0.0, due - self._hurry.monotonic()))
            due += INTERVAL * (1 + SEGMENT * (what == "early"))
            yield self._packet(clock, size)

    def _packet(self, clock: float, size: tuple[int, int]) -> SimpleNamespace:
        image = self._rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        image[:6, :6] = self._number, self._stretch % 256, self._stretch // 256 % 256
        self.sent += 1
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.time_base, frame.pts = Fraction(1, 1000), round(1000 * clock)
        return SimpleNamespace(decode=lambda: [frame], is_corrupt=False)


def _broken() -> list:
    raise av.error.InvalidDataError(1, "broken")


class Checked:
    """A stream of N whose every step is compared with N streams of one, each reset when a new stretch begins."""

    def __init__(self, streams: StreamDetectors, alone: list[Stream]):
        self._push, self._stream, self._alone = streams.push, streams.scorer.stream, alone
        streams.push, streams.scorer.stream = self.push, self
        self._marks: dict[int, bytes] = {}
        self._stretch: list[bytes | None] = [None] * len(alone)
        self.worst, self.compared, self.mixed = 0.0, 0, 0

    def push(self, frames: Mapping[int, tuple[float, np.ndarray, bool]]) -> dict[int, Update]:
        self._marks = {number: image[0, 0].tobytes() for number, (_, image, _) in frames.items()}
        return self._push(frames)

    def step(self, frames: Mapping[int, torch.Tensor]) -> Step:
        step = self._stream.step(frames)
        if not self._marks:  # the watch warms up
            return step
        for place, number in enumerate(step.streams):
            mark = self._marks[number]
            if mark != self._stretch[number]:
                self._stretch[number] = mark
                self._alone[number].reset()
            self.mixed += mark[0] != number
            own = self._alone[number].step([frames[number]])
            largest = float(own.logits.abs().max())
            self.worst = max(self.worst, float((own.logits[0] - step.logits[place]).abs().max()) / max(largest, 1e-6))
            self.mixed += int(own.frames[0] != step.frames[place])
            self.compared += 1
        return step

    def reset(self, streams: list[int] | None = None) -> None:
        self._stream.reset(streams)


def soak(hours: float, cameras: int, seed: int, speed: float) -> dict:
    """Run it; returns what was counted."""
    torch.manual_seed(seed)
    hurry = Hurry(speed)
    with hurry.everywhere():
        return _soak(hours, cameras, seed, hurry)


def _soak(hours: float, cameras: int, seed: int, hurry: Hurry) -> dict:
    model = create_model("teinet_test_resnet", num_classes=5, num_frames=4, causal=True)
    size = {"size": 32, "short_side": 32}  # small: it is the bookkeeping that is tried
    pixels = Preprocessing(**size, mean=model.data_config["mean"], std=model.data_config["std"])
    names = [f"class {i}" for i in range(5)]
    recognizer = Recognizer(model, names, preprocessing=pixels, header={"frame_interval": INTERVAL})
    made = {camera.name: camera for camera in (Camera(number, seed, hurry) for number in range(cameras))}
    parse, watching.Source.parse = watching.Source.parse, made.__getitem__
    try:
        rules = Rules(threshold=0.2, off_threshold=0.15, min_duration=0.0)  # so that events come and go
        watch = Watch(recognizer, list(made), delay=2 * INTERVAL, rules=rules, wait=True, stall=STALL / 2)
    finally:
        watching.Source.parse = parse
    checked = Checked(watch._streams, [recognizer.stream() for _ in made])
    memory: list[tuple[float, float]] = []
    handles: list[tuple[int, int]] = []  # threads, open files
    notices = dict.fromkeys(NOTICES, 0)
    began, first = time.perf_counter(), None
    with Progress(transient=True) as bar:
        task = bar.add_task("soak", total=hours)
        for notice in watch:
            notices[notice.type] = notices.get(notice.type, 0) + 1
            first = hurry.monotonic() if first is None else first  # the watch warms up before
            passed = (hurry.monotonic() - first) / 3600
            bar.update(task, completed=passed)
            if passed >= len(memory) * hours / 20:
                memory.append((passed, resident() / 2**20))
                handles.append((threading.active_count(), _open_files()))
            if passed >= hours:
                for camera in made.values():
                    camera.ended = True
                watch.stop()
    counts = [watch.counts(number) for number in range(cameras)]
    waiting = [camera.thread._num_frames for camera in watch._sources]
    lost = [
        camera.sent - (count.steps + count.skipped + count.dropped + left)
        for camera, count, left in zip(made.values(), counts, waiting, strict=True)
    ]
    return {
        "hours": hours,
        "speed": hurry._speed,
        "steps": checked.compared,
        "seconds": time.perf_counter() - began,
        "cameras": cameras,
        "seed": seed,
        "trouble": {what: sum(camera.trouble[what] for camera in made.values()) for what in TROUBLE},
        "notices": notices,
        "sent": sum(camera.sent for camera in made.values()),
        "dropped": sum(count.dropped for count in counts),
        "skipped": sum(count.skipped for count in counts),
        "uncounted": lost,
        "broken_uncounted": [c.damaged - count.broken for c, count in zip(made.values(), counts, strict=True)],
        "largest_difference": checked.worst,
        "mixed": checked.mixed,
        "memory_mb": memory,
        "threads_and_files": handles,
    }


def faults(found: dict) -> list[str]:
    """What must not be."""
    early = next((mb for hour, mb in found["memory_mb"] if hour >= found["hours"] / 10), None)
    late = found["memory_mb"][-1][1]
    said = []
    if found["largest_difference"] > 1e-5 or found["mixed"]:
        said.append(f"a stream's state was wrong: {found['largest_difference']:.1e}, {found['mixed']} mixed")
    if any(abs(count) > 1 for count in found["uncounted"]):  # one frame may be in the reader's hand at the end
        said.append(f"frames are neither seen nor counted: {found['uncounted']}")
    if any(abs(count) > 1 for count in found["broken_uncounted"]):
        said.append(f"broken frames are not counted: {found['broken_uncounted']}")
    never = [what for what, count in (found["trouble"] | found["notices"]).items() if not count]
    if never and found["steps"] >= 10_000:
        said.append(f"never happened: {', '.join(never)}")
    if early and late > MOST_GROWTH * early:
        said.append(f"memory grew from {early:.0f} to {late:.0f} MB")
    quick = found["threads_and_files"]
    if any(late > early + 2 for early, late in zip(quick[len(quick) // 4], quick[-1], strict=True)):
        said.append(f"threads or open files became more: {quick}")
    return said


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def resident() -> int:
    """Bytes of memory that this process holds."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--speed", type=float, default=100, help="seconds that pass in one")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1 if (os.cpu_count() or 1) < 4 else 2)
    found = {"machine": machine(), **soak(options.hours, options.cameras, options.seed, options.speed)}
    found["faults"] = faults(found)
    target = RESULTS / f"soak-{machine_name(found['machine'])}.json"
    target.write_text(json.dumps(found, indent=2) + "\n")
    print(
        json.dumps({k: v for k, v in found.items() if k not in ("machine", "memory_mb", "threads_and_files")}, indent=2)
    )
    print(target)
    if found["faults"]:
        raise SystemExit("; ".join(found["faults"]))


if __name__ == "__main__":
    main()
