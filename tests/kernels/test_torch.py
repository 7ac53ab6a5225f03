"""The operators in torch's own tools: its checks of operators, compilers, export, autocast, counting."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from teinet.kernels import available_forms, use_form
from teinet.layers import TEI
from tests.kernels import truth

needs_cpu = pytest.mark.skipif("cpu" not in available_forms(), reason="the cpu form cannot run here")


def frames(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)


@needs_cpu
@pytest.mark.parametrize("gradient", [False, True])
def test_torch_accepts_the_operators(gradient):
    """Schema, fake shapes, autograd registration and AOT dispatch, by torch.library.opcheck."""
    x = frames(8, 16, 5, 3).requires_grad_(gradient)
    weight, gate = torch.randn(16, 3, requires_grad=gradient), torch.rand(8, 16, requires_grad=gradient)
    check = torch.library.opcheck
    for arguments in ((x, weight, gate, 4), (x, weight, None, 4), (x, None, gate, 8)):
        check(torch.ops.teinet.temporal_conv.default, arguments)
    dy = frames(8, 16, 5, 3)
    plain = [tensor.detach() for tensor in (x, weight, gate)]
    for wanted in ((True, True), (True, False), (False, True)):
        check(torch.ops.teinet.temporal_conv_backward.default, (dy, *plain, 4, 0, *wanted))
    sizes = (2, 16, 1, 1), (2,), (2, 16, 1, 1), (2,), (16, 2, 1, 1), (16,)
    weights = [torch.randn(size, requires_grad=gradient) for size in sizes]
    for kernel, causal in ((weight, True), (None, False)):
        check(torch.ops.teinet.tei.default, (x, *weights, kernel, 4, causal, 0.5))
    if gradient:
        return
    one, two, before = frames(2, 16, 5, 3), frames(2, 16, 5, 3), torch.zeros(2, 17)
    check(torch.ops.teinet.temporal_step.default, (x, weight, gate, one, two))
    check(torch.ops.teinet.tei_step.default, (x, *weights, before, weight, one, two, 0.5))


@needs_cpu
def test_compiled_by_inductor_forwards_and_backwards():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(8, 16, 1), torch.nn.ReLU(), TEI(16, num_frames=4), torch.nn.Conv2d(16, 8, 1)
    block = torch.nn.Sequential(*layers).to(memory_format=torch.channels_last)
    x = frames(8, 8, 6, 5)
    want = truth.answers(block, block, x)
    for got, expected in zip(truth.answers(torch.compile(block, fullgraph=True), block, x), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@needs_cpu
def test_an_exported_layer_runs_without_this_library_unless_a_form_is_asked_for():
    x, layer = frames(8, 16, 5, 3), TEI(16, num_frames=4).eval()
    plain = torch.export.export(layer, (x,))
    assert not [node for node in plain.graph.nodes if "teinet" in str(node.target)]
    torch.testing.assert_close(plain.module()(x), layer(x))
    with use_form("cpu"):
        own = torch.export.export(layer, (x,))
        assert [node for node in own.graph.nodes if "teinet.tei" in str(node.target)]
        torch.testing.assert_close(own.module()(x), layer(x))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_autocast_gives_its_type_and_gradients_of_the_parameters_own(memory_format):
    layer, x = TEI(16, num_frames=4), frames(8, 16, 5, 3).contiguous(memory_format=memory_format)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for given in (x, x.bfloat16()):
            y = layer(given)
            assert y.dtype == torch.bfloat16 and y.is_contiguous(memory_format=memory_format)
    y.float().square().sum().backward()
    want = torch.autograd.grad(layer(x).square().sum(), list(layer.parameters()))
    for parameter, expected in zip(layer.parameters(), want, strict=True):
        assert parameter.grad.dtype == torch.float32
        torch.testing.assert_close(parameter.grad, expected, rtol=0.05, atol=0.05 * expected.abs().max().item())


def test_the_counter_of_flops_sees_the_same_in_every_form(form):
    layer, x = TEI(16, num_frames=4), frames(8, 16, 5, 3)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(x)
    gates = 2 * 3 * (2 * 3) * 16 * 2  # three products of 16 by 2, for 2 clips of 3 differences
    assert counter.get_total_flops() == gates + 2 * 3 * x.numel()


def test_inference_mode_and_threads(form):
    """A recognizer computes in inference mode, often in several threads."""
    from concurrent.futures import ThreadPoolExecutor

    layer, inputs = TEI(32, num_frames=4).eval(), [frames(4, 32, 9, 9) * k for k in range(1, 9)]
    with torch.no_grad():
        want = [layer(x) for x in inputs]

    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return layer(x)

    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(run, inputs), want, strict=True):
            assert torch.equal(got, expected)


@needs_cpu
def test_second_derivatives_are_refused_in_words_and_right_in_the_plain_form():
    layer = TEI(4, num_frames=3)
    x = frames(3, 4, 2, 2).requires_grad_()
    with pytest.raises(RuntimeError, match=r"first derivatives only.*use_form\('reference'\)"):
        torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with use_form("reference"):
        assert torch.autograd.gradgradcheck(layer.double(), (x.detach().double().requires_grad_(),))


@needs_cpu
def test_what_the_operator_itself_cannot_compute_is_refused():
    x = frames(8, 16, 5, 3)
    with pytest.raises(TypeError, match=r"do not compute torch\.float64 on this CPU"):
        torch.ops.teinet.temporal_conv(x.double(), torch.randn(16, 3), None, 4)
