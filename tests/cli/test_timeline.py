"""`teinet timeline` at the command line: forms, exit codes, what cannot be read."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import teinet
import teinet.detection.timeline_batch
from teinet.cli.main import main
from teinet.cli.timeline_output import unique_names, write_vtt
from teinet.data.transforms import Preprocessing
from teinet.detection import timeline
from teinet.detection.events import Event, Rules
from teinet.detection.recording import Timeline
from teinet.errors import Interrupted
from teinet.utils.text import clock, count
from tests import miniatures
from tests.data.video.test_frames import film as write_film
from tests.data.video.test_frames import zero_packets

NAMES = ["resting", "left <to> right", "throw & catch"]


def save_weights(path: Path, names: list[str], *, causal: bool, seed: int) -> None:
    """Weights whose scores change within a film."""
    torch.manual_seed(seed)
    model = teinet.create_model("teinet_test_resnet", num_classes=3, num_frames=4, causal=causal)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.2)
    pixels = Preprocessing(size=32, short_side=32, mean=model.data_config["mean"], std=model.data_config["std"])
    header = {"frame_interval": 0.2, "license": "MIT"}
    teinet.Recognizer(model, names, preprocessing=pixels, header=header).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two films, and weights whose scores change in them."""
    folder = tmp_path_factory.mktemp("timeline")
    save_weights(folder / "weights.safetensors", NAMES, causal=True, seed=2)
    for kind in (3, 4):
        miniatures.write(folder / "films" / f"{kind}.mp4", kind, length=61, rate=10)
    (folder / "broken").mkdir()
    (folder / "broken" / "broken.mp4").write_bytes(b"no video")
    return folder


def words(place, *videos: str, **options: object) -> list[str]:
    rules = {"--threshold": 0.4, "--off-threshold": 0.2, "--min-duration": 0.2} | {
        f"--{k.replace('_', '-')}": v for k, v in options.items()
    }
    flat = [str(word) for pair in rules.items() for word in pair]
    return ["timeline", str(place / "weights.safetensors"), *[str(place / video) for video in videos], *flat]


