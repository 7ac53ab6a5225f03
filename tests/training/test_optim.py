"""Parameter groups and schedules: each parameter's rate and decay, and the paper's table worked out by hand."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import nn

from teinet.models.factory import create_model
from teinet.training.module import frozen_norms
from teinet.training.optim import build_optimizer, build_schedule, milestones, parameter_groups
from teinet.training.recipe import OptimConfig, Recipe


@pytest.fixture(scope="module")
def network():
    return create_model("teinet_resnet18", num_classes=7, num_frames=2)


def grouped(network, config: OptimConfig | None = None, lr: float = 0.01) -> dict[str, dict]:
    """For each parameter's name its group."""
    groups = parameter_groups(network, network.head, config or OptimConfig(), lr)
    ids = {id(p): group for group in groups for p in group["params"]}
    assert len(ids) == sum(len(g["params"]) for g in groups), "a parameter stands in two groups"
    return {name: ids[id(p)] for name, p in network.named_parameters() if id(p) in ids}


def test_every_parameter_once_with_its_rate_and_decay(network):
    group_of = grouped(network)
    assert set(group_of) == {name for name, _ in network.named_parameters()}
    norms = {id(p) for m in network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    for name, parameter in network.named_parameters():
        group = group_of[name]
        if name.endswith("fc.weight"):
            wanted = (0.05, 1e-4)
        elif name.endswith("fc.bias"):
            wanted = (0.1, 0.0)
        elif id(parameter) in norms:
            wanted = (0.01, 0.0)
        elif name.endswith("bias"):
            wanted = (0.02, 0.0)
        else:
            wanted = (0.01, 1e-4)
        assert (group["lr"], group["weight_decay"]) == (pytest.approx(wanted[0]), wanted[1]), name


def test_a_system_learns_at_one_rate_and_trns_biases_at_twice_it():
    for name, rates in (("r2plus1d_18", {0.01}), ("trn_resnet18", {0.01, 0.02})):
        config = Recipe.load(model=name, **({"optim.head_lr_scale": 1.0} if name.startswith("trn") else {})).optim
        group_of = grouped(create_model(name, num_classes=3, num_frames=4), config)
        assert {group["lr"] for group in group_of.values()} == rates
        head = "cnn.fc.bias" if name.startswith("r2") else "consensus.fc_fusion_scales.0.3.bias"
        assert group_of[head]["lr"] == max(rates) and group_of[head]["weight_decay"] == 0


def test_temporal_modules_learn_at_their_own_rate(network):
    plain, scaled = grouped(network), grouped(network, OptimConfig(temporal_lr_scale=10.0))
    temporal = {name for name in scaled if ".mem." in name or ".tim." in name}
    assert len(temporal) == 8 * 7
    for name, group in scaled.items():
        times = 10 if name in temporal else 1
        assert group["lr"] == pytest.approx(times * plain[name]["lr"]), name
        assert group["weight_decay"] == plain[name]["weight_decay"], name


def test_frozen_parameters_are_in_no_group(network):
    network = deepcopy(network)
    name, frozen = next(network.named_parameters())
    frozen.requires_grad_(False)
    assert name not in grouped(network)


def test_layer_norms_are_not_decayed():
    network = create_model("tim_convnext_atto", num_classes=3, num_frames=2)
    group_of = grouped(network)
    norms = [name for name in group_of if ".norm" in name or ".stem.1." in name]
    assert len(norms) > 20 and all(group_of[name]["weight_decay"] == 0 for name in norms)


def rates(config: OptimConfig, steps: int, lr: float = 0.01) -> list[float]:
    """The rate of each step of a run, as the optimizer has it when the step is taken."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer([{"params": [weight], "lr": lr, "weight_decay": 0.0}], config)
    schedule = build_schedule(optimizer, config, steps)
    taken = []
    for _ in range(config.epochs * steps):
        taken.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return taken


def test_the_papers_schedule():
    # section 4.2: 50 epochs, 0.01, a tenth at epochs 30, 40 and 45
    taken = rates(OptimConfig(), steps=3)
    table = [0.01] * 30 + [0.001] * 10 + [1e-4] * 5 + [1e-5] * 5
    assert taken == pytest.approx([rate for rate in table for _ in range(3)])


@pytest.mark.parametrize(("epochs", "falls"), [(50, [30, 40, 45]), (100, [60, 80, 90]), (10, [6, 8, 9])])
def test_milestones_follow_the_length(epochs, falls):
    assert milestones(OptimConfig(epochs=epochs)) == pytest.approx(falls)
    assert milestones(OptimConfig(epochs=epochs, milestones=[2, 3])) == [2, 3]


def test_warm_up_rises_in_even_steps_and_leaves_the_milestones_where_they_are():
    taken = rates(OptimConfig(epochs=10, warmup=1), steps=4, lr=1.0)
    assert taken[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert taken[4:24] == pytest.approx([1.0] * 20) and taken[24:32] == pytest.approx([0.1] * 8)
    assert taken[32:] == pytest.approx([0.01] * 4 + [0.001] * 4)


@pytest.mark.parametrize("warmup", [0, 2])
def test_cosine_falls_to_zero(warmup):
    taken = rates(OptimConfig(epochs=10, schedule="cosine", warmup=warmup), steps=2, lr=1.0)
    begin, total = 2 * warmup, 20
    wanted = [(1 + math.cos(math.pi * s / (total - begin))) / 2 for s in range(total - begin)]
    assert taken[begin:] == pytest.approx(wanted)


def test_one_cycle_rises_for_30_percent_and_falls_to_nothing():
    taken = rates(OptimConfig(epochs=10, schedule="onecycle"), steps=10, lr=1.0)
    assert max(taken) == pytest.approx(1.0, abs=1e-3) and taken.index(max(taken)) in (29, 30)
    assert taken[0] == pytest.approx(0.04) and taken[-1] < 1e-3
    assert len(rates(OptimConfig(epochs=1, schedule="onecycle"), steps=1)) == 1


def test_every_group_follows_the_schedule_in_proportion(network):
    config = OptimConfig(epochs=2, milestones=[1])
    optimizer = build_optimizer(parameter_groups(network, network.head, config, 0.01), config)
    schedule = build_schedule(optimizer, config, 1)
    before = [g["lr"] for g in optimizer.param_groups]
    optimizer.step()
    schedule.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([rate / 10 for rate in before])
    assert len(set(before)) == 4 and {g["momentum"] for g in optimizer.param_groups} == {0.9}


def test_nesterovs_step_by_hand():
    """v = 0.9 v + g, w -= lr (g + 0.9 v): from w = 1, g = w twice; without it w -= lr v."""
    for nesterov, want in ((False, [0.9, 0.72]), (True, [0.81, 0.5751])):
        weight = torch.nn.Parameter(torch.ones(1))
        config = OptimConfig(nesterov=nesterov)
        optimizer = build_optimizer([{"params": [weight], "lr": 0.1}], config)
        found = []
        for _ in range(2):
            weight.grad = weight.detach().clone()
            optimizer.step()
            found.append(weight.item())
        assert found == pytest.approx(want, rel=1e-5)


def test_the_rate_follows_the_global_batch():
    assert OptimConfig().learning_rate(1) == pytest.approx(0.01)
    assert OptimConfig().learning_rate(8) == pytest.approx(0.08)
    assert OptimConfig(batch_size=8, accumulate=2).learning_rate(1) == pytest.approx(0.0025)
    assert OptimConfig(batch_size=8, scale_lr=False).learning_rate(4) == 0.01


def test_partial_batch_norm(network):
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert frozen_norms(network, "none") == [] and frozen_norms(network, "all") == norms
    assert frozen_norms(network, "all_but_first") == norms[1:] and norms[0] is network.cnn.bn1
