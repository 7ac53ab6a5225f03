"""Gradient checkpointing: save memory in training by computing activations again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from teinet.errors import ConfigError, nearest
from teinet.models.families import find_branch
from teinet.models.insertion import TemporalEntry

Checkpointing = Literal["none", "temporal", "blocks"]


def set_gradient_checkpointing(model: nn.Module, what: Checkpointing) -> nn.Module:
    """Choose what is computed again in the backward pass; return the same network, changed in place.

    Results and gradients stay the same; batch norms see each batch once.

    Args:
        model: a classifier or a CNN, its temporal modules in place.
        what: "none"; "temporal", the outputs of temporal modules: cheap to compute, and the memory that TEINet takes
            beyond TSN; "blocks", everything inside each residual block.

    Raises:
        ConfigError: another word, or "blocks" for a network without known residual blocks.
    """
    words = get_args(Checkpointing)
    if what not in words:
        valid = f"{', '.join(words)}.{nearest(str(what), words)}"
        raise ConfigError(f"gradient_checkpointing is {what!r}; it must be one of {valid}")
    for module in model.modules():
        if isinstance(module.__dict__.get("forward"), _Recomputed):
            del module.forward
    if what == "none":
        return model
    if what == "temporal":  # TSN has none, and so nothing that this would save
        chosen = [module for module in model.modules() if isinstance(module, TemporalEntry)]
    else:
        chosen = [module for module in model.modules() if find_branch(module) is not None]
    if not chosen and what == "blocks":
        raise ConfigError(
            f"gradient_checkpointing 'blocks': {type(model).__name__} has no known residual block; "
            "use 'temporal' or 'none'"
        )
    for module in chosen:
        module.forward = _Recomputed(module, what)
    return model


class _Recomputed:
    """A module's forward that is run again in the backward pass; an object, so that copies and pickles carry it."""

    def __init__(self, module: nn.Module, what: str):
        self.module, self.what = module, what

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        forward = partial(type(self.module).forward, self.module)
        if not (self.module.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=self._contexts, **kwargs)

    def _contexts(self) -> tuple[AbstractContextManager, AbstractContextManager]:
        first, second = nullcontext(), nullcontext()
        if self.what == "temporal" and isinstance(self.module, nn.Conv2d):
            first, second = create_selective_checkpoint_contexts(self._policy)
        return first, _again(self.module, second)

    def _policy(self, _: Any, operator: Callable, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        """Save the convolution's result, which its norm needs anyway; only its input is computed again."""
        weight = getattr(self.module, "weight", None)  # told by its shape: under autocast it is another tensor
        own = operator is torch.ops.aten.convolution.default and weight is not None and args[1].shape == weight.shape
        return CheckpointPolicy.MUST_SAVE if own else CheckpointPolicy.PREFER_RECOMPUTE


@contextmanager
def _again(module: nn.Module, context: AbstractContextManager) -> Iterator[None]:
    """Keep batch norms from updating their statistics: the forward pass has counted this batch."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        with context:
            yield
    finally:
        for norm, momentum, counted in before:
            norm.momentum, norm.num_batches_tracked = momentum, counted
