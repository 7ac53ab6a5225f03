"""Motion pooling: means and changes against loops in float64, and one frame at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from teinet.errors import ConfigError
from teinet.layers.cells import cell_for
from teinet.layers.motion_pool import MotionPool


def expected(x: np.ndarray, frames: int, causal: bool) -> np.ndarray:
    """Return (B*T, 3C) of maps (B*T, C, H, W), frame by frame and channel by channel."""
    rows, channels = x.shape[:2]
    found = np.zeros((rows, 3 * channels))
    for row in range(rows):
        here = max(row, row - row % frames + 1) if frames > 1 else row  # the first takes the changes of the second
        for c in range(channels):
            found[row, c] = x[row, c].mean()
            if frames > 1 and not (causal and row % frames == 0):
                found[row, channels + c] = np.abs(x[here, c] - x[here - 1, c]).mean()
                found[row, 2 * channels + c] = abs(x[here, c].mean() - x[here - 1, c].mean())
    return found


@pytest.mark.parametrize("shape", [(2, 5, 3, 2, 4), (1, 2, 1, 1, 1), (3, 1, 4, 3, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("causal", [False, True])
def test_features_of_each_frame(shape, layout, causal):
    clips, frames, channels, height, width = shape
    x = torch.randn(clips * frames, channels, height, width, dtype=torch.float64).to(memory_format=layout)
    got = MotionPool(channels, num_frames=frames, causal=causal)(x)
    np.testing.assert_allclose(got.numpy(), expected(x.numpy(), frames, causal), rtol=1e-12, atol=1e-14)


def test_a_video_that_rests_has_no_change_and_backwards_it_changes_as_much():
    still = torch.randn(1, 4, 3, 3).expand(6, 4, 3, 3)
    pooled = MotionPool(4, num_frames=6)(still)
    assert pooled[:, 4:].abs().max() == 0 and pooled[:, :4].abs().max() > 0
    x = torch.randn(6, 4, 3, 3)
    forwards, backwards = (MotionPool(4, num_frames=6)(clip)[1:, 4:].sum(0) for clip in (x, x.flip(0)))
    torch.testing.assert_close(forwards, backwards)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_the_cell_gives_what_the_causal_layer_gives(at_once):
    layer = MotionPool(3, num_frames=6, causal=True)
    x = torch.randn(2, 6, 3, 2, 4)
    want = layer(x.flatten(0, 1)).unflatten(0, (2, 6))
    cell, found = cell_for(layer), []
    assert cell is not None
    state = cell.init_state(x[:, 0])
    assert all(not tensor.any() for tensor in state)
    for first in range(0, 6, at_once):
        pooled, state = cell(x[:, first : first + at_once].flatten(0, 1), state)
        found.append(pooled.unflatten(0, (2, at_once)))
    torch.testing.assert_close(torch.cat(found, 1), want)
    assert not want[:, 0, 3:].any()


def test_half_precision_is_summed_as_fp32():
    x = torch.randn(8, 16, 5, 7)
    for dtype, tolerance in ((torch.bfloat16, 2e-2), (torch.float16, 3e-3)):
        got = MotionPool(16, num_frames=4)(x.to(dtype)).float()
        assert (got - MotionPool(16, num_frames=4)(x)).abs().max() < tolerance


def test_another_shape_is_refused():
    with pytest.raises(ConfigError, match="not B\\*T for T = 4"):
        MotionPool(3, num_frames=4)(torch.zeros(6, 3, 2, 2))
    with pytest.raises(ConfigError, match="C = 3"):
        MotionPool(3, num_frames=4)(torch.zeros(4, 5, 2, 2))
