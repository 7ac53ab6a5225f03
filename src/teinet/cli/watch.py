"""`teinet watch`: find events in live video: cameras, streams, or recordings at their own speed."""

from __future__ import annotations

import glob
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from teinet.cli import options
from teinet.cli.parser import ADVANCED, option, positional
from teinet.errors import ConfigError
from teinet.utils.addresses import hidden, without_secrets
from teinet.utils.machine import check_device
from teinet.utils.signals import StopSignal
from teinet.utils.text import clock, count, printable

if TYPE_CHECKING:
    from rich.table import Table

    from teinet.detection import Notice, Watch


@dataclass(kw_only=True)
class WatchOptions(options.EngineOptions, options.EventOptions, options.WeightsArgument):
    """Find events in live video: cameras, streams, or recordings at their own speed.

    teinet watch fights                                  this machine's camera
    teinet watch fights door=rtsp://10.0.0.7/stream --serve 8080
    teinet watch fights film.mp4 --threshold 0.7
    """

    sources: list[str] = positional(
        "camera, camera:1 (or 1), /dev/video0, rtsp://..., http://..., - (standard input) or a file; NAME=SOURCE names "
        "it; several are recognized together",
        metavar="SOURCE",
        default=["camera"],
    )
    output: str | None = option("append the events to this .jsonl file", metavar="FILE")
    serve: str | None = option("a live page with images and scores (this machine alone)", metavar="[HOST:]PORT")
    json: bool = option("print JSON lines on a terminal too", default=False)
    fast: bool = option("files: as fast as possible, not at their own speed", default=False)
    wait: bool = option("wait also for sources that are missing at first", default=False, group=ADVANCED)
    delay: float = option(
        "seconds by which a network that is too slow may be late; later frames are dropped, and counted",
        default=0.5,
        group=ADVANCED,
    )
    stall: float = option(
        "seconds without a frame after which a camera or stream is reported as stalled", default=10.0, group=ADVANCED
    )
    state: Literal["same", "fp16"] = option(
        "fp16: keep the state of earlier frames in half the memory", default="same", group=ADVANCED
    )


def run(args: WatchOptions) -> int:
    """Watch until the sources end, or Ctrl-C or SIGTERM; return 0.

    Raises TeinetError for unusable weights or arguments, before anything is looked at; or as `Watch` does at the end.
    """
    try:
        watch = _made(args)
    except KeyboardInterrupt:  # Ctrl-C or SIGTERM while the weights were read
        print("stopped before anything was watched", file=sys.stderr)
        return 0
    what = watch.sources[0] if len(watch.sources) == 1 else f"{len(watch.sources)} sources"
    size = watch.state_bytes
    how = "in overlapping windows" if size is None else f"state {size / 1000:,.0f} kB a stream"
    watching = f"watching {what}, a frame every {watch.frame_interval:.3g} s, {how}"
    try:
        with ExitStack() as stack:
            heard = [stack.enter_context(_lines(args))]
            if args.serve:
                from teinet.pages.live import serve

                page, address = stack.enter_context(serve(watch, args.serve))
                print(f"page: {address}", file=sys.stderr)
                heard.append(page.add)
            stack.enter_context(StopSignal(watch.stop))
            if not (args.json and sys.stdout.isatty()):  # lines for programs are not to be broken by what is drawn
                stack.enter_context(_shown(watch))
            for notice in watch:
                if watching and notice.type == "connected":
                    print(printable(watching), file=sys.stderr)
                    watching = ""
                for tell in heard:
                    tell(notice)
    finally:
        for number, name in enumerate(watch.sources):
            if watch.counts(number).connections:
                print(printable(f"{name}: {_summary(watch, number)}"), file=sys.stderr)
        if args.output:
            print(printable(f"wrote {args.output}"), file=sys.stderr)
    return 0


