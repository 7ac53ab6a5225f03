"""Work in bulk on Ray: a row for each file, the scores of single calls, and crashes that cost only their own file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
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
from teinet.data.view_loading import load_views
from teinet.detection import timeline
from teinet.detection.events import Rules
from teinet.errors import ConfigError
from teinet.scale import predict_dataset, ray_job
from teinet.scale.manifest import read_manifest
from teinet.scale.parquet_rows import Results
from teinet.scale.predicting import SCORED, Decode, Network, Stages, unreadable
from teinet.scale.ray_job import run_job
from teinet.utils.files import digest
from tests import miniatures
from tests.conftest import environment
from tests.networks import small_recognizer, wake
from tests.stores import s3_server

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One Ray for all tests here: two cores, little memory, no dashboard, nothing sent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        patch.setenv("RAY_worker_niceness", "0")
        how = {"object_store_memory": 150 << 20, "include_dashboard": False, "log_to_driver": False}
        ray.init(address="local", num_cpus=2, logging_level="error", **how)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Weights, clips, one file that is no video, and recordings."""
    folder = tmp_path_factory.mktemp("scale")
    recognizer = small_recognizer()
    wake(recognizer.model)
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
    assert "finished before: 7 of 8 files" in capsys.readouterr().err
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
    for number in range(18):
        shutil.copy(place / "clips" / f"{number % 6}.mp4", tmp_path / f"{number:02}.mp4")
    for name in ("crash.mp4", "once.mp4"):
        shutil.copy(place / "clips" / "0.mp4", tmp_path / name)
    paths = read_manifest(tmp_path)
    recognizer = Recognizer.load(place / "net.safetensors", device="cpu")
    how = {"views": "1x1", "start": None, "end": None, "max_damaged": 0.1}
    network = {"weights": str(place / "net.safetensors"), "identity": digest(place / "net.safetensors")}
    network |= {"engine": "eager", "precision": "auto", "min_score": 0.0, "batch_size": None}
    network["mark"] = str(tmp_path / "network-was-killed")
    decode = CrashingDecode(recognizer.sampling, recognizer.preprocessing, how)
    stages = Stages(decode, CrashingNetwork, network, "cpu", 3, None)
    done = run_job(paths, Results(tmp_path / "out", "predict", {}, SCORED), stages)
    rows = rows_of(tmp_path / "out")
    assert (tmp_path / "network-was-killed").exists() and (tmp_path / "once.mp4.was-here").exists()
    assert [row["path"] for row in rows] == sorted(paths.to_pylist()) and len(rows) == 20
    assert done.failed == 1
    for row in rows:
        if row["path"].endswith("crash.mp4"):
            assert "SIGSEGV" in row["error"] and row["scores"] is None
        else:
            np.testing.assert_allclose(row["scores"], recognizer(row["path"]).scores, atol=1e-6)


KILLED = """
import sys
from teinet.scale import predict_dataset, parquet_rows
parquet_rows._SECONDS = 0.0  # write at once
predict_dataset(sys.argv[1], sys.argv[2], sys.argv[3], ray=sys.argv[4])
"""


def test_a_killed_command_continues(place, tmp_path):
    for number in range(40):
        shutil.copy(place / "clips" / f"{number % 6}.mp4", tmp_path / f"{number:02}.mp4")
    out = tmp_path / "out"
    address = ray.get_runtime_context().gcs_address
    words = [str(place / "net.safetensors"), str(tmp_path), str(out), address]
    with open(tmp_path / "log", "wb") as log:
        command = subprocess.Popen([sys.executable, "-c", KILLED, *words], env=environment(), stderr=log, stdout=log)
        until = time.monotonic() + 120
        while not any(out.glob("part-*")) and command.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        command.kill()
        command.wait()
    before = len(rows_of(out))
    assert 0 < before < 40, (tmp_path / "log").read_text()
    done = predict_dataset(*words[:3])
    assert (done.before, done.files) == (before, 40)
    rows = rows_of(out)
    assert [Path(row["path"]).name for row in rows] == [f"{number:02}.mp4" for number in range(40)]
    assert all(row["scores"] == rows[number % 6]["scores"] for number, row in enumerate(rows))


