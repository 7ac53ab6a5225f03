"""Two streams as a user meets them: a network of RGB frames and one of optical flow on the same folders."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from teinet.cli.main import main
from teinet.evaluation.scores import Scores
from teinet.recognition import Recognizer
from tests import miniatures

IMAGES = "img_%05d.jpg"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Clips of a square that moves left or right, with their flow, and a trained network of each modality."""
    root = tmp_path_factory.mktemp("streams")
    for label, speed in (("left", -2), ("right", 2)):
        for number in range(6):
            miniatures.flow(root / "clips" / label / f"{label}{number}", speed, length=9 + number % 3)
    words = (
        *("train", root / "clips", "--model", "tsm_resnet10t", "--model.pretrained", "false", "--frames", 2),
        *("--size", 32, "--batch-size", 4, "--workers", 0, "--device", "cpu", "--data.val_share", 0.34, "--lr", 0.05),
        *("--output", root),
    )
    more = (("--modality", "flow", "--name", "flow", "--epochs", 8, "--clip.hflip", "auto", "--optim.recompute_bn", 4),
            ("--image-names", IMAGES, "--name", "rgb", "--epochs", 1))  # fmt: skip
    for own in more:
        assert main([str(word) for word in (*words, *own)]) == 0
    return root


def test_the_flow_network_learns_the_direction_and_its_file_knows_that_it_sees_flow(place, capsys):
    clips = [place / "clips" / label / f"{label}{n}" for label in ("left", "right") for n in range(6)]
    assert main(["predict", str(place / "flow"), *map(str, clips), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    named = [answer["labels"][0]["name"] for answer in answers]
    assert named == ["left"] * 6 + ["right"] * 6  # flips exchanged the classes too
    assert answers[0]["num_frames"] == 4  # of 9 images
    recognizer = Recognizer.load(place / "flow")
    assert recognizer.preprocessing.modality == "flow" and recognizer.model.num_channels == 10
    assert recognizer.header["recipe"]["model"]["modality"] == "flow"
    assert main(["info", str(place / "flow")]) == 0 and "flow" in capsys.readouterr().out


def test_an_ensemble_averages_the_two_streams_over_the_same_clips(place, capsys):
    rgb, flow = str(place / "rgb"), str(place / "flow")
    assert main(["test", rgb, flow, "--workers", "0", "--json"]) == 0
    one, two, both = (Scores.load(place / name / "test-1x1") for name in ("rgb", "flow", "rgb+flow"))
    assert len(both) == 4 and both.num_unreadable == 0
    np.testing.assert_allclose(both.probabilities, (one.probabilities + two.probabilities) / 2, atol=1e-6)
    assert one.paths[0].endswith(IMAGES) and not two.paths[0].endswith(IMAGES)  # matched by their folders
    assert [path.rpartition("/")[0] for path in one.paths] == list(two.paths)


def test_a_clip_without_flow_has_one_line(place, tmp_path, capsys):
    shutil.copytree(place / "clips", tmp_path / "clips")
    for image in (tmp_path / "clips" / "left" / "left1").glob("flow_*"):
        image.unlink()
    words = ["--data", str(tmp_path / "clips"), "--image-names", IMAGES, "--workers", "0", "--json"]
    code = main(["test", str(place / "rgb"), str(place / "flow"), *words, "--output", str(tmp_path / "both")])
    scores = Scores.load(tmp_path / "both")
    assert code == 1 and len(scores) == 12
    assert [reason for reason in scores.reasons if reason] == [
        "it has no flow images; a flow network reads folders with pairs of images such as flow_x_00001.jpg and "
        "flow_y_00001.jpg"
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("watch", "WEIGHTS", "VIDEO"), "live video and recordings have no optical flow; a flow network reads"),
        (("timeline", "WEIGHTS", "VIDEO"), "live video and recordings have no optical flow; a flow network reads"),
        (("explain", "WEIGHTS", "VIDEO"), "maps are drawn on RGB frames; a flow network reads"),
        (("train", "CLIPS", "--weights", "WEIGHTS", "--modality", "rgb"), "cannot start one of modality rgb"),
        (("train", "CLIPS", "--model", "s3d", "--modality", "flow"), "s3d takes RGB frames"),
    ],
)
def test_what_has_no_flow_is_refused_in_one_line(place, tmp_path, capsys, words, says):
    video = miniatures.write(tmp_path / "a.mp4", 0)
    names = {"WEIGHTS": place / "flow", "VIDEO": video, "CLIPS": place / "clips"}
    assert main([str(names.get(word, word)) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and says in lines[0]


def test_a_video_file_is_no_flow(place, tmp_path, capsys):
    assert main(["predict", str(place / "flow"), str(miniatures.write(tmp_path / "a.mp4", 0)), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["error"].startswith("no folder; a flow network reads folders")
