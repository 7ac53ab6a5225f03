"""The loader's benchmark: what it counts, in which order it measures, and what it concludes. No time is asserted."""

from __future__ import annotations

import multiprocessing
import os
import sys

import pytest
import torch

from teinet.benchmark import stages, throughput
from teinet.benchmark.data import benchmark_loader
from teinet.benchmark.loading import Counted, Loading
from teinet.benchmark.stages import STAGES, time_stages
from teinet.benchmark.throughput import Spread, Throughput, Window, enough
from teinet.data import views
from teinet.data.lists.formats import read_listing
from teinet.data.lists.rows import to_clips
from teinet.data.lists.splits import DataConfig
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.video import reader as decode
from teinet.data.views import Views
from teinet.data.watch import ReadWatch
from teinet.errors import ConfigError
from teinet.utils.machine import machine, machine_name

SMALL = {"sampling": Sampling(num_frames=2), "preprocessing": Preprocessing(size=32, short_side=36), "batch_size": 3}
TRAIN, TEST = Loading(**SMALL), Loading(**SMALL, views=Views.parse("2x3"))


def throughput_of(workers: int, *rates: float) -> Throughput:
    return Throughput(workers, tuple(Window(round(100 * rate), 100.0, 0, 0) for rate in rates))


@pytest.mark.parametrize("loading", [TRAIN, TEST], ids=["train", "test"])
def test_every_number_of_workers_is_measured_and_nobody_is_left(clips, tmp_path, loading):
    (tmp_path / "broken.mp4").write_text("no video")
    paths = [*sorted(clips.rglob("*.mp4")), tmp_path / "broken.mp4"]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{path},a\n" for path in paths))
    report = benchmark_loader(DataConfig(path=str(tmp_path / "list.csv")), loading, workers=[0, 2], seconds=0.5)
    assert multiprocessing.active_children() == []
    assert (report.listed, report.clips, report.kinds) == (13, 12, {"h264 48x36": 12})
    assert [path for path, _ in report.unreadable] == [str(tmp_path / "broken.mp4")]
    assert [t.workers for t in report.measured] == [0, 2]
    assert all(len(t.windows) == throughput.ROUNDS and t.clips_per_second.low > 0 for t in report.measured)
    told = report.to_dict()
    rates = told["loader"][1]
    frames = {"train": 2, "2x3": 4}[told["loading"]["views"]]  # crops of a frame are no frames of their own
    assert rates["frames_per_second"] == pytest.approx(rates["clips_per_second"]["median"] * frames, rel=1e-2)
    if sys.platform == "linux":
        assert rates["megabytes_per_second"] > 0 and 0 <= rates["disk_share"] <= 1


def test_the_numbers_take_turns_there_and_back(monkeypatch):
    asked = []
    monkeypatch.setattr(throughput, "_window", lambda a, b, n, *c: asked.append(n) or Window(n + 1, 1.0, 0, 0))
    found = throughput.measure(TRAIN, None, [0, 1, 4], seconds=5, watch=ReadWatch(0))
    assert asked == [0, 1, 4, 4, 1, 0, 0, 1, 4, 4, 1, 0, 0, 1, 4]
    assert [t.clips_per_second for t in found] == [Spread(n + 1, n + 1, n + 1) for n in (0, 1, 4)]


def test_the_spread_and_the_number_that_is_enough():
    one, two, four = throughput_of(1, 10, 12, 9), throughput_of(2, 20, 8, 21), throughput_of(4, 19, 30, 18)
    assert two.clips_per_second == Spread(20, 8, 21)
    assert [enough([four, two, one], rate) for rate in (5, 10, 15, 19.5, 25)] == [one, one, two, two, None]
    assert two.to_dict(8)["frames_per_second"] == 160 and two.to_dict(8)["megabytes_per_second"] is None


def test_what_is_counted(clips):
    files = to_clips(read_listing(clips).rows, source="")
    counted = Counted(TRAIN.dataset(files), 0, TRAIN)
    for index in range(5):
        sample = counted[TRAIN.key(index)]
        assert torch.equal(sample[0], TRAIN.dataset(files)[TRAIN.key(index)][0]), "other pixels than training's"
    assert counted.rows[0, 0] == 5 and counted.rows.shape == (1, 3)
    before = counted.rows[0, 1].item()
    decode.frame_index(files.paths[5])
    counted[TRAIN.key(5)]
    if sys.platform == "linux":  # a file of a few KiB is read whole
        assert counted.rows[0, 1] - before >= os.path.getsize(files.paths[5])
    counted.over.fill_(1)
    assert TRAIN.collate([counted[TRAIN.key(0)]]).unreadable and counted.rows[0, 0] == 6


@pytest.mark.parametrize("loading", [TRAIN, TEST], ids=["train", "test"])
def test_each_stage_has_its_time_and_the_functions_are_given_back(clips, loading):
    files = to_clips(read_listing(clips).rows, source="")
    before = [decode.open_video, decode.frame_index, decode.VideoReader.sample, views.test_crops]
    times = time_stages(loading, files, seconds=60)
    assert before == [decode.open_video, decode.frame_index, decode.VideoReader.sample, views.test_crops]
    assert times.clips == len(files) and list(times.seconds) == list(STAGES)
    assert all(seconds > 0 for seconds in times.seconds.values()), times.seconds


def test_a_moment_belongs_to_the_innermost_stage(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr(stages.time, "perf_counter", lambda: next(now))
    seconds = dict.fromkeys(STAGES, 0.0)
    clock = stages._Clock(seconds)
    with clock("decode"):
        with clock("open + index"):
            pass
    clock._settle()
    assert seconds == dict.fromkeys(STAGES, 0.0) | {"other": 6.0, "decode": 6.0, "open + index": 3.0}


def test_a_list_of_which_nothing_can_be_read(tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    (tmp_path / "list.csv").write_text("path,label\nbroken.mp4,a\n")
    with pytest.raises(ConfigError, match=r"none of 1 clips can be read, the first: .*broken.mp4: not a video"):
        benchmark_loader(DataConfig(path=str(tmp_path / "list.csv")), TRAIN, workers=[0])


def test_the_machine_is_named():
    facts = machine()
    assert facts["cores"] >= 1 and torch.__version__.startswith(facts["versions"]["torch"])
    assert machine_name({"processor": "Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz", "cores": 8}) == (
        "intel-xeon-e5-2690-v4-8-cores"
    )
