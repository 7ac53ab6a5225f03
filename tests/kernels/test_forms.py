"""The C++ gives the equations' numbers, forward and backward, on any shape and layout."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teinet.errors import ConfigError
from teinet.kernels import Squeeze, available_forms, fuses, fuses_tei, tei, temporal_conv, use_form
from tests.kernels import truth

pytestmark = pytest.mark.skipif("cpu" not in available_forms(), reason="the cpu form cannot run here")

FRAMES = st.sampled_from([1, 2, 3, 8, 16])
CHANNELS = st.sampled_from([1, 2, 7, 8, 31, 33, 64, 100])
SIDES = st.integers(1, 6)
SHAPES = st.tuples(st.integers(1, 3), FRAMES, CHANNELS, SIDES, SIDES)
any_case = settings(deadline=None, max_examples=40)


@any_case
@given(
    SHAPES,
    st.sampled_from([torch.float32, torch.bfloat16]),
    st.sampled_from(["both", "weight", "gate"]),
    st.sampled_from(["channels_last", "channels_last", "contiguous", "sliced", "expanded"]),
    st.sampled_from([0, 1]),
)
def test_temporal_conv_is_the_equations(shape, dtype, kind, layout, lag):
    truth.check_temporal_conv(shape, dtype, kind=kind, layout=layout, lag=lag)


@pytest.mark.parametrize(("kind", "lag"), [("both", 0), ("both", 1), ("weight", 0), ("gate", 0)])
@pytest.mark.parametrize("shape", [(1, 4, 2100, 4, 3), (2, 3, 256, 25, 13)])
def test_shapes_that_fill_several_tiles_and_blocks(shape, kind, lag):
    truth.check_temporal_conv(shape, torch.float32, kind=kind, layout="channels_last", lag=lag)


@any_case
@given(
    SHAPES.filter(lambda shape: shape[1] > 1),
    st.integers(1, 20),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from(["channels_last", "contiguous", "sliced", "expanded"]),
    st.booleans(),
    st.booleans(),
)
def test_tei_is_the_equations(shape, hidden, offset, layout, causal, mixes):
    clips, num_frames, channels, height, width = shape
    generator = torch.Generator().manual_seed(sum(shape))

    def numbers(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator)

    x = truth.lay_out(numbers(clips * num_frames, channels, height, width), layout).requires_grad_()
    weights = [numbers(*size).requires_grad_() for size in squeeze_sizes(channels, hidden)]
    kernel = numbers(channels, 3).requires_grad_() if mixes else None
    given = [x, *weights, kernel] if mixes else [x, *weights]
    y = tei(x, Squeeze(*weights), kernel, num_frames=num_frames, causal=causal, offset=offset)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    want = truth.tei(exact[0], exact[1:7], exact[7] if mixes else None, num_frames, causal, offset)
    assert truth.error(y, want) < 1e-5
    towards = numbers(*y.shape)
    ours, theirs = truth.gradients(y, towards, given), truth.gradients(want, towards.double(), exact)
    for got, expected in zip(ours, theirs, strict=True):
        # a gradient is a sum of both signs, so its rounding is measured against what is summed
        assert (got.double() - expected).abs().max() < 1e-4 * max(1.0, expected.abs().max().item())


def squeeze_sizes(channels: int, hidden: int) -> list[tuple[int, ...]]:
    narrow, wide = (hidden, channels, 1, 1), (channels, hidden, 1, 1)
    return [narrow, (hidden,), narrow, (hidden,), wide, (channels,)]


def test_clips_that_do_not_fit_the_cache_together():
    """They are gated and mixed in groups; 12 clips of 1.1 MB fill two."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(48, 100, 26, 27, generator=generator).contiguous(memory_format=torch.channels_last)
    weights = [torch.randn(size, generator=generator) for size in squeeze_sizes(100, 12)]
    kernel = torch.randn(100, 3, generator=generator)
    y = tei(x, Squeeze(*weights), kernel, num_frames=4)
    assert truth.error(y, truth.tei(x, weights, kernel, 4, False, 0.0)) < 1e-6


def test_a_pooled_mean_of_many_pixels_is_exact_to_rounding():
    torch.manual_seed(0)
    x = torch.randn(8, 16, 100, 100) + 100
    x = x.contiguous(memory_format=torch.channels_last)
    eye, zero = torch.eye(16)[:, :, None, None], torch.zeros(16)
    y = tei(x, Squeeze(eye, zero, eye * 0, zero, eye, zero - 100), num_frames=8)
    want = torch.sigmoid(x.double().mean((2, 3)) - 100)
    assert ((y / x).mean((2, 3))[:-1] - want[:-1]).abs().max() < 3e-6


