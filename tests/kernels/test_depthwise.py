"""The fast backward pass of depthwise convolutions, against torch's own in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from teinet.kernels import FastDepthwise, available_forms
from teinet.kernels import depthwise as module

pytestmark = pytest.mark.skipif("cpu" not in available_forms(), reason="no C++ compiler")


@pytest.fixture
def calls(monkeypatch):
    """How often the fast pass ran."""
    seen = []
    run = module.cpu.depthwise_backward
    monkeypatch.setattr(module.cpu, "depthwise_backward", lambda *args: seen.append(args) or run(*args))
    return seen


def _gradients(x, weight, bias, *, fast, **geometry):
    x, weight = x.clone(memory_format=torch.preserve_format).requires_grad_(), weight.clone().requires_grad_()
    bias = None if bias is None else bias.clone().requires_grad_()
    if fast:
        with FastDepthwise():
            y = F.conv2d(x, weight, bias, groups=x.shape[1], **geometry)
    else:
        y = F.conv2d(x, weight, bias, groups=x.shape[1], **geometry)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)  # not channels-last: must not matter
    (y * weights).sum().backward()
    return [t.grad for t in (x, weight, bias) if t is not None]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("channels", [2, 31, 32, 33, 96])
@pytest.mark.parametrize(
    ("size", "kernel", "geometry"),
    [
        ((4, 4), (5, 5), {"padding": 2}),
        ((9, 7), (5, 5), {"padding": 2, "stride": 2}),
        ((11, 11), (5, 5), {"stride": 2}),
        ((9, 10), (7, 3), {"padding": (3, 1), "stride": (1, 2)}),
        ((12, 9), (5, 5), {"padding": (4, 2), "dilation": (2, 1)}),
        ((3, 2), (8, 8), {"padding": 7}),
        ((1, 1), (5, 5), {"padding": 2}),
        ((17, 13), (5, 5), {"padding": 0}),
    ],
)
def test_gradients_are_those_of_float64(calls, size, kernel, geometry, channels, threads):
    torch.manual_seed(0)
    x = torch.randn(19, channels, *size).to(memory_format=torch.channels_last)
    weight, bias = torch.randn(channels, 1, *kernel), torch.randn(channels)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fast = _gradients(x, weight, bias, fast=True, **geometry)
    finally:
        torch.set_num_threads(before)
    assert len(calls) == 1
    truth = _gradients(x.double(), weight.double(), bias.double(), fast=False, **geometry)
    for ours, theirs in zip(fast, truth, strict=True):
        assert (ours - theirs).abs().max() <= 2e-6 * max(theirs.abs().max(), 1)


def test_results_do_not_depend_on_threads():
    x = torch.randn(5, 40, 6, 6).to(memory_format=torch.channels_last)
    weight = torch.randn(40, 1, 5, 5)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(_gradients(x, weight, None, fast=True, padding=2))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_only_wanted_gradients_are_computed(calls):
    x = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last)
    weight = torch.randn(8, 1, 5, 5)
    with FastDepthwise():
        F.conv2d(x, weight.requires_grad_(), groups=8).sum().backward()
        F.conv2d(x.requires_grad_(), weight.detach(), groups=8).sum().backward()
    assert [args[-2:] for args in calls] == [(False, True), (True, False)]


@pytest.mark.parametrize(
    "case",
    ["three by three", "float64", "nchw", "grouped", "no gradient", "autocast", "padding by name"],
)
def test_everything_else_goes_its_usual_way(calls, case):
    x = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last).requires_grad_(case != "no gradient")
    weight = torch.randn(8, 1, 5, 5)
    if case == "three by three":
        weight = torch.randn(8, 1, 3, 3)
    elif case == "float64":
        x, weight = x.double().detach().requires_grad_(), weight.double()
    elif case == "nchw":
        x = x.detach().contiguous().requires_grad_()
    elif case == "grouped":
        weight = torch.randn(8, 4, 5, 5)
    groups = 2 if case == "grouped" else 8
    padding = "same" if case == "padding by name" else 2
    expected = F.conv2d(x, weight, padding=padding, groups=groups)
    with FastDepthwise(), torch.autocast("cpu", enabled=case == "autocast"):
        y = F.conv2d(x, weight, padding=padding, groups=groups)
    assert torch.allclose(y.to(expected.dtype), expected, atol=0.1 if case == "autocast" else 1e-6)
    if case != "no gradient":
        y.sum().backward()
    assert not calls


def test_a_network_learns_the_same(calls):
    def gradients(fast):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.ReLU6(), nn.Conv2d(16, 16, 5, padding=2, groups=16, bias=False), nn.ReLU6()
        ).to(memory_format=torch.channels_last)
        x = torch.randn(4, 3, 12, 12).to(memory_format=torch.channels_last)
        if fast:
            with FastDepthwise():
                net(x).square().mean().backward()
        else:
            net(x).square().mean().backward()
        return [p.grad for p in net.parameters()]

    for ours, theirs in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert len(calls) == 1
