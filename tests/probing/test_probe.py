"""`teinet probe` on drawn clips: features kept, the recognizer that it writes, files that cannot be read."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from statistics import mean

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import teinet
from teinet.cli import probe as cli
from teinet.cli.main import main
from teinet.cli.parser import Command
from teinet.data.lists.data_config import DataConfig
from teinet.errors import ConfigError
from teinet.models.header import read_header
from teinet.probing.probe_job import ProbeSettings, probe, vectors
from teinet.recognition import Recognizer
from tests.conftest import CLASSES

SMALL = {"num_frames": 4, "size": (64, 80), "shuffles": 2, "folds": 2}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> str:
    """Random weights of a small network, under timm's keys."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("backbone") / "resnet10t.safetensors"
    state = teinet.create_model("tsn_resnet10t", num_classes=5).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, file)
    return str(file)


@pytest.fixture
def settings(clips, backbone, tmp_path, monkeypatch) -> ProbeSettings:
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path / "cache"))
    data = DataConfig(path=str(clips))
    return ProbeSettings(data=data, backbone="resnet10t", backbone_weights=backbone, device="cpu", **SMALL)


def words(settings: ProbeSettings, output, *more) -> list[str]:
    given = [
        *("probe", settings.data.path, "--backbone", "resnet10t", "--backbone-weights", settings.backbone_weights),
        *(
            "--frames",
            4,
            "--frame-size",
            "64x80",
            "--folds",
            2,
            "--shuffles",
            2,
            "--workers",
            0,
            "--output",
            output,
            *more,
        ),
    ]
    return [str(word) for word in given]


def test_the_file_answers_as_the_head_that_was_fitted(settings, clips, tmp_path):
    found = probe(settings)
    found.recognizer.save(tmp_path / "probe.safetensors")
    again = Recognizer.load(tmp_path / "probe.safetensors", "cpu")
    assert again.class_names == CLASSES and again.preprocessing.shape == (64, 80)
    assert again.model.config["consensus"] == (found.comparison.chosen.head)
    right = 0
    for label in CLASSES:
        for number in range(4):
            right += again(str(clips / label / f"{number}.mp4")).label == label
    assert right >= 11  # the clips that it was fitted on
    header = read_header(tmp_path / "probe.safetensors")
    assert header["scores"]["folds_top1"] == pytest.approx(mean(found.comparison.nested), abs=1e-6)
    assert f"{100 * mean(found.comparison.nested):.1f} %" in header["card"]["figures"]
    assert header["data"]["train"]["clips"] == 12 and str(clips) not in json.dumps(header)


@pytest.mark.parametrize("head", ["average", "motion", "temporal", "difference", "temporal_difference"])
def test_each_head_becomes_a_network_with_its_logits(settings, clips, head):
    found = probe(ProbeSettings(**{**vars(settings), "heads": [head]}))
    recognizer = found.recognizer
    features = vectors(head, found.features.values, differences="difference" in head)
    model = recognizer.model
    layer = model.head.fc if head not in ("average", "motion") else model.head
    want = features @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    paths = [clips / label / f"{number}.mp4" for label in CLASSES for number in range(4)]
    got = np.concatenate([recognizer.logits(recognizer.decode(str(path)).frames) for path in paths])
    np.testing.assert_allclose(got, want, atol=0.02 * np.abs(want).max())  # features are kept in float16


def test_features_are_computed_once_and_again_where_a_file_changed(settings, clips, tmp_path):
    copy = tmp_path / "clips"
    shutil.copytree(clips, copy)
    settings.data = DataConfig(path=str(copy))
    first = probe(settings)
    again = probe(settings)
    assert (first.features.known, again.features.known) == (0, 12)
    np.testing.assert_array_equal(first.features.values, again.features.values)
    assert again.comparison.nested == first.comparison.nested
    shutil.copy(copy / CLASSES[0] / "0.mp4", copy / CLASSES[1] / "0.mp4")
    changed = probe(settings)
    assert changed.features.known == 11
    np.testing.assert_array_equal(changed.features.values[4], changed.features.values[0])
    settings.num_frames = 3
    assert probe(settings).features.known == 0


def test_processes_give_the_features_of_this_one(settings, tmp_path, monkeypatch):
    here = probe(settings)
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path / "other"))
    settings.workers = 2
    there = probe(settings)
    assert there.features.known == 0
    np.testing.assert_allclose(there.features.values, here.features.values, rtol=2e-3, atol=2e-3)


