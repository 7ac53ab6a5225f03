"""`teinet watch` at the command line: lines, exit codes, signals, the page."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
from datetime import datetime
from types import SimpleNamespace
from urllib.request import urlopen

import av
import numpy as np
import pytest
from rich.console import Console

from teinet.cli.main import main
from teinet.cli.watch import in_words, table_of
from teinet.detection import Notice
from teinet.detection.events import Event
from teinet.detection.monitor import View
from tests import miniatures
from tests.conftest import command, environment
from tests.detection.test_recording import make

EVENTS = ("--threshold", 0.34, "--off-threshold", 0.3, "--min-duration", 0.2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watch")
    make("teinet", causal=True, header={"frame_interval": 0.2, "license": "MIT"}).save(folder / "causal.safetensors")
    miniatures.write(folder / "film.mp4", 3, length=61, rate=10)
    return folder


def words(place, *more):
    return [str(word) for word in ("watch", place / "causal.safetensors", f"door={place / 'film.mp4'}", *EVENTS, *more)]


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_events_are_json_lines_and_the_rest_is_said_aside(place, capsys):
    assert main(words(place, "--fast")) == 0
    out, err = capsys.readouterr()
    found = lines(out)
    assert {line["source"] for line in found} == {"door"} and found[0]["type"] == "connected"
    begin = next(line for line in found if line["type"] == "begin")
    assert set(begin) == {"type", "source", "wall_time", "label", "start", "score", "peak"}
    assert datetime.fromisoformat(begin["wall_time"]).tzinfo is not None
    end = next(line for line in found if line["type"] == "end")
    assert end["end"] > end["start"] == begin["start"]
    assert re.search(r"^door: 31 steps$", err, re.MULTILINE)


def test_a_signal_before_it_watches_ends_it_cleanly(place, monkeypatch, capsys):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("teinet.recognition.Recognizer.load", interrupted)
    assert main(words(place)) == 0
    assert capsys.readouterr().err == "stopped before anything was watched\n"


def test_the_size_of_the_state_is_said_first(place, capsys):
    kilobytes = []
    for more in ((), ("--state", "fp16")):
        assert main(words(place, "--fast", *more)) == 0
        said = re.search(r"^watching door, a frame every 0\.2 s, state (\d+) kB", capsys.readouterr().err, re.MULTILINE)
        kilobytes.append(int(said[1]))
    assert 0.4 < kilobytes[1] / kilobytes[0] < 0.8


def test_a_recording_that_cannot_be_decoded_is_an_error_line(place, tmp_path, capsys):
    film = miniatures.write(tmp_path / "film.avi", 3)
    with av.open(str(film)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(film.read_bytes())
    for begin, size in places:
        data[begin + 8 : begin + 8 + size] = bytes(size)  # after the chunk's name and length
    film.write_bytes(data)
    assert main(["watch", str(place / "causal.safetensors"), str(film), "--fast"]) == 1
    out, err = capsys.readouterr()
    assert [line["type"] for line in lines(out)] == ["connected", "lost"]
    assert re.search(r"film\.avi: 0 steps, [1-9]\d* broken$", err, re.MULTILINE)
    assert "teinet watch: " in err and "film.avi: none of its frames can be decoded" in err


def test_a_file_is_added_to(place, tmp_path, capsys):
    target = tmp_path / "events.jsonl"
    target.write_text('{"type": "before"}\n')
    assert main(words(place, "--fast", "--output", target)) == 0
    found = lines(target.read_text())
    assert found[0] == {"type": "before"} and found[-1]["type"] == "finished"
    assert capsys.readouterr().out == ""
    assert main(words(place, "--output", tmp_path / "no" / "such.jsonl")) == 2


def test_a_signal_ends_it_cleanly_and_the_page_is_served_until_then(place):
    process = subprocess.Popen(
        command(*words(place, "--serve", "0", "--min-duration", 0)), env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert json.loads(process.stdout.readline())["type"] == "connected"
        assert json.loads(process.stdout.readline())["type"] == "begin"
        address = next(line.split()[1] for line in process.stderr if line.startswith("page: "))
        assert json.load(urlopen(f"{address}state"))["sources"][0]["name"] == "door"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert [line["type"] for line in lines(out)][-1] == "end"  # and not "finished": the film is not
    assert "Traceback" not in err and "door: " in err


@pytest.mark.parametrize(("more", "message"), [
    (("--serve", "here"), "PORT or HOST:PORT"), (("--background", "restin"), "'restin' is no class"),
    (("--threshold", "0.1", "--off-threshold", "0.3"), "it must be 0 to the threshold, 0.1"),
    (("--stall", "0"), "stall"), (("--device", "0"), "Use cuda:0"),
])  # fmt: skip
def test_wrong_arguments_are_one_line(place, capsys, more, message):
    assert main(words(place, *more)) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_options_may_stand_before_the_sources(place, capsys):
    weights, film = str(place / "causal.safetensors"), str(place / "film.mp4")
    found = []
    for order in ([weights, film, "--fast"], [weights, "--fast", film], ["--fast", weights, film]):
        assert main(["watch", *order, *map(str, EVENTS)]) == 0
        found.append([line["type"] for line in lines(capsys.readouterr().out)])
    assert "begin" in found[0] and found[0] == found[1] == found[2]


def test_notices_in_words():
    at = datetime(2026, 3, 1, 12, 30, 5)
    event = Event(label="fall", start=61.5, end=63.0, score=0.713, peak=0.9)
    for what, more, words in (
        ("begin", {"event": event}, "00:01:01.500  fall begins (71 %)"),
        ("end", {"event": event}, "00:01:03.000  fall ends after 1.5 s (71 %)"),
        ("lost", {"reason": "it ended; trying again in 1 s"}, "lost: it ended; trying again in 1 s"),
    ):
        assert in_words(Notice(type=what, source="hall", time=63.0, wall_time=at, **more)) == f"12:30:05  hall  {words}"


@pytest.mark.parametrize("word", [
    "rtsp://me:s3cret@127.0.0.1:9/live", "door=rtsp://me:s3cret@127.0.0.1:9/live", "http://127.0.0.1:9/x?user=me&pwd=s3cret",
    "rtsp:/me:s3cret@127.0.0.1/live", "rtsp//me:s3cret@127.0.0.1/live", "me:s3cret@127.0.0.1:554/live",
    "http://127.0.0.1:9/live.m3u8?hdnts=exp=1~hmac=s3cret",
])  # fmt: skip
@pytest.mark.parametrize("more", [(), ("--serve", "0"), ("--output",), ("--serve",), ("--delay",), ("--frame-rate",)])
def test_no_password_is_printed(place, tmp_path, capsys, caplog, word, more):
    """Of an address in its place, after another option by mistake, and of one that was typed wrongly."""
    more = (*more, word) if len(more) == 1 else more
    assert main([str(item) for item in ("watch", place / "causal.safetensors", word, *more)]) in (1, 2)
    said = "".join(capsys.readouterr()) + caplog.text
    assert "s3cret" not in said and "Traceback" not in said and "teinet watch: " in said


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["a pipe", "a terminal"])
def test_on_a_terminal_lines_for_programs_stay_whole(place, monkeypatch, capsys, more):
    """Progress is drawn on standard error; JSON goes to standard output, be that a pipe or the terminal too."""
    drawn = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", drawn)
    if more:
        monkeypatch.setattr(sys, "stdout", drawn)
    assert main(words(place, "--fast", *more)) == 0
    said = drawn.getvalue() if more else capsys.readouterr().out
    found = [json.loads(line)["type"] for line in said.splitlines() if line.startswith("{")]
    assert {"connected", "begin", "end", "finished"} <= set(found)
    assert bool(more) == ('{"type"' in drawn.getvalue()) != ("\x1b[" in drawn.getvalue())


def test_the_table_on_a_terminal_names_sources_and_labels():
    counts = SimpleNamespace(steps=3, delay=None, delay_99=None, dropped=0, broken=0, restarts=0, stalls=0)
    view = View(time=2.0, scores=np.array([0.2, 0.8]))
    watch = SimpleNamespace(sources=["door", "yard"], class_names=["resting", "waving"])
    watch.counts, watch.view = lambda number: counts, lambda number: view if number else View()
    console = Console(file=io.StringIO(), width=100)
    console.print(table_of(watch))
    first, second = console.file.getvalue().splitlines()
    assert first.split()[:2] == ["door", "waiting"] and second.startswith("yard") and "80 % waving" in second


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("gone.mp4", "gone.mp4: no such file (--wait waits for it)"),
        ("videos/*.mp4", "a pattern; name each source"),
        ("rtsp:/me:secret@10.0.0.7/stream", "Did you mean rtsp://10.0.0.7/stream?"),
    ],
)
def test_a_source_that_is_no_file(source, says, capsys):
    assert main(["watch", "motion_pairs_causal", source]) == 2
    assert says in (err := capsys.readouterr().err) and "secret" not in err
