"""The causal forms, against the equations written as loops over frames; and that no frame sees a later one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teinet.layers import SE, TEI, TIM, TSM, build
from tests.kernels import truth
from tests.layers.test_layers import CLIPS, NAMES, filled, frames


@pytest.mark.parametrize("gate", ["paper", "residual"])
@pytest.mark.parametrize("shape", [(2, 8, 16, 3, 4), (1, 1, 9, 2, 2), (3, 2, 8, 1, 1), (1, 3, 5, 4, 3)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_equations(shape, gate, channels_last):
    _, t, channels = shape[:3]
    tei = filled(TEI(channels, num_frames=t, gate=gate, causal=True))
    x = frames(*shape, channels_last)
    # the gate of a pair of frames lies on the later one; the first frame passes
    factors = truth.motion_gate(x, tei.mem.weights, t, 0.5 * (gate == "residual")).roll(1, 1).flatten(0, 1)
    want_mem = x * factors[:, :, None, None]
    torch.testing.assert_close(tei.mem(x), want_mem, rtol=1e-12, atol=1e-12)
    want = truth.temporal_conv(want_mem, tei.tim.V, None, t, lag=1)
    torch.testing.assert_close(tei(x), want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(tei.tim(x), truth.temporal_conv(x, tei.tim.V, None, t, lag=1))


@pytest.mark.parametrize("channels", [8, 16, 20, 7])
def test_the_shift_comes_from_the_frame_before_and_tim_begins_with_it(channels):
    x = frames(2, 4, channels, 2, 3)
    want = x.clone().unflatten(0, (2, 4))
    fold = channels // 8
    want[:, 1:, :fold] = x.unflatten(0, (2, 4))[:, :-1, :fold]
    want[:, 0, :fold] = 0
    for layer in (TSM(channels, num_frames=4, causal=True), TIM(channels, num_frames=4, causal=True).double()):
        assert torch.equal(layer(x), want.flatten(0, 1))
        assert torch.equal(layer(x.clone().requires_grad_()), want.flatten(0, 1))
    identity = TIM(channels, num_frames=4, causal=True, init="identity").double()
    assert torch.equal(identity(x), x)


@settings(deadline=None, max_examples=60)
@given(CLIPS, st.sampled_from(NAMES), st.booleans(), st.data())
def test_no_frame_sees_a_later_one(shape, name, channels_last, data):
    layer = filled(build(name, shape[2], num_frames=shape[1], causal=True))
    assert layer.causal
    x = frames(*shape, channels_last)
    y = layer(x)
    t = data.draw(st.integers(0, shape[1] - 1))
    changed = x.clone()
    rows = torch.arange(len(x)) % shape[1] >= t
    changed[rows] += torch.randn_like(changed[rows])
    torch.testing.assert_close(layer(changed)[~rows], y[~rows], rtol=0, atol=0)


def test_squeeze_and_excitation_has_no_other_form():
    assert SE(8, num_frames=2).causal
    assert "causal" in repr(TEI(8, num_frames=2, causal=True)) and "causal" not in repr(TEI(8, num_frames=2))
