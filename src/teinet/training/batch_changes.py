"""Changes of a whole batch before a training step: clips mixed with each other, backgrounds exchanged."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.tv_tensors import Video

from teinet.training.recipe import Recipe


def changed(clips: Tensor, labels: Tensor, recipe: Recipe, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return the clips of a step as the recipe's mixup, cutmix and swap_background change them, with their targets.

    Random numbers are torch's; a batch of one clip is left as it is.

    Args:
        clips: (B, T, C, H, W) uint8, or normalized float.
        labels: (B,) int64.

    Returns:
        Clips of the same shape and type; labels (B,), or where clips are mixed their shares (B, classes) float32.
    """
    config = recipe.optim
    if len(clips) > 1 and recipe.clip.swap_background:
        clips = swap_background(clips, recipe.clip.swap_background)
    kinds = [kind for kind, alpha in (("mixup", config.mixup), ("cutmix", config.cutmix)) if alpha]
    if not kinds or len(clips) < 2:
        return clips, labels
    kind = kinds[int(torch.randint(len(kinds), ()))]
    mix = v2.MixUp if kind == "mixup" else v2.CutMix
    alpha = getattr(config, kind)
    mixed, targets = mix(alpha=alpha, num_classes=num_classes)(Video(clips.float()), labels)
    return _as(mixed.as_subclass(Tensor), clips), targets.float()


def swap_background(clips: Tensor, share: float) -> Tensor:
    """Replace the mean over time of a share of the clips (B, T, C, H, W) by that of another one of the batch.

    The mean frame holds what stands still: the place, not the action. In the spirit of ActorCutMix
    (https://arxiv.org/abs/2112.13804), which needs a detector of people.
    """
    values = clips.float()
    place = values.mean(1, keepdim=True)
    chosen = (torch.rand(len(clips)) < share).to(clips.device).view(-1, 1, 1, 1, 1)
    return _as(torch.where(chosen, values - place + place.roll(1, 0), values), clips)


def class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Return a weight for each class (classes,) with which all classes count the same: their mean over clips is 1."""
    counts = torch.bincount(labels, minlength=num_classes).float()
    return torch.where(counts > 0, len(labels) / (counts.clamp_min(1) * (counts > 0).sum()), 0.0)


def distillation(logits: Tensor, teachers: list[Tensor], temperature: float) -> Tensor:
    """Return the divergence of the network's probabilities from the mean of the teachers', softened by `temperature`.

    Source: Hinton et al., https://arxiv.org/abs/1503.02531; times the temperature squared, as there.
    """
    soft = torch.stack([F.softmax(each.float() / temperature, -1) for each in teachers]).mean(0)
    return temperature**2 * F.kl_div(F.log_softmax(logits / temperature, -1), soft, reduction="batchmean")


def _as(values: Tensor, like: Tensor) -> Tensor:
    return values if like.is_floating_point() else values.round().clamp(0, 255).to(like.dtype)
