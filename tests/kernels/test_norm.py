"""Batch norm and activation as one operation on a CPU, against torch's own in float64."""

import copy
from contextlib import nullcontext

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from teinet.kernels import available_forms, fast_norms
from teinet.kernels import norm as module
from teinet.models import create_model

pytestmark = pytest.mark.skipif("cpu" not in available_forms(), reason="no C++ compiler")


@pytest.fixture
def calls(monkeypatch):
    """How often the fast operation ran."""
    seen = []
    run = module.cpu.batch_norm_moments
    monkeypatch.setattr(module.cpu, "batch_norm_moments", lambda x: seen.append(tuple(x.shape)) or run(x))
    return seen


def _norm(channels, act=nn.ReLU, **options):
    torch.manual_seed(0)
    norm = BatchNormAct2d(channels, act_layer=act, apply_act=act is not nn.Identity, **options)
    if norm.affine:
        norm.weight.data.normal_()
        norm.bias.data.normal_()
    return norm


def _pictures(*shape):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(*shape, generator=generator) * torch.rand(shape[1], 1, 1, generator=generator) * 3
    return (x + torch.randn(shape[1], 1, 1, generator=generator) * 4).to(memory_format=torch.channels_last)


def _step(norm, x, *, fast):
    """y, dx, and all that the layer keeps or learns by, of one step."""
    norm, x = copy.deepcopy(norm), x.clone(memory_format=torch.preserve_format).requires_grad_()
    weights = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view(x.shape)  # not channels-last: must not matter
    if fast:
        with fast_norms(norm):
            y = norm(x)
            (y * weights).sum().backward()
    else:
        y = norm(x)
        (y * weights).sum().backward()
    return [y.detach(), x.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("act", [nn.Identity, nn.ReLU, nn.ReLU6], ids=str)
@pytest.mark.parametrize(
    "shape", [(6, 1, 1, 1), (3, 5, 4, 4), (1, 32, 7, 9), (19, 33, 13, 11), (7, 96, 28, 28)], ids=str
)
def test_values_gradients_and_statistics_are_those_of_float64(calls, shape, act, threads):
    norm, x = _norm(shape[1], act), _pictures(*shape)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = _step(norm, x, fast=True)
    finally:
        torch.set_num_threads(before)
    assert calls == [shape]
    truth = _step(norm.double(), x.double(), fast=False)
    plain = _step(norm.float(), x, fast=False)
    for mine, theirs, exact in zip(ours, plain, truth, strict=True):
        limit = 5e-6 * max(exact.abs().max(), 1)
        assert (mine - exact).abs().max() <= max(limit, 2 * (theirs - exact).abs().max())


def test_a_mean_far_from_zero_costs_no_digits():
    x = (_pictures(8, 6, 20, 20) + 1000).to(memory_format=torch.channels_last)
    ours, truth = _step(_norm(6), x, fast=True), _step(_norm(6).double(), x.double(), fast=False)
    assert (ours[5] - truth[5]).abs().max() <= 1e-5 * truth[5].abs().max()


@pytest.mark.parametrize("momentum", [None, 0.3])
def test_running_statistics_follow_momentum_over_several_steps(momentum):
    ours, theirs = _norm(4, nn.ReLU6, momentum=momentum), _norm(4, nn.ReLU6, momentum=momentum)
    for _ in range(3):
        x = _pictures(3, 4, 5, 5) * torch.rand(())
        with fast_norms(ours):
            ours(x)
        theirs(x)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_results_do_not_depend_on_threads():
    norm, x = _norm(40, nn.ReLU), _pictures(5, 40, 9, 9)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(_step(norm, x, fast=True))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_what_is_not_a_number_stays_so():
    x = _pictures(2, 3, 4, 4)
    x[0, 1, 2, 2] = torch.nan
    y = _step(_norm(3, nn.ReLU6), x, fast=True)[0]
    assert y[:, 1].isnan().all()
    assert y[:, [0, 2]].isfinite().all()


@pytest.mark.parametrize(
    "case",
    [
        "testing",
        "float64",
        "nchw",
        "autocast",
        "no statistics",
        "another activation",
        "dropout",
        "affine",
        "alone",
        "one value",
    ],
)
def test_everything_else_goes_its_usual_way(calls, case):
    act = nn.Hardswish if case == "another activation" else nn.ReLU
    options = {"affine": False} if case == "affine" else {}
    options |= {"track_running_stats": False} if case == "no statistics" else {}
    options |= {"drop_layer": nn.Dropout} if case == "dropout" else {}
    norm, x = _norm(4, act, **options), _pictures(2, 4, 3, 3)
    if case == "alone":
        norm = nn.BatchNorm2d(4)
    elif case == "testing":
        norm.eval()
    elif case == "float64":
        norm, x = norm.double(), x.double()
    elif case == "nchw":
        x = x.contiguous()
    elif case == "one value":
        x = x[:1, :, :1, :1]
        with fast_norms(norm), pytest.raises(ValueError, match="more than 1 value"):
            norm(x)
        return
    torch.manual_seed(0)
    expected = norm(x)
    torch.manual_seed(0)
    with fast_norms(norm), torch.autocast("cpu", enabled=case == "autocast"):
        y = norm(x)
    assert torch.allclose(y.to(expected.dtype), expected, atol=0.1 if case == "autocast" else 1e-6)
    assert not calls


def test_with_the_contexts_end_all_is_as_before(calls):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), _norm(4, nn.ReLU)).to(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="on purpose"), fast_norms(net):
        assert "forward" in vars(net[1])
        raise RuntimeError("on purpose")
    assert "forward" not in vars(net[1])
    net(_pictures(2, 3, 4, 4))
    assert not calls


def test_a_layer_that_does_not_learn_gets_no_gradient():
    norm, x = _norm(4, nn.ReLU).requires_grad_(False), _pictures(2, 4, 3, 3)
    with fast_norms(norm):
        assert not norm(x).requires_grad
        norm(x.requires_grad_()).sum().backward()
    assert norm.weight.grad is None
    assert x.grad is not None


def test_recomputed_blocks_give_the_same_gradients():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), _norm(8, nn.ReLU6), nn.Conv2d(8, 4, 1)).to(
        memory_format=torch.channels_last
    )
    x, found = _pictures(4, 3, 8, 8), []
    for run in (net, lambda x: checkpoint(net, x, use_reentrant=False)):
        net.zero_grad()
        with fast_norms(net):
            run(x).square().mean().backward()
        found.append([p.grad.clone() for p in net.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_networks_step_is_as_close_to_float64_as_torchs(calls):
    torch.manual_seed(0)
    model = create_model("teinet_tf_efficientnet_lite0", num_classes=3, num_frames=4, dropout=0.0).train()
    clips = torch.randn(2, 4, 3, 64, 64)

    def step(model, clips, fast):
        model = copy.deepcopy(model)
        with fast_norms(model) if fast else nullcontext():
            logits = model(clips)
            cross_entropy(logits, torch.tensor([0, 2])).backward()
        return [logits.detach(), *(p.grad for p in model.parameters())]

    def errors(found):
        return torch.stack([(a - b).norm() / (b.norm() + 1e-9) for a, b in zip(found, truth, strict=True)])

    truth = step(model.double(), clips.double(), fast=False)
    plain, ours = (errors(step(model.float(), clips, fast)) for fast in (False, True))
    assert len(calls) == 49
    assert ours[0] <= max(1e-5, 2 * plain[0])
    assert ours.median() <= max(1e-5, 2 * plain.median())
