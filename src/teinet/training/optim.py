"""Parameter groups and learning-rate schedules of TSN, TSM and their family."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import lr_scheduler

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
    members: dict[str, list[nn.Parameter]] = {name: [] for name in groups}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        bias = name.endswith("bias")
        if id(parameter) in head_ids and id(parameter) not in norm_ids:
            members["head bias" if bias else "head weight"].append(parameter)
        elif id(parameter) in norm_ids:
            members["norms"].append(parameter)
        elif id(parameter) in first_ids:
            members["first bias" if bias else "first weight"].append(parameter)
        elif id(parameter) in temporal_ids:
            members["temporal biases" if bias else "temporal weights"].append(parameter)
        else:
            members["biases" if bias else "weights"].append(parameter)
    return [{"name": n, "params": members[n], **groups[n]} for n in groups if members[n]]


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
    if config.schedule == "onecycle":
        peaks = [g["lr"] for g in optimizer.param_groups]
        return lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=max(total, 2), cycle_momentum=False)
    warmup = round(config.warmup * steps_per_epoch)
    if config.schedule == "cosine":
        main = lr_scheduler.CosineAnnealingLR(optimizer, max(total - warmup, 1))
    else:
        steps = [round(m * steps_per_epoch) - warmup for m in milestones(config)]
        main = lr_scheduler.MultiStepLR(optimizer, steps, config.gamma)
    if not warmup:
        return main
    rise = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup)
    return lr_scheduler.SequentialLR(optimizer, [rise, main], [warmup])


def milestones(config: OptimConfig) -> list[float]:
    """Return the epochs at which the rate falls: those set, or 60, 80 and 90 % of all, as in the paper's 50."""
    return list(config.milestones) if config.milestones is not None else [config.epochs * s for s in (0.6, 0.8, 0.9)]
