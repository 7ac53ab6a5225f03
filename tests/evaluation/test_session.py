"""Scores that lie on disk are taken where they are of the very same weights, clips and views, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from teinet.data.lists.splits import DataConfig
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.views import Views
from teinet.evaluation import session
from teinet.evaluation.hardware import Hardware
from teinet.models.factory import create_model
from teinet.recognition import Recognizer
from tests.conftest import CLASSES


@pytest.fixture
def recognizer() -> Recognizer:
    torch.manual_seed(0)
    model = create_model("tsn_resnet10t", num_classes=3, num_frames=1)
    size = Preprocessing(size=32, short_side=32, **model.data_config)
    return Recognizer(model, CLASSES, preprocessing=size, sampling=Sampling(num_frames=1))


def test_scores_on_disk_are_not_those_of_other_weights_views_or_clips(recognizer, clips, tmp_path):
    weights = tmp_path / "net.safetensors"
    rows = [f"{path},{path.parent.name}" for path in sorted(clips.rglob("*.mp4"))]
    listing = tmp_path / "clips.csv"

    def tested(views: str = "1x1") -> session.Tested:
        plan = session.Plan(
            data=DataConfig(path=str(listing)), views=Views.parse(views), workers=0, hardware=Hardware()
        )
        return session.test(weights, plan, reuse=True, output=tmp_path / "out")

    listing.write_text("\n".join(["path,label", *rows]))
    recognizer.save(weights)
    first = tested()
    assert not first.from_disk and tested().from_disk
    assert not tested("2x1").from_disk and not tested().from_disk  # one folder holds one test
    with torch.no_grad():
        recognizer.model.head.bias += torch.tensor([9.0, 0.0, 0.0])
    recognizer.save(weights)
    again = tested()
    assert not again.from_disk and (again.scores.predictions == 0).all()
    listing.write_text("\n".join(["path,label", *rows[1:]]))
    assert not tested().from_disk and tested().from_disk
