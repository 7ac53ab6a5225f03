"""Logits become probabilities: averaged after the softmax or before it, and refused if they are not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from teinet.errors import CheckpointError, ConfigError
from teinet.models.probabilities import to_probabilities


def test_averages_of_views():
    logits = torch.tensor([[0.0, 0.0], [0.0, 4.0]])
    sure = 1 / (1 + np.exp(-4.0))
    assert to_probabilities(logits, "probabilities")[1] == pytest.approx((0.5 + sure) / 2)
    assert to_probabilities(logits, "logits")[1] == pytest.approx(1 / (1 + np.exp(-2.0)))
    np.testing.assert_allclose(to_probabilities(logits)[:, 1], [0.5, sure], rtol=1e-6)
    with pytest.raises(ConfigError, match="averaging"):
        to_probabilities(logits, "scores")


def test_what_is_no_number_is_an_error():
    with pytest.raises(CheckpointError, match="not finite"):
        to_probabilities(torch.tensor([0.0, float("nan")]))
    assert np.isnan(to_probabilities(torch.tensor([0.0, float("nan")]), allow_nan=True)).all()
