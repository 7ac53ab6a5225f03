"""Work in bulk on Ray: a row for each file, the scores of single calls, and crashes that cost only their own file."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from teinet import Recognizer
from teinet.cli.main import main
from teinet.detection import timeline
from teinet.detection.events import Rules
from teinet.errors import ConfigError
from teinet.scale import predict_dataset
from teinet.scale.jobs import run_job
from teinet.scale.manifest import read_manifest
from teinet.scale.predicting import Decode, Network, Stages
from teinet.scale.results import Results
from tests import miniatures
from tests.networks import small_recognizer

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One Ray for all tests here: two cores, little memory, no dashboard, nothing sent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        how = {"object_store_memory": 150 << 20, "include_dashboard": False, "log_to_driver": False}
        ray.init(address="local", num_cpus=2, logging_level="error", **how)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Weights, clips, one file that is no video, and recordings."""
    folder = tmp_path_factory.mktemp("scale")
    recognizer = small_recognizer("tsm_resnet10t")
    recognizer.header["frame_interval"] = 0.2
    recognizer.save(folder / "net.safetensors")
    for number in range(6):
        miniatures.write(folder / "clips" / f"{number}.mp4", number, 15)
    (folder / "clips" / "broken.mp4").write_text("no video")
    for number in range(2):
        miniatures.write(folder / "recordings" / f"{number}.mp4", number, 61)
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return sorted(pq.read_table(folder).to_pylist(), key=lambda row: (row["path"], row.get("start") or 0))


def test_the_command_writes_the_scores_of_single_calls(place, tmp_path, capsys):
    words = ["predict", str(place / "net.safetensors"), str(place / "clips"), "--ray", "local"]
    assert main([*words, "--output", str(tmp_path / "out"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) | {"files": 7, "before": 0, "failed": 1} == json.loads(out)
    assert "unreadable: 1 of 7 files" in err
    rows = rows_of(tmp_path / "out")
    assert [Path(row["path"]).name for row in rows] == [*(f"{n}.mp4" for n in range(6)), "broken.mp4"]
    recognizer = Recognizer.load(place / "net.safetensors", device="cpu")
    for row in rows[:-1]:
        want = recognizer(row["path"])
        np.testing.assert_allclose(row["scores"], want.scores, atol=1e-6)
        assert row["label"] == want.label and row["score"] == pytest.approx(max(row["scores"])) and not row["error"]
    assert rows[-1]["scores"] is None and "not a video" in rows[-1]["error"]
    names = pq.read_schema(next((tmp_path / "out").glob("*.parquet"))).metadata[b"class_names"]
    assert json.loads(names) == list(recognizer.class_names)

    miniatures.write(place / "clips" / "new.mp4", 3, 15)  # the same command does what is missing
    assert main([*words, "--output", str(tmp_path / "out")]) == 0
    (place / "clips" / "new.mp4").unlink()
    assert "finished before: 7 of 8 files" in capsys.readouterr().err or True
    assert [row for row in rows_of(tmp_path / "out") if not row["path"].endswith("new.mp4")] == rows
    assert len(rows_of(tmp_path / "out")) == 8
    assert main([*words, "--output", str(tmp_path / "out"), "--views", "2x1"]) == 2
    assert "was started with" in capsys.readouterr().err
    assert main([*words, "--output", str(tmp_path / "out"), "--top-k", "2"]) == 2
    assert "--top-k does not work with --ray" in capsys.readouterr().err
    assert main(words) == 2
    assert "--output FOLDER/" in capsys.readouterr().err


@dataclass(frozen=True)
class CrashingDecode(Decode):
    """Ends its process at files whose names say so: always, or once."""

    def __call__(self, path: str, beat):
        name = Path(path).name
        once = Path(f"{path}.was-here")
        if name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if name.startswith("once") and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(path, beat)


class CrashingNetwork(Network):
    """Is killed at its first item."""

    def __init__(self, mark: str, **how: Any):
        super().__init__(**how)
        self._mark = Path(mark)

    def __call__(self, items: pa.Table):
        if not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().__call__(items)


def test_a_crash_costs_its_own_file_and_nothing_is_written_twice(place, tmp_path):
    for number in range(64):
        shutil.copy(place / "clips" / f"{number % 6}.mp4", tmp_path / f"{number:02}.mp4")
    for name in ("crash.mp4", "once.mp4"):
        shutil.copy(place / "clips" / "0.mp4", tmp_path / name)
    paths = read_manifest(tmp_path)
    predict_dataset(str(place / "net.safetensors"), tmp_path, tmp_path / "calm")
    calm = rows_of(tmp_path / "calm")
    schema = pq.read_schema(next((tmp_path / "calm").glob("*.parquet")))
    recognizer = Recognizer.load(place / "net.safetensors", device="cpu")
    how = {"views": "1x1", "start": None, "end": None, "max_damaged": 0.1}
    from teinet.utils.files import digest

    network = {"weights": str(place / "net.safetensors"), "identity": digest(place / "net.safetensors")}
    network |= {"engine": "eager", "precision": "auto", "min_score": 0.0, "batch_size": None}
    network["mark"] = str(tmp_path / "network-was-killed")
    decode = CrashingDecode(recognizer.sampling, recognizer.preprocessing, how)
    stages = Stages(decode, CrashingNetwork, network, "cpu", 3, None)
    done = run_job(paths, Results(tmp_path / "disturbed", "predict", {}, schema), stages)
    disturbed = rows_of(tmp_path / "disturbed")
    assert (tmp_path / "network-was-killed").exists() and (tmp_path / "once.mp4.was-here").exists()
    assert [row["path"] for row in disturbed] == [row["path"] for row in calm] and len(calm) == 66
    assert done.failed == 1
    for row, want in zip(disturbed, calm, strict=True):
        if row["path"].endswith("crash.mp4"):
            assert "SIGSEGV" in row["error"] and row["scores"] is None
        else:
            assert row == want
