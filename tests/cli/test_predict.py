"""`teinet predict` as a user meets it: the table, JSON, CSV, exit codes, and a bad file among good ones."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from teinet.cli import predict
from teinet.cli.main import main
from teinet.cli.parser import Command
from teinet.data.transforms import Preprocessing
from teinet.data.video.writer import write_video
from teinet.errors import CheckpointError, ConfigError
from teinet.models.factory import create_model
from teinet.recognition import Recognizer
from tests import miniatures
from tests.networks import wake

NAMES = ["Pushing [something]", "Pulling [something]", "Nothing"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    torch.manual_seed(0)
    model = wake(create_model("tsm_resnet10t", num_classes=3, num_frames=2))
    pixels = Preprocessing(size=32, short_side=32, **model.data_config)
    Recognizer(model, NAMES, preprocessing=pixels).save(folder / "net.safetensors")
    rng = np.random.default_rng(0)
    (folder / "videos").mkdir()
    for name in ("good2", "good10"):
        write_video(folder / "videos" / f"{name}.mp4", rng.integers(0, 256, (6, 32, 48, 3), dtype=np.uint8), 10)
    (folder / "videos" / "bad3.mp4").write_text("no video at all")
    return folder


def call(*words) -> int:
    return predict.run(Command(predict.run).parse("predict", [str(word) for word in words]))


def test_json_over_a_folder_with_a_broken_file(place, capsys):
    code = call(place / "net.safetensors", place / "videos", "--json", "--top-k", "2")
    out, err = capsys.readouterr()
    answers = json.loads(out)
    assert code == 1
    assert [answer["path"].rsplit("/")[-1] for answer in answers] == ["bad3.mp4", "good2.mp4", "good10.mp4"]
    assert answers[0]["error"] and answers[0]["labels"] == []
    assert answers[1]["frame_indices"] == [[1, 4]] and answers[1]["times"] == [[0.1, 0.4]]
    assert answers[1]["error"] is None and len(answers[1]["labels"]) == 2
    assert {label["name"] for label in answers[1]["labels"]} < set(NAMES)
    assert len(err.strip().splitlines()) == 1 and "unreadable: 1 of 3 videos" in err


def test_json_holds_the_scores_unrounded(place, capsys):
    video = place / "videos" / "good2.mp4"
    assert call(place / "net.safetensors", video, "--json", "--top-k", "3") == 0
    (answer,) = json.loads(capsys.readouterr().out)
    own = Recognizer.load(place / "net.safetensors")(video, top_k=3)
    assert [(label["name"], label["score"]) for label in answer["labels"]] == list(own.labels)
    assert sorted(label["score"] for label in answer["labels"]) == sorted(own.scores.tolist())


def test_csv_has_a_row_for_each_class_and_one_for_each_error(place, capsys):
    how = ("--output-format", "csv", "--top-k", "3", "--views", "2x3")
    assert call(place / "net.safetensors", place / "videos", *how) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["rank"] for row in rows] == ["", "1", "2", "3", "1", "2", "3"]
    assert sum(float(row["score"]) for row in rows[1:4]) == pytest.approx(1, abs=1e-5)
    assert rows[0]["error"] and not rows[1]["error"]


def test_the_table_shows_names_with_brackets_and_times(place, capsys):
    assert call(place / "net.safetensors", place / "videos" / "good2.mp4") == 0
    out, err = capsys.readouterr()
    assert err == "" and all(name in out for name in NAMES)
    assert f"{place / 'videos' / 'good2.mp4'}   0.10 - 0.40 s" in out  # however narrow the terminal, in one piece


def test_a_span_in_seconds(place, capsys):
    video = place / "videos" / "good2.mp4"
    assert call(place / "net.safetensors", video, "--json", "--start", "0.2", "--end", "0.4") == 0
    answer = json.loads(capsys.readouterr().out)[0]
    assert answer["num_frames"] == 2 and answer["frame_indices"] == [[2, 3]]


def test_output_files_take_their_form_from_the_suffix(place, tmp_path, capsys):
    video = place / "videos" / "good2.mp4"
    for name in ("a.json", "a.csv", "a.txt"):
        assert call(place / "net.safetensors", video, "--output", tmp_path / name) == 0
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "a.json").read_text())[0]["path"] == str(video)
    assert (tmp_path / "a.csv").read_text().startswith("path,rank,label,score")
    assert "Nothing" in (tmp_path / "a.txt").read_text()


def test_an_output_has_its_name_only_when_it_is_whole(place, tmp_path, monkeypatch):
    def cut(self, videos, **settings):
        for answer in own(self, videos, **settings):
            yield answer
            assert not output.exists()

    own, output = Recognizer.predict_many, tmp_path / "a.csv"
    monkeypatch.setattr(Recognizer, "predict_many", cut)
    assert call(place / "net.safetensors", place / "videos", "--output", output) == 1
    before = output.read_text()
    with pytest.raises(ConfigError, match="exists; --overwrite replaces it"):
        call(place / "net.safetensors", place / "videos" / "good2.mp4", "--output", output)
    assert output.read_text() == before


def test_usage_errors_come_before_any_work(place, tmp_path):
    weights, video = place / "net.safetensors", place / "videos" / "good2.mp4"
    with pytest.raises(ConfigError, match="gone"):
        call(weights, tmp_path / "gone*.mp4")
    with pytest.raises(ConfigError, match="cannot be written"):
        call(weights, video, "--output", tmp_path / "no" / "a.json")
    with pytest.raises(CheckpointError, match="no such file or run folder"):
        call(tmp_path / "gone.safetensors", video)
    with pytest.raises(CheckpointError, match=r"Did you mean '.*net.safetensors'"):
        call(place / "nett.safetensors", video)
    with pytest.raises(CheckpointError, match="this is a video, not weights; name the weights first"):
        call(video, video)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a mistake of ours")])
def test_an_end_before_time_loses_no_answer(place, tmp_path, capsys, monkeypatch, error):
    whole = Recognizer.predict_many

    def broken(self, videos, **settings):
        yield next(iter(whole(self, videos[1:2], **settings)))
        raise error

    monkeypatch.setattr(Recognizer, "predict_many", broken)
    words = (place / "net.safetensors", place / "videos", "--output", tmp_path / "answers.json")
    if isinstance(error, RuntimeError):
        with pytest.raises(RuntimeError, match="a mistake of ours"):
            call(*words)
    else:
        assert call(*words) == 130 and "1 of 3" in capsys.readouterr().err
    (answer,) = json.loads((tmp_path / "answers.json").read_text())
    assert answer["path"].endswith("good2.mp4")


def test_a_pattern_without_videos_does_not_stop_the_others(place, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    video = place / "videos" / "good2.mp4"
    assert call(place / "net.safetensors", tmp_path / "empty", video, tmp_path / "gone*.mp4") == 1
    out, err = capsys.readouterr()
    assert str(video) in out and "no videos in this folder" in err and "no file matches" in err


def test_a_network_whose_scores_are_no_numbers_is_said(place, tmp_path, capsys):
    recognizer = Recognizer.load(place / "net.safetensors")
    recognizer.model.head.weight.data.fill_(float("nan"))
    recognizer.save(tmp_path / "nan.safetensors")
    for form in ((), ("--json",), ("--output-format", "csv")):
        assert call(tmp_path / "nan.safetensors", place / "videos" / "good2.mp4", *form) == 1
        out, err = capsys.readouterr()
        assert "unreadable: 1 of 1 video;" in err and "not finite" in out
        if form == ("--json",):
            json.loads(out)


def test_a_damaged_video_is_answered_and_named(place, tmp_path, capsys):
    """The last of 100 frames are missing."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    path = miniatures.encode(tmp_path / "cut.mp4", noise, options={"g": "1"}, container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(0.95 * path.stat().st_size)])
    assert call(place / "net.safetensors", path, "--json") == 0
    out, err = capsys.readouterr()
    (answer,) = json.loads(out)
    assert 90 <= answer["num_frames"] < 98 and answer["error"] is None
    assert answer["damage"].startswith(f"{100 - answer['num_frames']} of 100 frames cannot be decoded whole (cut off: ")
    assert err.splitlines() == [f"{path}: {answer['damage']}"]
    assert call(place / "net.safetensors", path, "--json", "--max-damaged", "0.01") == 1
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["error"].startswith("cut off: frame ") and answer["damage"] is None
    with pytest.raises(ConfigError, match="--max-damaged is -1"):
        call(place / "net.safetensors", path, "--max-damaged", "-1")


@pytest.mark.parametrize("command", ["predict", "explain", "timeline"])
def test_one_frame_is_said_to_have_no_motion(place, tmp_path, capsys, caplog, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48), (9, 80, 40)).save("image.jpg")
    said = "only one frame, so no motion to see"
    assert main([command, "motion_pairs", "image.jpg"]) == 0
    assert f"image.jpg: {said}" in capsys.readouterr().err + caplog.text
    caplog.clear()
    assert main([command, "motion_pairs", str(place / "videos" / "good2.mp4")]) == 0
    assert said not in capsys.readouterr().err + caplog.text


@pytest.mark.parametrize(("epoch", "said"), [(2, "run: stopped at 2 of 30 epochs\n"), (30, "")])
def test_weights_of_an_unfinished_run_are_said_to_be(place, tmp_path, capsys, monkeypatch, epoch, said):
    monkeypatch.chdir(tmp_path)
    recognizer = Recognizer.load(place / "net.safetensors", device="cpu")
    recognizer.header |= {"recipe": {"optim": {"epochs": 30}}, "scores": {"epoch": epoch}}
    recognizer.save("run/last.safetensors")
    assert call("run", place / "videos" / "good2.mp4") == 0
    assert capsys.readouterr().err == said
