"""The loader's benchmark: what it counts and in which order it measures. No time is asserted."""

from __future__ import annotations

import json

import pytest

from benchmarks import loader
from benchmarks.loader import Loading
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.views import Views
from teinet.evaluation.speed import Spread

SMALL = {"sampling": Sampling(num_frames=2), "preprocessing": Preprocessing(size=32, short_side=36), "batch_size": 3}
TRAIN, TEST = Loading(**SMALL, views=None), Loading(**SMALL, views=Views.parse("2x3"))


@pytest.mark.parametrize("loading", [TRAIN, TEST], ids=["train", "test"])
def test_every_number_of_workers_is_measured_on_what_can_be_read(clips, tmp_path, loading):
    (tmp_path / "broken.mp4").write_text("no video")
    paths = [*sorted(clips.rglob("*.mp4")), tmp_path / "broken.mp4"]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{path},a\n" for path in paths))
    told = loader.measure(str(tmp_path / "list.csv"), loading, [0, 1], clips=20, seconds=0.5)
    assert (told["clips"], told["unreadable"]) == (12, 1)
    assert list(told["clips_per_second"]) == [0, 1] and told["clips_per_second"][1]["low"] > 0
    times = told["milliseconds_a_clip"]
    assert any(name.startswith("dataset" if loading is TRAIN else "evaluate") for name in times), times
    json.dumps(told)


def test_the_numbers_take_turns_there_and_back(monkeypatch):
    asked = []
    monkeypatch.setattr(loader, "window", lambda a, b, number, c: asked.append(number) or number + 1.0)
    found = loader.rates(TRAIN, None, [0, 1, 4], seconds=5)
    assert asked == [0, 1, 4, 4, 1, 0, 0, 1, 4, 4, 1, 0, 0, 1, 4]
    assert found == {n: Spread(n + 1, n + 1, n + 1) for n in (0, 1, 4)}
