"""Features of videos: what the head takes, in Python and by `teinet embed`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import teinet
from teinet.cli.main import main
from teinet.data.transforms import Preprocessing
from teinet.errors import ConfigError, VideoError
from teinet.models.classifier import as_clips
from teinet.recognition import Recognizer
from tests.conftest import CLASSES


def recognizer(name: str = "teinet_resnet10t", frames: int = 4, size: int = 48, **how) -> Recognizer:
    torch.manual_seed(0)
    model = teinet.create_model(name, num_classes=3, num_frames=frames, **how)
    return Recognizer(model, CLASSES, preprocessing=Preprocessing(size=size, short_side=size, **model.data_config))


@pytest.mark.parametrize("consensus", [None, "motion", "difference"])
def test_the_heads_layer_on_them_gives_the_logits(clips, consensus):
    mine, path = recognizer(consensus=consensus), str(clips / CLASSES[0] / "0.mp4")
    head = mine.model.head.fc if consensus == "difference" else mine.model.head
    vector = torch.from_numpy(mine.embed(path))
    want = torch.nn.functional.linear(vector, head.weight, head.bias)
    got = torch.from_numpy(mine.logits(mine.decode(path).frames))[0]
    torch.testing.assert_close(got, want.detach(), rtol=1e-4, atol=1e-6)


def test_they_are_timms_pooled_features(clips):
    mine, path = recognizer("tsn_resnet10t"), str(clips / CLASSES[1] / "2.mp4")
    views = mine.decode(path).frames
    with torch.no_grad():
        maps = mine.model.cnn.forward_features(mine.model._frames(as_clips(views)))
    np.testing.assert_allclose(mine.embed(path), maps.mean((0, 2, 3)).numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["slowfast_resnet50_4x16", "trn_resnet10t"])
def test_networks_with_one_answer_a_clip_have_them_too(name):
    mine = recognizer(name, frames=32 if "slow" in name else 4, size=64)
    frames = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    vector = mine.embed(frames)
    assert vector.ndim == 1 and len(vector) > 100 and np.isfinite(vector).all()


def test_several_videos_views_and_a_broken_file(clips, tmp_path):
    mine, path = recognizer(), str(clips / CLASSES[0] / "0.mp4")
    (bad := tmp_path / "bad.mp4").write_text("no video")
    (one, first), (two, second) = mine.embed_many([path, str(bad)])
    assert (one, two) == (path, str(bad)) and isinstance(second, VideoError)
    np.testing.assert_array_equal(first, mine.embed(path))
    many = mine.embed(path, views="3x3")
    assert many.shape == first.shape and not np.array_equal(many, first)


def test_an_optimized_recognizer_has_them_and_an_exported_one_says_that_it_has_none(clips, tmp_path):
    mine, path = recognizer(), str(clips / CLASSES[0] / "0.mp4")
    fast = mine.optimize(engine="folded", precision="fp32")
    np.testing.assert_allclose(fast.embed(path), mine.embed(path), rtol=1e-3, atol=1e-4)
    mine.export(tmp_path / "x.onnx", data=str(clips))
    with pytest.raises(ConfigError, match="embed with the weights it was made of"):
        Recognizer.load(tmp_path / "x.onnx").embed(path)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_the_command_writes_one_row_a_readable_video(clips, tmp_path, capsys, suffix):
    mine, weights, output = recognizer(), tmp_path / "net.safetensors", tmp_path / f"features{suffix}"
    mine.save(weights)
    (tmp_path / "bad.mp4").write_text("no video")
    assert main(["embed", str(weights), str(clips), str(tmp_path / "bad.mp4"), "--output", str(output)]) == 1
    err = capsys.readouterr().err
    assert "bad.mp4: " in err and "12 videos, 512 numbers each" in err
    if suffix == ".npz":
        with np.load(output) as file:
            paths, features = file["paths"].tolist(), file["features"]
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(output)
        paths, features = table["path"].to_pylist(), np.array(table["features"].to_pylist(), np.float32)
    assert features.shape == (12, 512) and len(set(paths)) == 12
    np.testing.assert_allclose(features[3], mine.embed(paths[3]), rtol=1e-6)
    assert main(["embed", str(weights), str(clips), "--output", str(output)]) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert main(["embed", str(weights), str(clips), "--output", str(tmp_path / "x.csv")]) == 2
    assert ".npz, .parquet" in capsys.readouterr().err
