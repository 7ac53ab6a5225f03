"""Run by test_triton.py: the Triton form against float64, on a GPU or interpreted on a CPU, and in torch's tools."""

from __future__ import annotations

import itertools

import numpy as np
import torch

import teinet
from teinet.kernels import Squeeze, tei, temporal_conv, use_form
from teinet.layers import TEI
from tests.kernels import truth
from tests.networks import wake

SHAPES = [(2, 3, 33, 3, 5), (1, 1, 7, 2, 2), (1, 3, 130, 7, 6)]  # 130 channels and 42 pixels fill several tiles
TYPES = [torch.float32, torch.float16, torch.bfloat16]


def numbers(device: str = "cpu") -> None:
    cases = [*itertools.product(SHAPES, TYPES[:1], ("both", "weight", "gate"), (0, 1))]
    for shape, dtype, kind, lag in (*cases, *((SHAPES[0], dtype, "both", 0) for dtype in TYPES[1:])):
        truth.check_temporal_conv(shape, dtype, kind=kind, layout="channels_last", lag=lag, device=device)


def gates(device: str = "cpu") -> None:
    """MEM's gate with and without TIM: output and gradients of features and weights."""
    generator = torch.Generator().manual_seed(0)
    cases = [(shape, torch.float32, causal, mixes) for shape in SHAPES[::2] for causal in (0, 1) for mixes in (0, 1)]
    for shape, dtype, causal, mixes in (*cases, *((SHAPES[0], dtype, 0, 1) for dtype in TYPES[1:])):
        clips, num_frames, channels, height, width = shape
        x = torch.randn(clips * num_frames, channels, height, width, generator=generator)
        narrow, wide = (20, channels, 1, 1), (channels, 20, 1, 1)
        sizes = narrow, (20,), narrow, (20,), wide, (channels,)
        given = [x, *(torch.randn(size, generator=generator) for size in sizes)]
        if mixes:
            given.append(torch.randn(channels, 3, generator=generator))
        given = [each.to(device, dtype) for each in given]
        given[0] = given[0].contiguous(memory_format=torch.channels_last)
        given = [each.requires_grad_() for each in given]
        y = tei(given[0], Squeeze(*given[1:7]), (given[7:] or [None])[0], num_frames=num_frames, causal=bool(causal))
        exact = [each.detach().double().requires_grad_() for each in given]
        want = truth.tei(exact[0], exact[1:7], (exact[7:] or [None])[0], num_frames, bool(causal), 0.0)
        towards = torch.randn(x.shape, generator=generator).to(device, dtype)
        limit = 1e-5 if dtype == torch.float32 else 2e-2
        assert y.dtype == dtype and truth.error(y, want) < limit, (shape, dtype, causal, mixes)
        theirs = truth.gradients(want, towards.double(), exact)
        for ours, exactly in zip(truth.gradients(y, towards, given), theirs, strict=True):
            far = (ours.double() - exactly).abs().max() / exactly.abs().max().clamp_min(1.0)
            assert far < 10 * limit, (shape, dtype, causal, mixes, far)


def a_frame_without_a_gate_passes(device: str = "cpu") -> None:
    """Also where the gates of its clip are no numbers."""
    x = torch.ones(3, 8, 1, 1, device=device).contiguous(memory_format=torch.channels_last)
    sizes = (2, 8, 1, 1), (2,), (2, 8, 1, 1), (2,), (8, 2, 1, 1), (8,)
    weights = [torch.full(size, float("inf"), device=device) for size in sizes]
    assert tei(x, Squeeze(*weights), num_frames=3)[2].eq(1).all()


def tools() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 16, 5, 3).contiguous(memory_format=torch.channels_last)
    weight, gate = torch.randn(16, 3, requires_grad=True), torch.rand(8, 16, requires_grad=True)
    torch.library.opcheck(torch.ops.teinet.temporal_conv.default, (x.clone().requires_grad_(), weight, gate, 4))
    layer = TEI(16, num_frames=4)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for got, want in zip(truth.answers(compiled, layer, x), truth.answers(layer, layer, x)):
        torch.testing.assert_close(got, want)
    exported = torch.export.export(layer, (x,))
    assert [node for node in exported.graph.nodes if "teinet.tei" in str(node.target)]
    torch.testing.assert_close(exported.module()(x), layer(x))
    with torch.autocast("cpu", dtype=torch.float16):
        assert layer(x).dtype == torch.float16


def vectors() -> None:
    """The golden vectors, where they are."""
    from tests.layers.test_golden import VECTORS, tei_with

    for path in sorted(VECTORS.glob("t[238]_*.npz")):
        with np.load(path) as file:
            data = {key: torch.from_numpy(file[key]) for key in file}
        x = data["x"].flatten(0, 1).float().contiguous(memory_format=torch.channels_last)
        tei = tei_with(data, torch.float32, data["x"].shape[1])
        with torch.no_grad():
            for key, value in {"mem": tei.mem(x), "tim": tei.tim(x), "tei": tei(x)}.items():
                want = data[key].flatten(0, 1)
                assert truth.error(value, want) < 2e-6, f"{path.name}: {key}"


def network(device: str = "cpu") -> None:
    """A whole network's logits and gradients are the reference's."""
    torch.manual_seed(0)
    model = teinet.create_model("teinet_test_resnet", num_classes=3, num_frames=3, dropout=0.0).eval()
    wake(model).to(device)
    clips, found = torch.randn(1, 3, 3, 32, 32).to(device), {}
    for form in ("reference", "triton"):
        with use_form(form):
            found[form] = truth.answers(model, model, clips)
    for got, want in zip(found["triton"], found["reference"]):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4 * max(1.0, want.abs().max().item()))


def used() -> None:
    """The form that was asked for is the one that ran."""
    from teinet.kernels import triton_kernels

    calls, forward = [], triton_kernels.forward
    triton_kernels.forward = lambda *arguments: calls.append(1) or forward(*arguments)
    try:
        temporal_conv(torch.ones(4, 8, 2, 2).to(memory_format=torch.channels_last), torch.ones(8, 3), num_frames=4)
    finally:
        triton_kernels.forward = forward
    assert calls


if __name__ == "__main__":
    with use_form("triton"):
        used()
        numbers()
        gates()
        a_frame_without_a_gate_passes()
        tools()
        vectors()
    network()
    print("all equal")