def test_events_of_recordings_are_rows(place, tmp_path, capsys):
    (tmp_path / "broken.mp4").write_text("no video")
    words = ["timeline", str(place / "net.safetensors"), str(place / "recordings"), str(tmp_path / "broken.mp4")]
    rules = ["--threshold", "0.5", "--min-duration", "0.1"]
    assert main([*words, *rules, "--ray", "local", "--output", f"{tmp_path}/events/"]) == 1
    recognizer = Recognizer.load(place / "net.safetensors", device="cpu")
    want = []
    for path in (place / "recordings" / "0.mp4", place / "recordings" / "1.mp4"):
        found = timeline(recognizer, path, rules=Rules(threshold=0.5, min_duration=0.1))
        want += [(str(path), event.label, event.start, event.end) for event in found.events]
    rows = rows_of(tmp_path / "events")
    assert want
    assert [(row["path"], row["label"], row["start"], row["end"]) for row in rows if row["label"]] == want
    assert [row["error"] for row in rows if row["path"].endswith("broken.mp4")] == ["not a video, but a text file"]
    assert {row["path"] for row in rows} == {str(tmp_path / "broken.mp4"), *(path for path, *_ in want)}
    assert "unreadable: 1 of 3 files" in capsys.readouterr().err


def test_lists_folders_and_stores_name_the_files(place, tmp_path):
    (tmp_path / "a.csv").write_text("label,path\nx,one.mp4\nx,/two.mp4\ny,one.mp4\ny,s3://store/three.mp4\n")
    want = [f"{tmp_path}/one.mp4", "/two.mp4", "s3://store/three.mp4"]
    assert read_manifest(tmp_path / "a.csv").to_pylist() == want
    pq.write_table(pyarrow.csv.read_csv(tmp_path / "a.csv"), tmp_path / "a.parquet")
    assert read_manifest([tmp_path / "a.csv", tmp_path / "a.parquet"]).to_pylist() == want
    assert len(read_manifest(place / "clips")) == 7
    (tmp_path / "b.csv").write_text("file\nx\n")
    for name in ("b.csv", "missing.csv"):
        with pytest.raises(ConfigError, match=name):
            read_manifest(tmp_path / name)


def test_clips_in_a_store_are_recognized_where_they_are(place, tmp_path):
    with s3_server() as store:
        prefix = store.put(place / "clips", "scale/videos")
        (tmp_path / "list.csv").write_text("path\nvideos/0.mp4\nvideos/no.mp4\n")
        named = read_manifest(store.put(tmp_path / "list.csv", "scale/list.csv")).to_pylist()
        assert named == [f"{prefix}/0.mp4", f"{prefix}/no.mp4"]
        recognizer = Recognizer.load(place / "net.safetensors", device="cpu")
        work = Decode(recognizer.sampling, recognizer.preprocessing, {"views": "1x1"})
        found = [ray_job._attempt(work, unreadable, path, lambda: None) for path in named]
        here = load_views(str(place / "clips" / "0.mp4"), work.sampling, work.preprocessing, **work.how)
        assert found[0][0]["frames"] == here.frames.tobytes()
        assert found[1] == [{"path": named[1], "error": "no such file or folder"}]
        assert len(read_manifest(f"{prefix}/")) == 7


STUCK = """
import sys
from teinet.scale import ray_job
from tests.scale.test_scale import fail, hang, RAW
ray_job._STUCK_SECONDS, ray_job._TRIES = 2.0, 1
stage = ray_job.FileStage(hang, fail, RAW, 1, None)
if __name__ == "__main__":
    print(stage._read_apart(["a.mp4"]), flush=True)
    stage._read(["a.mp4"])
    print("not stopped")
"""
RAW = pa.schema({"path": pa.string(), "error": pa.string()})


def hang(path: str, beat) -> list[dict[str, Any]]:
    time.sleep(60)
    return []


def fail(path: str, reason: str) -> list[dict[str, Any]]:
    return [{"path": path, "error": reason}]


def test_a_decoder_that_hangs_is_stopped(tmp_path):
    (tmp_path / "stuck.py").write_text(STUCK)
    env = environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, tmp_path / "stuck.py"], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Timeout" in done.stderr
    assert "stuck: no new frame within 2 s" in done.stdout and "not stopped" not in done.stdout


def test_the_package_imports_none_of_it():
    code = (
        "import sys, teinet, teinet.cli.predict, teinet.cli.timeline; assert not {'ray', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, timeout=120)