def test_two_commands_may_compute_the_same_features_at_once(settings, clips, tmp_path):
    code = (
        "import sys, time\n"
        "from teinet.cli.main import main\n"
        "from teinet.utils import files\n"
        "files.to_disk = lambda *_: time.sleep(0.1)\n"  # a slow disk: both have written before either is done
        "sys.exit(main(sys.argv[1:]))"
    )
    commands = [words(settings, tmp_path / f"{name}.safetensors") for name in "ab"]
    started = [
        subprocess.Popen([sys.executable, "-c", code, *command], stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process in started:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    files = [path for path in (tmp_path / "cache" / "features").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".npy", ".safetensors"}
    one, other = (read_header(tmp_path / f"{name}.safetensors")["scores"] for name in "ab")
    assert one == other


def test_clips_of_a_test_split_choose_nothing_and_are_tested_on(settings, clips, tmp_path):
    rows = [(f"{label}/{n}.mp4", label, "test" if n == 3 else "train") for label in CLASSES for n in range(4)]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    settings.data = DataConfig(path=str(tmp_path / "list.csv"), root=str(clips))
    found = probe(settings)
    assert len(found.labels) == 9 and found.test_features is not None
    said = [found.recognizer(str(clips / path)).label for path, _, split in rows if split == "test"]
    assert found.test_accuracy == pytest.approx(sum(a == b for a, b in zip(said, CLASSES)) / 3)


def test_the_command_prints_what_it_found_and_why_a_clip_is_left_out(settings, clips, tmp_path, capsys):
    copy = tmp_path / "clips"
    shutil.copytree(clips, copy)
    (copy / CLASSES[2] / "9.mp4").write_text("no video")
    settings.data = DataConfig(path=str(copy))
    output = tmp_path / "mine.safetensors"
    assert main(words(settings, output, "--json")) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["clips"] == 12 and told["classes"] == 3 and len(told["candidates"]) == 20
    assert [each["path"] for each in told["unreadable"]] == [str(copy / CLASSES[2] / "9.mp4")]
    assert "9.mp4: " in err and "unreadable: 1 clip, left out" in err
    assert sum(each["chosen"] for each in told["candidates"]) == 1
    assert main(words(settings, output)) == 2
    assert "exists; --overwrite replaces it" in capsys.readouterr().err
    (copy / CLASSES[2] / "9.mp4").unlink()
    assert main(words(settings, output, "--overwrite", "--head", "motion")) == 0
    out, _ = capsys.readouterr()
    assert "12 clips of 3 classes; 2 folds" in out and "chosen" in out and "temporal" not in out
    assert "by class:" in out and f"wrote {output}" in out
    assert main(["predict", str(output), str(copy / CLASSES[0] / "1.mp4")]) == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--frames", 1), "--frames is 1; it must be at least 2"),
        (
            ("--head", "middle"),
            "heads are some of average, motion, temporal, difference, temporal_difference; got middle",
        ),
        (("--frame-size", "tall"), "write height x width in pixels"),
        (("--backbone", "resnet11t"), "Did you mean"),
        (("--group", "person"), "no column 'person'"),
        (("--output", "x.csv"), "it must be .safetensors"),
    ],
)
def test_a_wrong_option_is_one_line(settings, tmp_path, capsys, more, says):
    assert main(words(settings, tmp_path / "p.safetensors", *more)) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("teinet")]
    assert says in line


def test_nothing_to_fit_on_is_said(settings, clips, tmp_path):
    settings.data = DataConfig(path=str(clips / CLASSES[0]))
    with pytest.raises((ConfigError, teinet.errors.AnnotationError)):
        probe(settings)
    assert Command(cli.run).parse("probe", ["x"]).output == "probe.safetensors"


def test_fights_by_source(shared, tmp_path, monkeypatch):
    """Motion beats looks on real fights; a tenth of the clips is enough to see that the whole path works."""
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path))
    with (shared / "data/fights/clips.csv").open() as file:
        rows = list(csv.DictReader(file))[::10]
    with (tmp_path / "some.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    data = DataConfig(path=str(tmp_path / "some.csv"), root=str(shared / "data/fights"), group="source_video")
    found = probe(
        ProbeSettings(
            data=data,
            num_frames=4,
            shuffles=1,
            folds=3,
            device="cpu",
            backbone_weights=str(shared / "weights/tf_efficientnet_lite0.in1k.safetensors"),
        )
    )
    assert found.groups > 3 and len(found.labels) == len(rows) and not found.unreadable
    assert found.recognizer.preprocessing.shape == (120, 213) and set(found.recall()) == {"fight", "noFight"}
