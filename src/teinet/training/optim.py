"""Parameter groups and learning-rate schedules of TSN, TSM and their family."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.models import group_parameters
from torch import nn
from torch.optim import lr_scheduler

from teinet.errors import ConfigError
from teinet.models.classifier import VideoClassifier
from teinet.models.insertion import temporal_modules
from teinet.training.recipe import OptimConfig

_FIRST = 5.0  # of a flow network: its kernel starts as a mean
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def parameter_groups(model: nn.Module, head: nn.Module, config: OptimConfig, lr: float) -> list[dict]:
    """Return parameter groups: no decay for norms and biases; own rates for biases, temporal modules and head.

    The first convolution of a flow network gets five times the rate, as in TSN's and TSM's `get_optim_policies`.

    The head is given, not found by type, because MEM has convolutions that look like a classifier.
    """
    scale = config.temporal_lr_scale
    temporal_ids = {id(p) for m in temporal_modules(model) for p in m.parameters()} if scale != 1 else set()
    is_flow = isinstance(model, VideoClassifier) and model.num_channels != 3
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d)) if is_flow else None
    first_ids = {id(p) for p in first.parameters()} if first else set()
    head_ids = {id(p) for p in head.parameters()}
    norm_ids = {id(p) for m in model.modules() if _is_norm(m) for p in m.parameters(recurse=False)}
    groups: dict[str, dict] = {
        "weights": {"lr": lr, "weight_decay": config.weight_decay},
        "biases": {"lr": lr * config.bias_lr_scale, "weight_decay": 0.0},
        "norms": {"lr": lr, "weight_decay": 0.0},
        "first weight": {"lr": lr * _FIRST, "weight_decay": config.weight_decay},
        "first bias": {"lr": lr * _FIRST * config.bias_lr_scale, "weight_decay": 0.0},
        "temporal weights": {"lr": lr * scale, "weight_decay": config.weight_decay},
        "temporal biases": {"lr": lr * scale * config.bias_lr_scale, "weight_decay": 0.0},
        "head weight": {"lr": lr * config.head_lr_scale, "weight_decay": config.weight_decay},
        "head bias": {"lr": lr * config.head_lr_scale * config.bias_lr_scale, "weight_decay": 0.0},
    }
    depths = _depths(model) if config.layer_decay < 1 else {}
    members: dict[tuple[str, int], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        bias = name.endswith("bias")
        if id(parameter) in head_ids and id(parameter) not in norm_ids:
            group = "head bias" if bias else "head weight"
        elif id(parameter) in norm_ids:
            group = "norms"
        elif id(parameter) in first_ids:
            group = "first bias" if bias else "first weight"
        elif id(parameter) in temporal_ids:
            group = "temporal biases" if bias else "temporal weights"
        else:
            group = "biases" if bias else "weights"
        members.setdefault((group, depths.get(name, 0)), []).append(parameter)
    found = []
    for group, below in sorted(members, key=lambda each: (list(groups).index(each[0]), each[1])):
        settings = {**groups[group], "lr": groups[group]["lr"] * config.layer_decay**below}
        label = f"{group} {below} below" if below else group
        found.append({"name": label, "params": members[group, below], **settings})
    return found


def _depths(model: nn.Module) -> dict[str, int]:
    """Return for each parameter of a classifier how many layers of its backbone are above its own; 0 in the head.

    A layer is what timm counts as one: a block of a ResNet.
    """
    assert isinstance(model, VideoClassifier)
    names = [name for name, _ in model.named_parameters()]
    matcher = getattr(model.cnn, "group_matcher", None)
    if matcher is None:
        raise ConfigError("optim.layer_decay needs a backbone of timm, which knows its layers; leave it out")
    layers: Any = group_parameters(model.cnn, matcher(), reverse=True)
    top = max(map(int, layers.values()))
    return {name: top - int(layers[inner]) for name in names if (inner := name.removeprefix("cnn.")) in layers}


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NORMS) or ("norm" in type(module).__name__.lower() and not list(module.children()))


def build_optimizer(groups: list[dict], config: OptimConfig) -> torch.optim.Optimizer:
    """Return SGD with momentum (the paper's) or AdamW over the groups."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=groups[0]["lr"], momentum=config.momentum, nesterov=config.nesterov)
    return torch.optim.AdamW(groups, lr=groups[0]["lr"])


def build_schedule(
    optimizer: torch.optim.Optimizer, config: OptimConfig, steps_per_epoch: int
) -> lr_scheduler.LRScheduler:
    """Return the learning-rate schedule, counted in optimizer steps."""
    total = config.epochs * steps_per_epoch
    warmup = round(config.warmup * steps_per_epoch)
    falls = [round(m * steps_per_epoch) for m in milestones(config)]

    def factor(step: int) -> float:
        if config.schedule == "onecycle":  # from 1/25 up to 1, down to 1/250,000, as torch's OneCycleLR does
            peak, last = 0.3 * total - 1, total - 1
            if step <= peak:
                return _cosine(1 / 25, 1, step / peak)
            return _cosine(1, 4e-6, min(1.0, (step - peak) / max(last - peak, 1)))
        if step < warmup:
            return (1 + step) / (1 + warmup)
        if config.schedule == "cosine":
            return _cosine(1, 0, min(1.0, (step - warmup) / max(total - warmup, 1)))
        return config.gamma ** sum(step >= fall for fall in falls)

    return lr_scheduler.LambdaLR(optimizer, factor)  # of the step alone: a run that gets more epochs takes its new form


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def milestones(config: OptimConfig) -> list[float]:
    """Return the epochs at which the rate falls: those set, or 60, 80 and 90 % of all, as in the paper's 50."""
    return list(config.milestones) if config.milestones is not None else [config.epochs * s for s in (0.6, 0.8, 0.9)]
