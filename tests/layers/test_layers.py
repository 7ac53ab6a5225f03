"""What holds for every temporal layer: shapes, locality in time, memory format, refusals, and torch's own tools."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from teinet.errors import ConfigError
from teinet.kernels import available_forms, use_form
from teinet.layers import LAYERS, MEM, TIM, TSM, build
from tests.kernels.truth import answers, lay_out

NAMES = list(LAYERS)
CLIPS = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 20), st.integers(1, 6), st.integers(1, 6))


def filled(layer: torch.nn.Module) -> torch.nn.Module:
    """Float64, with no weight left as it began."""
    torch.manual_seed(0)
    for parameter in layer.double().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def frames(clips: int, t: int, channels: int, height: int, width: int, channels_last: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(clips * 1000 + t * 100 + channels)
    x = torch.randn(clips * t, channels, height, width, generator=generator, dtype=torch.float64)
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


@settings(deadline=None, max_examples=30)
@given(CLIPS, st.booleans(), st.sampled_from(NAMES))
def test_any_clip_keeps_shape_format_and_neighbours(shape, channels_last, name):
    """Clips do not mix; nothing depends on a frame two before it (MEM looks ahead only, TIM one frame to each side)."""
    t = shape[1]
    x = frames(*shape, channels_last)
    layer = build(name, shape[2], num_frames=t).double()
    if hasattr(layer, "tim"):
        torch.nn.init.normal_(layer.tim.weight)
    y = layer(x)
    assert y.shape == x.shape
    assert y.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    torch.testing.assert_close(y[:t], layer(x[:t]))
    changed = x.clone()
    changed[0] += 1
    torch.testing.assert_close(layer(changed)[2:], y[2:], rtol=0, atol=1e-14)


@settings(deadline=None, max_examples=30)
@given(CLIPS, st.booleans(), st.booleans())
def test_the_shift_kernel_is_the_shift(shape, channels_last, gradient):
    x = frames(*shape, channels_last).requires_grad_(gradient)
    tim, tsm = (layer(shape[2], num_frames=shape[1]).double() for layer in (TIM, TSM))
    assert torch.equal(tim(x), tsm(x))
    if gradient:
        weights = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
        ours, theirs = (torch.autograd.grad((layer(x) * weights).sum(), x)[0] for layer in (tim, tsm))
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_are_the_numerical_ones(name, channels_last, causal):
    layer = filled(build(name, 8, num_frames=3, causal=causal))
    assert torch.autograd.gradcheck(layer, (frames(2, 3, 8, 2, 1, channels_last).requires_grad_(),))


def test_one_frame_and_identity_kernels_change_nothing():
    x = torch.randn(4, 16, 3, 3)
    assert torch.equal(MEM(16, num_frames=1)(x), x)
    assert torch.equal(TIM(16, num_frames=4, init="identity")(x), x)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", ["sliced", "expanded"])
def test_how_the_input_lies_in_memory_changes_nothing(name, layout):
    layer = build(name, 8, num_frames=2).double()
    x = lay_out(frames(2, 2, 8, 3, 2, False), layout)
    torch.testing.assert_close(layer(x), layer(x.contiguous()), rtol=0, atol=1e-14)
    assert layer(x[:0]).shape == (0, *x.shape[1:])


VIEWS = set("select view permute reshape transpose slice unsqueeze squeeze detach _unsafe_view alias split".split())


class Large(TorchDispatchMode):
    """Records the operators, views apart, that read or write a tensor of `size` elements or more."""

    def __init__(self, size: int):
        super().__init__()
        self.size, self.names = size, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        tensors = [each for each in (*args, result) if isinstance(each, torch.Tensor)]
        if name not in VIEWS and any(each.numel() >= self.size for each in tensors):
            self.names.append(name)
        return result


TOUCHES = {  # an activation is read to pool, read and written once to scale and mix; nothing only copies it
    ("reference", "tim"): ["convolution"], ("cpu", "tim"): ["temporal_conv"],
    ("reference", "mem"): ["sum", "mul"], ("cpu", "mem"): ["tei"],
    ("reference", "se"): ["sum", "mul"], ("cpu", "se"): ["sum", "temporal_conv"],
    ("reference", "tei"): ["sum", "mul", "convolution"], ("cpu", "tei"): ["tei"],
    ("reference", "se_tim"): ["sum", "mul", "convolution"], ("cpu", "se_tim"): ["sum", "temporal_conv"],
}  # fmt: skip


@pytest.mark.parametrize(("form", "name"), TOUCHES)
def test_channels_last_stays_channels_last_without_a_copy(form, name):
    if form not in available_forms():
        pytest.skip(f"the {form} form cannot run here")
    x = torch.randn(16, 32, 7, 5).contiguous(memory_format=torch.channels_last)
    layer = build(name, 32, num_frames=8)
    for gradient in (False, True):
        with use_form(form), Large(x.numel()) as seen:
            y = layer(x.requires_grad_(gradient))
        assert y.stride() == x.stride() == (32 * 7 * 5, 1, 5 * 32, 32)
        assert seen.names == TOUCHES[form, name]


@pytest.mark.parametrize(("gradient", "copy"), [(False, "clone"), (True, "cat")])
def test_tsm_writes_one_copy_which_is_its_output(gradient, copy):
    x = torch.randn(16, 32, 7, 5).contiguous(memory_format=torch.channels_last).requires_grad_(gradient)
    with Large(x.numel()) as seen:
        y = build("tsm", 32, num_frames=8)(x)
    assert y.stride() == x.stride() and [name for name in seen.names if name in ("clone", "cat", "copy_")] == [copy]


@pytest.mark.parametrize(("name", "causal"), [*((name, False) for name in NAMES), ("tei", True), ("tsm", True)])
def test_torch_tools(name, causal):
    """autocast to bfloat16, export and deep copies give the layer's own output."""
    torch.manual_seed(0)
    layer = build(name, 16, num_frames=4, causal=causal).eval()
    x = torch.randn(8, 16, 5, 7).contiguous(memory_format=torch.channels_last)
    want = layer(x)
    torch.testing.assert_close(copy.deepcopy(layer)(x), want)
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), want)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(x)
        assert layer(x.bfloat16()).dtype == half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), want, rtol=0.03, atol=0.03)


