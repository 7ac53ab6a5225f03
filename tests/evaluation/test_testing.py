"""Scores that lie on disk are taken where they are of the very same weights, clips and views, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from teinet.data.lists.splits import DataConfig
from teinet.data.views import Views
from teinet.errors import ConfigError
from teinet.evaluation import testing
from teinet.evaluation.hardware import Hardware
from teinet.evaluation.plan import Plan, Tested, choose
from tests.networks import small_recognizer


def test_scores_on_disk_are_not_those_of_other_weights_views_or_clips(clips, tmp_path):
    recognizer = small_recognizer("tsn_resnet10t", num_frames=1)
    weights = tmp_path / "net.safetensors"
    rows = [f"{path},{path.parent.name}" for path in sorted(clips.rglob("*.mp4"))]
    listing = tmp_path / "clips.csv"

    def tested(views: str = "1x1", output: Path | None = None) -> Tested:
        data = DataConfig(path=str(listing))
        plan = Plan(data=data, views=Views.parse(views), workers=0, hardware=Hardware())
        return testing.test(weights, plan, reuse=True, output=output)

    listing.write_text("\n".join(["path,label", *rows]))
    recognizer.save(weights)
    first = tested()
    assert not first.from_disk and tested().from_disk
    assert not tested("2x1").from_disk and tested().from_disk
    assert not tested(output=tmp_path / "out").from_disk and tested(output=tmp_path / "out").from_disk
    with pytest.raises(ConfigError, match="holds another test's scores; --overwrite replaces them"):
        tested("2x1", tmp_path / "out")
    with torch.no_grad():
        recognizer.model.head.bias += torch.tensor([9.0, 0.0, 0.0])
    recognizer.save(weights)
    again = tested()
    assert not again.from_disk and (again.scores.predictions == 0).all()
    listing.write_text("\n".join(["path,label", *rows[1:]]))
    assert not tested().from_disk and tested().from_disk


def test_clips_of_a_run_that_have_moved_are_asked_for(tmp_path):
    header = {"class_names": ["a"], "recipe": {"data": {"path": str(tmp_path / "gone")}}}
    with pytest.raises(ConfigError, match=r"gone: no such file or folder; this path is from the run's recipe.*--data"):
        choose(header, Plan())