def _made(args: WatchOptions) -> Watch:
    from teinet.data.video.source import Source

    rules = args.rules()
    args.weights = options.causal_form(args.weights, windows=args.windows)
    options.check_weights(args.weights, multi_label=False)
    check_device(args.device)
    if args.output:
        options.output_form(args, {".jsonl": "lines", ".json": "lines"})
    files = [source.address for source in map(Source.parse, args.sources) if source.kind == "file"]
    if missing := [file for file in files if not os.path.exists(file) and not args.wait]:
        if glob.has_magic(missing[0]):
            hint = "a pattern; name each source for watch, or use teinet timeline for recordings"
        elif address := re.fullmatch(r"(rtsps?|rtmps?|https?|rtp|udp|srt):/*([^/].*)", missing[0]):
            hint = f"no such file. Did you mean {without_secrets('://'.join(address.groups()))}?"
        else:
            hint = "no such file (--wait waits for it)"
        raise ConfigError(f"{hidden(missing[0])}: {hint}")
    if args.output:
        options.check_output(args.output, [args.weights, *files], overwrite=True)  # which appends
    from teinet.detection import Watch

    return Watch(
        options.load_recognizer(args.weights, args),
        args.sources,
        frame_interval=args.frame_interval,
        rules=rules,
        fast=args.fast,
        wait=args.wait,
        **{name: getattr(args, name) for name in ("smoothing", "delay", "windows", "stall", "state")},
    )


@contextmanager
def _lines(args: WatchOptions) -> Iterator[Callable[[Notice], None]]:
    """Give a function that writes a notice: JSON lines to the file or standard output, words on a terminal."""
    as_json, out = args.output or args.json or not sys.stdout.isatty(), sys.stdout  # what is drawn may take its place

    def write(notice: Notice) -> None:
        if as_json:
            print(json.dumps(notice.to_dict(), ensure_ascii=False, allow_nan=False), file=file, flush=True)
        elif len(args.sources) > 1 or not notice.reason.endswith("; given up"):  # else the error at the end says it
            print(in_words(notice), flush=True)

    opened = nullcontext(out)
    if args.output:  # names that are not UTF-8 as JSON's escapes
        opened = open(args.output, "a", encoding="utf-8", errors="backslashreplace")
    with opened as file:
        yield write


def in_words(notice: Notice) -> str:
    """Return a notice as a line for people."""
    where = f"{notice.wall_time:%H:%M:%S}  {printable(notice.source)}  "
    event = notice.event
    if event is None:
        return where + notice.type + (f": {printable(notice.reason)}" if notice.reason else "")
    if notice.type == "begin":
        return f"{where}{clock(event.start)}  {printable(event.label)} begins ({100 * event.score:.0f} %)"
    took = f"{event.end - event.start:.1f} s"
    return f"{where}{clock(event.end)}  {printable(event.label)} ends after {took} ({100 * event.score:.0f} %)"


def _summary(watch: Watch, number: int) -> str:
    counts = watch.counts(number)
    parts = [count(counts.steps, "step")]
    if counts.delay is not None and counts.delay_99 is not None:
        parts.append(f"delay {1000 * counts.delay:.0f} ms (99 %: {1000 * counts.delay_99:.0f} ms)")
    parts += [f"{n} {name}" for name in ("dropped", "broken", "restarts", "stalls") if (n := getattr(counts, name))]
    return ", ".join(parts)


@contextmanager
def _shown(watch: Watch) -> Iterator[None]:
    """Show a line for each source at the bottom of the terminal, if there is one."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live

    above = sys.stdout.isatty()  # what is printed meanwhile appears above the lines
    how = {"console": Console(stderr=True), "refresh_per_second": 5, "transient": True, "redirect_stdout": above}
    with Live(get_renderable=lambda: table_of(watch), **how):
        yield


def table_of(watch: Watch) -> Table:
    """Return a line for each source: its name, time, best class and counts."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for number, name in enumerate(watch.sources):
        view = watch.view(number)
        if view.scores is None:
            what = Text("waiting", style="dim")
        else:
            best = int(view.scores.argmax())
            label, score = printable(watch.class_names[best]), float(view.scores[best])
            filled = round(10 * score)
            style = "bold cyan" if view.event is not None else "default"
            what = Text("━" * filled, style="cyan").append("━" * (10 - filled), style="bright_black")
            what.append(f" {100 * score:3.0f} % ", style="default").append(label, style=style)
        second = "" if view.time is None else clock(view.time)[:-2]
        table.add_row(Text(printable(name), style="bold"), Text(second, style="dim"), what, _summary(watch, number))
    return table
