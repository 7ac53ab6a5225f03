"""A recognizer's file keeps the type of its numbers: half precision stays half as large, and nothing is rounded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from teinet import Recognizer
from teinet.models.header import PRETRAINED
from tests.networks import small_recognizer


@pytest.fixture
def recognizer() -> Recognizer:
    return small_recognizer("tsm_test_resnet")


def types(path: Path) -> set[torch.dtype]:
    return {value.dtype for value in load_file(path).values() if value.is_floating_point()}


def test_a_file_keeps_its_number_type(recognizer, tmp_path):
    half, again = tmp_path / "half.safetensors", tmp_path / "again.safetensors"
    recognizer.save(half, dtype=torch.float16)
    loaded = Recognizer.load(half, "cpu")
    assert types(half) == {torch.float16} and next(loaded.model.parameters()).dtype == torch.float32
    loaded.save(again)
    assert again.read_bytes() == half.read_bytes()
    loaded.save(again, dtype=torch.float32)
    assert types(again) == {torch.float32}
    Recognizer.load(again, "cpu").save(again)
    assert types(again) == {torch.float32}
    recognizer.save(again, dtype=torch.bfloat16)
    Recognizer.load(again, "cpu").save(again)
    assert types(again) == {torch.bfloat16}


def test_a_shipped_model_saves_to_its_own_size(tmp_path):
    Recognizer.load("fights", "cpu").save(tmp_path / "fights.safetensors")
    ours, theirs = load_file(tmp_path / "fights.safetensors"), load_file(PRETRAINED / "fights.safetensors")
    assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in theirs)


def test_weights_that_were_trained_since_are_not_rounded(recognizer, tmp_path):
    recognizer.save(tmp_path / "half.safetensors", dtype=torch.float16)
    loaded = Recognizer.load(tmp_path / "half.safetensors", "cpu")
    with torch.no_grad():
        loaded.model.head.weight[0, 0] += 1e-6
    loaded.save(tmp_path / "trained.safetensors")
    assert types(tmp_path / "trained.safetensors") == {torch.float32}
