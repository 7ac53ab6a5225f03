"""Commands with files in an S3 server: they answer as with local files, and say how many bytes they read."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from teinet.cli.main import main
from teinet.data.transforms import Preprocessing
from teinet.models.factory import create_model
from teinet.models.header import read_header
from teinet.recognition import Recognizer
from tests.conftest import CLASSES
from tests.networks import wake
from tests.stores import clear_cache, s3_server

SMALL = (
    "--model.name tsm_resnet10t --model.pretrained false --frames 2 --size 32 --device cpu --batch-size 4 --output . "
    "--run.tests [1x1]"
).split()


@pytest.fixture(scope="module")
def s3():
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def bucket(s3, clips) -> str:
    return s3.put(clips, "videos")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = wake(create_model("tsm_resnet10t", num_classes=3, num_frames=2, causal=True))
    pixels = Preprocessing(size=32, short_side=32, **model.data_config)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    Recognizer(model, list(CLASSES), preprocessing=pixels, header={"frame_interval": 0.1}).save(path)
    return path


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path / "own-cache"))
    clear_cache()


def run(capsys, *words: object, code: int = 0) -> tuple[str, str]:
    assert main([str(word) for word in words]) == code, capsys.readouterr().err
    return capsys.readouterr()


def without_places(text: str, *roots: object) -> str:
    for root in roots:
        text = text.replace(str(root), "")
    return text


@pytest.mark.parametrize("command", ["predict", "timeline"])
def test_answers_for_a_prefix_are_those_for_the_folder(command, bucket, clips, weights, capsys):
    local, _ = run(capsys, command, weights, clips, "--json")
    remote, said = run(capsys, command, weights, bucket, "--json")
    assert without_places(local, clips) == without_places(remote, bucket)
    size = sum(path.stat().st_size for path in clips.rglob("*.mp4"))
    assert f"read {size / 1e3:.1f} kB in 12 requests from stores" in said
    if command == "predict":
        again, said = run(capsys, command, weights, f"{bucket}/resting/*.mp4", "--json")
        assert len(json.loads(again)) == 4 and "from stores" not in said  # they are in the cache


def test_embed_and_the_csv_name_addresses(bucket, weights, capsys):
    run(capsys, "predict", weights, f"{bucket}/resting/0.mp4", "--output", "answers.csv")
    assert next(csv.DictReader(open("answers.csv")))["path"] == f"{bucket}/resting/0.mp4"
    run(capsys, "embed", weights, f"{bucket}/resting", "--output", "features.npz")


def test_scores_are_those_of_the_folder(bucket, clips, weights, capsys):
    words = ("--json", "--workers", "0", "--split", "train", "--output")
    local, _ = run(capsys, "test", weights, "--data", clips, *words, "local")
    remote, said = run(capsys, "test", weights, "--data", bucket, *words, "remote")
    assert json.loads(local) == json.loads(remote) and "from stores" in said


def test_a_check_names_broken_objects_and_continues(s3, bucket, clips, tmp_path, capsys):
    (tmp_path / "broken.mp4").write_bytes((clips / "resting" / "0.mp4").read_bytes()[:2000])
    s3.put(clips, "checked")
    s3.put(tmp_path / "broken.mp4", "checked/resting/9.mp4")
    out, _ = run(capsys, "data", "check", "s3://bucket/checked", "--workers", "1", code=1)
    assert "12 ok, 1 broken" in out
    assert {row["path"]: row["status"] for row in csv.DictReader(open("checked-check.csv"))}[
        "s3://bucket/checked/resting/9.mp4"
    ] == "broken"
    out, _ = run(capsys, "data", "check", "s3://bucket/checked", "--workers", "1", code=1)
    assert re.search(r"\(1[23] known from an earlier check\)", out)


def test_a_run_trains_from_a_bucket_as_from_a_folder_and_resumes(bucket, clips, capsys):
    for name, data, workers in (("local", clips, 0), ("remote", bucket, 2)):
        _, said = run(capsys, "train", data, *SMALL, "--epochs", "1", "--workers", workers, "--name", name)
    assert "kB in 12 requests from stores" in said
    local, remote = (read_header(Path(name, "last.safetensors")) for name in ("local", "remote"))
    assert local["data"] == remote["data"] and remote["recipe"]["data"]["path"] == bucket
    tensors = [load_file(Path(name, "last.safetensors")) for name in ("local", "remote")]
    assert all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())
    run(capsys, "train", "--resume", "remote", "--epochs", "2", "--workers", "0")
    assert not torch.equal(load_file("remote/last.safetensors")["fc.weight"], tensors[0]["fc.weight"])


def test_a_run_trains_from_shards_in_a_bucket(s3, clips, capsys):
    run(capsys, "data", "shard", clips, "--output", "out", "--workers", "0")
    address = s3.put(Path("out"), "shards")
    _, said = run(capsys, "train", address, *SMALL, "--epochs", "2", "--workers", "1", "--name", "x")
    size = sum(Path("out", name).stat().st_size for name in ("shards.json", "shard-000000.tar"))
    read = float(re.search(r"read ([\d.]+) kB in \d+ requests from stores", said)[1])
    assert size / 1e3 <= read < 1.5 * size / 1e3  # once, but for one clip of each process
    out, _ = run(capsys, "test", "x", "--json", "--workers", "0", "--overwrite")
    assert "top1" in json.loads(out)


def test_shards_are_written_from_a_bucket(bucket, clips, capsys):
    run(capsys, "data", "shard", bucket, "--output", "out", "--workers", "0")
    run(capsys, "data", "shard", clips, "--output", "local", "--workers", "0")
    assert Path("out/shard-000000.tar").read_bytes() == Path("local/shard-000000.tar").read_bytes()