@pytest.mark.parametrize(
    ("name", "channels_last", "causal"),
    [("tei", True, False), ("se_tim", True, False), ("tei", False, True), ("tsm", True, True)],
)
def test_compiled_as_one_graph_forward_and_backward(name, channels_last, causal):
    """AOTAutograd traces both directions, as torch's own compiler does; outputs and all gradients are the layer's."""
    torch.manual_seed(0)
    layer = build(name, 16, num_frames=4, causal=causal)
    x = torch.randn(8, 16, 5, 7)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    compiled = answers(torch.compile(layer, backend="aot_eager", fullgraph=True), layer, x)
    for got, want in zip(compiled, answers(layer, layer, x), strict=True):
        torch.testing.assert_close(got, want)
    assert compiled[0].stride() == x.stride() or torch.__version__ < "2.8"  # which lays them out otherwise


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_that_holds_no_whole_clips_is_refused(name):
    with pytest.raises(ConfigError, match=r"10 frames.*T = 4.*set_num_frames"):
        build(name, 8, num_frames=4)(torch.randn(10, 8, 2, 2))


def test_another_number_of_channels_is_refused():
    with pytest.raises(ConfigError, match="with C = 64, got"):
        build("tei", 64, num_frames=4)(torch.randn(4, 32, 2, 2))


@pytest.mark.parametrize("channels", [16, 192])
@pytest.mark.parametrize(("name", "options"), [("mem", {}), ("mem", {"causal": True}), ("se", {})])
def test_fresh_gates_are_about_one_half_on_features_of_any_size(name, options, channels):
    """The features of narrow pretrained networks have means of 10 and more before the module."""
    torch.manual_seed(0)
    layer = build(name, channels, num_frames=4, **options)
    x = 10 * torch.randn(12, channels, 1, 1) + torch.randn(12, channels, 5, 5)
    ratio = (layer(x) / x).mean((2, 3)).unflatten(0, (3, 4))
    if name == "mem":
        passed = ratio[:, 0 if options else -1]
        torch.testing.assert_close(passed, torch.ones_like(passed))
        ratio = ratio[:, 1:] if options else ratio[:, :-1]
    assert (ratio - 0.5).abs().max() < 0.1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("teii", {}, "'tei'"), ("mem", {"reductoin": 4}, "Did you mean 'reduction'"),
        ("tim", {"gate": "paper"}, "its options are init"), ("mem", {"gate": "residuel"}, "Did you mean 'residual'"),
        ("tei", {"num_frames": 0}, "num_frames"), ("tei", {"num_frames": "8"}, "whole number"),
        ("tei", {"reduction": 0}, "reduction"), ("tei", {"reduction": 2.5}, "whole number"),
        ("tsm", {"n_div": 1}, "n_div"),
    ],
)  # fmt: skip
def test_names_and_options_are_checked(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, 8, **{"num_frames": 4, **options})