def test_every_form_tells_the_same_events(place, capsys):
    recognizer = teinet.Recognizer.load(place / "weights.safetensors")
    want = timeline(
        recognizer, place / "films" / "3.mp4", rules=Rules(threshold=0.4, off_threshold=0.2, min_duration=0.2)
    ).events
    assert want
    assert main([*words(place, "films/3.mp4"), "--json"]) == 0
    said = capsys.readouterr()
    (found,) = json.loads(said.out)
    assert found["events"] == [event.to_dict() for event in want] and found["frame_interval"] == 0.2
    assert main(words(place, "films/3.mp4", output_format="csv")) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["label"], float(row["start"])) for row in rows] == [(e.label, round(e.start, 3)) for e in want]
    assert main(words(place, "films/3.mp4", output_format="vtt")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "WEBVTT" and sum("-->" in line for line in lines) == len(want)
    assert lines[2].startswith(f"{clock(want[0].start)} --> ")
    assert not any("<" in line for line in lines)
    assert main(words(place, "films/3.mp4")) == 0
    table = capsys.readouterr().out
    assert all(event.label in table and clock(event.start) in table for event in want)
    assert f"   {clock(6.1)}\n" in table  # how long the video lasts, next to its name


def test_a_faster_network_tells_the_same_events(place, monkeypatch, capsys):
    assert main([*words(place, "films"), "--json"]) == 0
    want = json.loads(capsys.readouterr().out)
    asked, optimize = [], teinet.Recognizer.optimize
    monkeypatch.setattr(teinet.Recognizer, "optimize", lambda self, **o: asked.append(o) or optimize(self, **o))
    assert main([*words(place, "films", engine="folded"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert asked == [{"engine": "folded", "precision": "auto"}]
    said = [[(e["label"], e["start"]) for video in videos for e in video["events"]] for videos in (found, want)]
    assert said[0] == said[1] and said[0]


@pytest.mark.parametrize(
    ("options", "flags", "parts"),
    [
        ({"threshold": 1.5}, [], ["threshold is 1.5; it must be 0 to 1"]),
        ({"background": "restin"}, [], ["Did you mean 'resting'"]),
        ({"frame_interval": 0}, [], ["frame_interval must be above 0"]),
        ({"scores": "s.txt"}, [], ["--scores s.txt ends in .txt; use .npz or .csv, or a folder that ends in /"]),
        ({"stride": 2, "output": "out.csv", "page": "pages/"}, [], ["stride (2) is for windows", "--windows"]),
        ({"smoothing": 2}, ["--windows"], ["smoothing (2) is for causal models"]),
    ],
)
def test_what_does_not_fit_is_one_line(place, tmp_path, monkeypatch, capsys, options, flags, parts):
    monkeypatch.chdir(tmp_path)
    assert main([*words(place, "films/3.mp4", **options), *flags]) == 2
    said = capsys.readouterr().err
    assert all(part in said for part in parts) and "Traceback" not in said and not Path("out.csv").exists()


@pytest.mark.parametrize("form", ["csv", "json", "vtt", "txt"])
def test_an_earlier_answer_stays_until_the_new_one_is_complete(place, tmp_path, monkeypatch, capsys, form):
    """The second look is stopped before its last film, which for subtitles is its only one."""
    films = ["films/4.mp4"] if form == "vtt" else ["films/3.mp4", "films/4.mp4"]
    output, look = tmp_path / f"out.{form}", teinet.detection.timeline_batch.timeline
    command = words(place, *films, output=output)

    def stopped(recognizer, video, **options):
        if video.name == "4.mp4":
            raise Interrupted("stopped")
        return look(recognizer, video, **options)

    output.write_text("of an earlier day")
    assert main(command) == 2 and f"{output} exists; --overwrite replaces it" in capsys.readouterr().err
    monkeypatch.setattr(teinet.detection.timeline_batch, "timeline", stopped)
    assert main([*command, "--overwrite"]) == 130
    said = capsys.readouterr().err
    kept = "" if form == "vtt" else "; the same command without --overwrite continues with the others"
    assert f"stopped after {len(films) - 1} of {count(len(films), 'video')}{kept}\n" in said
    assert output.read_text() == "of an earlier day"
    monkeypatch.undo()
    assert main(command if kept else [*command, "--overwrite"]) == 0
    assert f"wrote {output}" in capsys.readouterr().err
    assert "4.mp4" in output.read_text() or form == "vtt"
    assert sorted(tmp_path.iterdir()) == [output]
    whole = output.read_text()
    again = [*words(place, "broken/broken.mp4", output=output), "--overwrite"]
    assert main(again) == 1  # nothing was found: nothing is lost
    assert main([*words(place, *films, output=output, frame_interval=-1), "--overwrite"]) == 2
    assert output.read_text() == whole and sorted(tmp_path.iterdir()) == [output]


def test_other_settings_do_not_continue_what_was_stopped(place, tmp_path, monkeypatch, capsys):
    output, real, looked = tmp_path / "out.csv", teinet.detection.timeline_batch.timeline, []

    def stopped(recognizer, video, **options):
        looked.append(video.name)
        if video.name == "4.mp4":
            options["progress"] = lambda second: options["stop"].set()
        return real(recognizer, video, **options)

    monkeypatch.setattr(teinet.detection.timeline_batch, "timeline", stopped)
    films = ("films/3.mp4", "films/4.mp4")
    for more, again in (
        ([], True),
        ([], False),
        (["--frame-interval", "0.3"], True),
        ([], False),
        (["--overwrite"], True),
    ):
        assert main([*words(place, *films, output=output), *more]) == 130
        assert looked == ["3.mp4", "4.mp4"][not again :]
        assert ("finished before: 1 of 2 videos" in capsys.readouterr().err) is not again
        looked.clear()
    monkeypatch.undo()
    assert main(words(place, *films, output=output)) == 0 and sorted(tmp_path.iterdir()) == [output]


def test_an_answer_can_go_to_what_is_no_file(place, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.csv")
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "pipe.csv").read_text()), daemon=True)
    reader.start()
    assert main(words(place, "films/3.mp4", output=tmp_path / "pipe.csv")) == 0
    reader.join(10)
    assert heard[0].startswith("path,start,end") and "3.mp4" in heard[0]


def test_a_name_that_links_elsewhere_stays_a_link(place, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "out.csv").symlink_to(tmp_path / "there" / "real.csv")
    for more in ([], ["--overwrite"]):
        assert main([*words(place, "films/3.mp4", output=tmp_path / "out.csv"), *more]) == 0
    assert (tmp_path / "out.csv").is_symlink() and "3.mp4" in (tmp_path / "there" / "real.csv").read_text()


def test_subtitles_begin_as_they_must_also_without_a_cue(place, capsys):
    assert main(words(place, "broken/broken.mp4", output_format="vtt")) == 1
    assert capsys.readouterr().out == "WEBVTT\n"


def subtitles(*spans: tuple[float, float], label: str = "a") -> list[str]:
    """The lines of subtitles about events of these seconds."""
    events = tuple(Event(label=label, start=start, end=end, score=0.5, peak=1.0) for start, end in spans)
    rows = {"intervals": np.zeros((0, 2)), "scores": np.zeros((0, 1)), "resets": np.zeros(0, bool)}
    write_vtt(Timeline(path="a", class_names=(label,), events=events, frame_interval=1, **rows), out := io.StringIO())
    return out.getvalue().splitlines()


def test_subtitles_are_in_order_of_their_start():
    """Times ran backwards after 6 s; an event of no length lasts a millisecond."""
    assert [line for line in subtitles((5.0, 6.0), (1.0, 2.5), (3.0, 3.0)) if "-->" in line] == [
        "00:00:01.000 --> 00:00:02.500",
        "00:00:03.000 --> 00:00:03.001",
        "00:00:05.000 --> 00:00:06.000",
    ]


def test_a_label_of_several_lines_ends_no_cue():
    assert subtitles((1.0, 2.0), label="one\n\nNOTE <b>two</b> & --> \x1b[1m") == [
        "",
        "00:00:01.000 --> 00:00:02.000",
        "one NOTE &lt;b&gt;two&lt;/b&gt; &amp; --&gt; ?[1m 50 %",
    ]


def test_what_the_weights_call_nothing_can_be_asked_for(place, tmp_path, capsys):
    recognizer = teinet.Recognizer.load(place / "weights.safetensors")
    recognizer.header["background"] = NAMES
    recognizer.save(tmp_path / "quiet.safetensors")
    said = []
    for more in ((), ("--background", ""), ("--background", NAMES[1])):
        rest = words(place, "films/3.mp4")[2:]
        assert main(["timeline", str(tmp_path / "quiet.safetensors"), *rest, "--json", *more]) == 0
        said.append({event["label"] for event in json.loads(capsys.readouterr().out)[0]["events"]})
    assert said[1] and said[0] == set() and not said[2] & {NAMES[1]} and said[1] - {NAMES[1]} <= said[2]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_wrong_with_a_recording_is_said_everywhere(place, tmp_path, capsys, workers):
    """A second film's packets are zeros in two places; the first one is whole."""
    film = zero_packets(write_film(tmp_path / "broken.avi", "mjpeg", {}, pixels="yuvj420p"), (10, 40))
    assert main([*words(place, "films/3.mp4", film, page=f"{tmp_path}/pages/", workers=workers), "--json"]) == 0
    said = capsys.readouterr()
    line = "2 packets could not be decoded whole"
    assert [text for text in said.err.splitlines() if "broken" in text] == [f"{film}: {line}"]
    assert "3.mp4" not in said.err
    whole, broken = json.loads(said.out)
    assert (whole["broken"], broken["broken"], broken["restarts"], broken["resizes"]) == (0, 2, 0, 0)
    assert broken["stated_duration"] is None and broken["end_time"] == pytest.approx(6.0, abs=0.01)
    assert line in (tmp_path / "pages" / "broken.html").read_text()
    assert (tmp_path / "pages" / "index.html").read_text().count(line) == 1
    assert "could not be decoded" not in (tmp_path / "pages" / "3.html").read_text()


def test_two_videos_have_subtitles_each(place, tmp_path, capsys):
    assert main(words(place, "films", output_format="vtt")) == 2
    assert "--output is one file, but there are 2 videos; name a folder: --output FOLDER/" in capsys.readouterr().err
    assert main(words(place, "films", output=tmp_path / "both.vtt")) == 2
    assert "both.vtt is one file, but there are 2 videos" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(words(place, "films", output_format="vtt", output=tmp_path / "cues")) == 0
    table = capsys.readouterr().out
    assert "3.mp4" in table and "4.mp4" in table
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["3.vtt", "4.vtt", "cues"]
    assert main(words(place, "films/3.mp4", output_format="vtt", output=f"{tmp_path}/one/")) == 0
    assert (tmp_path / "one" / "3.vtt").read_text() == (tmp_path / "cues" / "3.vtt").read_text()


def test_files_of_one_name_are_numbered_and_spare_the_index():
    videos = [Path(name) for name in ("a/x.mp4", "b/x.mp4", "X.avi", "index.mp4", "x-2.mp4")]
    assert unique_names(videos) == ["x", "x-2", "X-3", "index-2", "x-2-2"]
    long = [Path(folder) / f"{'漢' * 82}.mp4" for folder in "ab"]  # 250 bytes
    one, two = unique_names(long)
    assert one != two and one.startswith("漢" * 60) and two.startswith("漢" * 60)
    assert all(len(f".{name}.html.part".encode()) <= 255 for name in (one, two))