@pytest.mark.parametrize("data", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weight", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [16, 24, 41])
def test_every_pair_of_number_types(data, weight, channels):
    torch.manual_seed(0)
    x = torch.randn(8, channels, 5, 5).to(data).contiguous(memory_format=torch.channels_last)
    weights = [torch.randn(size).to(weight) for size in squeeze_sizes(channels, 6)]
    kernel = torch.randn(channels, 3).to(weight)
    y = tei(x, Squeeze(*weights), kernel, num_frames=4)
    assert y.dtype == data
    limit = 1e-6 if data == torch.float32 else 8e-3
    assert truth.error(y, truth.tei(x, weights, kernel, 4, False, 0.0)) < limit


def test_what_lies_outside_a_clip_is_zero_also_next_to_infinity():
    """A neighbor that is not there is left out, not multiplied by zero; another clip's frames never come in."""
    x = torch.ones(4, 8, 2, 2).contiguous(memory_format=torch.channels_last)
    x[1] = float("inf")
    weight = torch.ones(8, 3)
    y = temporal_conv(x, weight, num_frames=2)
    assert torch.equal(y[2:], torch.full_like(y[2:], 2.0)) and torch.isinf(y[:2]).all()


def test_a_nan_stays_one_in_bfloat16():
    x = torch.ones(2, 8, 1, 3).bfloat16().contiguous(memory_format=torch.channels_last)
    x[0, 0, 0, 0] = float("nan")
    y = temporal_conv(x, torch.tensor([[0.0, 1.0, 0.0]]).expand(8, 3), num_frames=2)
    assert y[:, 0, 0, 0].isnan().all()  # a weight of zero makes no number of it in the other frame either
    assert y.isnan().sum() == 2


def test_the_number_of_threads_changes_no_bit():
    x = torch.randn(16, 96, 14, 14).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight, gate = torch.randn(96, 3, requires_grad=True), torch.rand(16, 96, requires_grad=True)
    squeeze = Squeeze(*(torch.randn(size) for size in squeeze_sizes(96, 12)))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            y = temporal_conv(x, weight, gate, num_frames=8)
            gated = tei(x, squeeze, weight, num_frames=8)
            found.append([y, gated, *torch.autograd.grad((y * y + gated).sum(), (x, weight, gate))])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, three) for one, three in zip(*found))


def test_what_it_computes_it_says():
    x = torch.randn(8, 16, 5, 6)
    here = x.contiguous(memory_format=torch.channels_last)
    assert fuses(here) and fuses(here.bfloat16())
    assert not any(fuses(each) for each in (x, here.double(), here.half(), here[:0], here.to("meta")))
    squeeze = Squeeze(*(torch.randn(size) for size in squeeze_sizes(16, 2)))
    assert fuses_tei(here, squeeze) and not fuses_tei(x, squeeze)
    assert not fuses_tei(here, squeeze._replace(b2=squeeze.b2.bfloat16()))
    with use_form("reference"):
        assert not fuses(here) and not fuses_tei(here, squeeze)


def test_shapes_that_do_not_fit_are_refused():
    x = torch.randn(8, 16, 5, 6)
    with pytest.raises(ConfigError, match=r"T = 3"):
        temporal_conv(x, num_frames=3)
    with pytest.raises(ConfigError, match=r"lag 0 or 1"):
        temporal_conv(x, torch.randn(16, 3), num_frames=4, lag=2)
    with pytest.raises(ConfigError, match=r"\(C, 3\) for C = 16"):
        temporal_conv(x, torch.randn(16, 1, 3), num_frames=4)
    with pytest.raises(ConfigError, match=r"8 x 16"):
        temporal_conv(x, gate=torch.randn(2, 16), num_frames=4)
    squeeze = Squeeze(*(torch.randn(size) for size in squeeze_sizes(16, 2)))
    for name in squeeze._fields:
        wrong = squeeze._replace(**{name: torch.randn(3, *getattr(squeeze, name).shape[1:])})
        with pytest.raises(ValueError, match="shapes do not match"):
            tei(x, wrong, num_frames=4)
    with pytest.raises(ValueError, match="shapes do not match"):
        tei(x, squeeze, torch.randn(3, 16), num_frames=4)
    for wrong_frames in (1, 3):
        with pytest.raises(ValueError, match=f"not clips of {wrong_frames} frames"):
            tei(x, squeeze, num_frames=wrong_frames)
    with pytest.raises(ConfigError, match=r"Did you mean 'triton'"), use_form("tritn"):
        pass
