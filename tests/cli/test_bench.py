"""`teinet bench data` as a user sees it."""

from __future__ import annotations

import json
import time

import pytest

from teinet.benchmark.data import LoaderReport
from teinet.benchmark.loading import Loading
from teinet.benchmark.stages import StageTimes
from teinet.benchmark.throughput import Throughput, Window
from teinet.cli.bench.data import verdict
from teinet.cli.main import main
from teinet.data.video.reader import VideoReader

TINY = ("--frames", "2", "--size", "32", "--seconds", "0.3", "--batch-size", "2", "--workers", "1,0")


def test_tables_for_people_and_json_for_programs(clips, capsys):
    assert main(["bench", "data", str(clips), *TINY, "--step-seconds", "1000"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("12 of 12 clips (12 h264 48x36); train: 2 frames of 32 px, batches of 2\n")
    assert "crop + resize" in out and "clips/s" in out and out.rstrip().endswith("--workers 0 is enough")
    assert main(["bench", "data", str(clips), *TINY, "--views", "1x1", "--clips", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["clips"] == 5 and told["loading"]["views"] == "1x1" and told["machine"]["versions"]["av"]
    assert [row["workers"] for row in told["loader"]] == [0, 1]


def test_a_file_that_hangs_ends_it(clips, capsys, monkeypatch):
    read, bad = VideoReader.sample, str(clips / "resting" / "0.mp4")

    def hang(reader, *args, **settings):
        time.sleep(600 if reader.path == bad else 0)
        return read(reader, *args, **settings)

    monkeypatch.setattr(VideoReader, "sample", hang)
    assert main(["bench", "data", str(clips), *TINY, "--read-timeout", "1"]) == 1
    assert f"{bad} (" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("dat",), "Did you mean 'data'?"),
        (("data", "nowhere"), "nowhere: no such file or folder"),
        (("data", "x", "--workers", "one"), "write numbers from 0"),
        (("data", "x", "--workers", "2,-1"), "write numbers from 0"),
        (("data", "x", "--seconds", "0"), "--seconds is 0.0; it must be above 0"),
        (("data", "x", "--clips", "0"), "--clips is 0; it must be at least 1"),
        (("data", "x", "--views", "ten"), "views 'ten'"),
        (("data", "x", "--frame", "8", "--sise", "3"), "unrecognized arguments"),
    ],
)
def test_wrong_words_end_in_one_line(words, says, capsys):
    assert main(["bench", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("teinet bench: ") and says in line


def report(*rates: tuple[int, float]) -> LoaderReport:
    measured = [Throughput(workers, (Window(round(1000 * rate), 1000.0, 0, 0),)) for workers, rate in rates]
    return LoaderReport(
        source="x", listed=1, clips=1, unreadable=[], kinds={}, counting=None, loading=Loading(batch_size=16),
        stages=StageTimes(), measured=measured,
    )  # fmt: skip


def test_how_many_workers_keep_up():
    found = report((0, 9.0), (1, 10.0), (2, 20.0), (4, 24.0))
    assert verdict(found, 1.0) == "a step of 1 s with 16 clips takes 16.0 clips/s: --workers 2 is enough"
    assert verdict(found, 0.5) == (
        "a step of 0.5 s with 16 clips takes 32.0 clips/s: none of these keeps up with it; the best, --workers 4 with "
        "24.0 clips/s, would let it wait 25.0 % of the time"
    )
