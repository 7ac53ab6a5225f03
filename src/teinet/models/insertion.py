"""Insert temporal modules into a 2-D CNN (TEINet, section 3.3), before the first convolution of each residual branch.

The module becomes that convolution's submodule `temporal` and runs on its input, so the network's own code and keys
do not change, and the shortcut sees the block's unchanged input.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from teinet import layers
from teinet.errors import ConfigError, nearest
from teinet.models.families import branch_path, find_branch

Network = TypeVar("Network", bound=nn.Module)
ALL_STAGES = (2, 3, 4, 5)
_PROBE_SIZES = (64, 256)  # pixels: 64 at stride 32 still leaves 2x2; a few attention blocks need more


class TemporalEntry:
    """Base of a module with a temporal module on its input; its class is a subclass of the original one, too."""

    temporal: nn.Module


@dataclass
class BranchEntry:
    """One block that can hold a temporal module.

    Args:
        name: path of the module that the temporal module goes before.
        shortcut: whether the block adds its input to the branch.
        stage: k where the block's output has stride 2^k.
        channels: of the input of that module.
    """

    name: str
    shortcut: bool
    stage: int = 0
    channels: int = 0


def insert_temporal(
    cnn: Network,
    temporal: str | Callable[..., nn.Module] = "tei",
    *,
    num_frames: int = 8,
    stages: Iterable[int] | None = None,
    at: Iterable[str] | None = None,
    shortcut_only: bool = True,
    every: int = 1,
    causal: bool = False,
    **options: Any,
) -> Network:
    """Put a temporal module before the first convolution of each residual branch of a 2-D CNN; return the same CNN.

    The CNN takes (B*T, C, H, W) afterwards, the T frames of a clip next to each other; another shape is a ConfigError.

    Args:
        cnn: a network of timm or torchvision with residual blocks, or any CNN with `at`; changed in place.
        temporal: "tei", "tim", "mem", "se_tim", "se", "tsm", "none" (leaves the network as it is), or a callable of
            your own, `make(channels, num_frames=T, **options) -> nn.Module`, (B*T, C, H, W) to the same shape; for
            `set_num_frames`, the module must keep T in an attribute `num_frames`.
        num_frames: T, at least 1.
        stages: of 2, 3, 4, 5: blocks whose output has stride 4, 8, 16, 32 (default: all). Of fewer than four, each
            must hold a block.
        at: in place of stages, shortcut_only and every: paths of the `nn.Conv2d`s that get a module before them, as in
            `cnn.named_modules()`: ["layer1.0.conv1", "layer2.0.conv1"].
        shortcut_only: leave out blocks without a shortcut (the paper's reading).
        every: n takes each stage's first block and every n-th after it (TSM's code: 2 in ResNet-101 and -152).
        causal: use the form in which a frame sees itself and earlier ones only; a callable of your own gets
            causal=True.
        options: the module's own (reduction, gate, init, n_div).

    Raises:
        ConfigError: the network has no residual branch, has temporal modules already, or has no block in a stage; a
            path in `at` is no `nn.Conv2d`'s; or a name or option does not exist.

    Source: TEINet, arXiv 1911.09435, section 3.3.
    """
    if not isinstance(cnn, nn.Module):
        raise ConfigError(f"insert_temporal needs a network, got {cnn!r}; teinet.create_model builds one by its name.")
    if at is not None and (stages is not None or not shortcut_only or every != 1):
        raise ConfigError("at names the convolutions itself: leave out stages, shortcut_only and every.")
    wanted = ALL_STAGES if stages is None else () if isinstance(stages, int) else tuple(dict.fromkeys(stages))
    if not wanted or any(stage not in ALL_STAGES for stage in wanted):
        raise ConfigError(f"stages must be some of 2, 3, 4, 5, such as (4, 5); got {stages!r}.")
    if not isinstance(num_frames, int) or num_frames < 1:
        raise ConfigError(f"num_frames must be a whole number of at least 1, got {num_frames!r}.")
    if not isinstance(every, int) or every < 1:
        raise ConfigError(f"every must be a whole number of at least 1 (2 takes every second block), got {every!r}.")
    if isinstance(temporal, str):
        layers.check(temporal, options)
        if temporal == "none":
            return cnn
    if temporal_modules(cnn):
        raise ConfigError(f"{type(cnn).__name__} has temporal modules already; build a new network to insert others.")
    make: Callable[..., nn.Module] = partial(layers.build, temporal) if isinstance(temporal, str) else temporal
    if causal:
        options["causal"] = True
    places = _choose(cnn, wanted, shortcut_only, every) if at is None else _named(cnn, at)
    for place in places:
        target = cnn.get_submodule(place.name)
        module = make(place.channels, num_frames=num_frames, **options)
        reference = next(target.parameters(), None)
        if reference is not None:
            module.to(device=reference.device, dtype=reference.dtype)
        put_before(target, module.train(target.training))
    first = next(module for module in cnn.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(partial(_check_frames, type(cnn).__name__))
    return cnn


def set_num_frames(net: Network, num_frames: int) -> Network:
    """Change T of a network and of every temporal module in it; return the same network, changed in place.

    Accuracy falls at another T than in training. A module of your own must keep T in an attribute `num_frames`.

    Args:
        net: a classifier, or a network with temporal modules.
        num_frames: T, at least 1.

    Raises:
        ConfigError: T below 1, or a network in which no module has a `num_frames`.
    """
    if num_frames < 1:
        raise ConfigError(f"num_frames must be at least 1, got {num_frames}.")
    owners: list[Any] = [m for m in net.modules() if isinstance(getattr(m, "num_frames", None), int)]
    if not owners and not (held := temporal_modules(net)):
        raise ConfigError(f"{type(net).__name__} has no temporal module, so it has no num_frames to set.")
    if not owners:
        kinds = ", ".join(dict.fromkeys(type(module).__name__ for module in held))
        raise ConfigError(
            f"{type(net).__name__} holds {len(held)} temporal modules ({kinds}), but none keeps T in an attribute "
            "num_frames: set self.num_frames in your module, and read T from it in forward."
        )
    for module in reversed(owners):  # parts first: one that cannot change it leaves the whole as it is
        module.num_frames = num_frames
    return net


def temporal_modules(net: nn.Module) -> list[nn.Module]:
    """Return the temporal modules of a network, in the order of its modules."""
    return [module.temporal for module in net.modules() if isinstance(module, TemporalEntry)]


def is_causal(net: nn.Module) -> bool:
    """Return whether no frame depends on a later one; a module of your own says so by an attribute `causal`."""
    if any(getattr(module, "whole_clip", False) for module in net.modules()):
        return False
    return all(getattr(module, "causal", False) for module in temporal_modules(net))


def find_places(cnn: nn.Module) -> list[BranchEntry]:
    """Return every residual branch that can take a temporal module, in the order of the network's modules.

    The network runs once on a small image, and is not changed.

    Raises:
        ConfigError: it has no known residual branch, or does not run on a square image.
    """
    blocks: dict[str, BranchEntry] = {}
    for name, module in cnn.named_modules():
        branch = find_branch(module)
        if branch is not None and (path := branch_path(module, branch)) is not None:
            blocks[name] = BranchEntry(f"{name}.{path}" if name else path, branch.has_shortcut(module))
    if not blocks:
        raise ConfigError(
            f"{type(cnn).__name__} has no known residual branch, so there is no place for a temporal module. "
            "Known: timm's residual families (teinet.list_models() lists them) and torchvision's ResNet, RegNet, "
            "ConvNeXt and MobileNetV2. In a network of your own, name the convolutions: insert_temporal(cnn, at=[...])."
        )
    _measure(cnn, blocks)
    return [place for place in blocks.values() if place.channels]


def _named(cnn: nn.Module, at: Iterable[str]) -> list[BranchEntry]:
    """Return the convolutions of these paths; ConfigError for a path of none."""
    modules = dict(cnn.named_modules())
    convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    places = []
    for name in dict.fromkeys([at] if isinstance(at, str) else at):
        module = modules.get(name)
        if module is None:
            some = f" Its convolutions: {', '.join(convolutions[:4])}, ..." if convolutions else ""
            hint = nearest(str(name), convolutions) or some
            raise ConfigError(f"at: {type(cnn).__name__} has no module {name!r}.{hint}")
        if not isinstance(module, nn.Conv2d):
            inner = next((each for each in convolutions if each.startswith(f"{name}." if name else "")), None)
            hint = f"; name a convolution, such as {inner!r}" if inner else ""
            raise ConfigError(f"at: {name!r} is a {type(module).__name__}, not an nn.Conv2d{hint}.")
        if not module.in_channels:
            raise ConfigError(f"at: {name!r} does not know its channels yet: run the network on a batch first.")
        places.append(BranchEntry(name, shortcut=False, channels=module.in_channels))
    if not places:
        raise ConfigError("at names no convolution; give paths such as ['layer1.0.conv1'].")
    return places


def _check_frames(network: str, _module: nn.Module, args: tuple[Any, ...]) -> None:
    """Raise ConfigError for clips (B, T, C, H, W), which are easily passed where their frames are expected."""
    if args and args[0].dim() != 4:
        raise ConfigError(
            f"{network} with temporal modules takes frames (B*T, C, H, W), the T frames of a clip next to each other; "
            f"got {tuple(args[0].shape)}. For clips (B, T, C, H, W), pass clips.flatten(0, 1)."
        )


def _choose(cnn: nn.Module, stages: tuple[int, ...], shortcut_only: bool, every: int) -> list[BranchEntry]:
    found = find_places(cnn)
    by_stage = [[place for place in found if place.stage == stage] for stage in sorted({p.stage for p in found})]
    places = [place for blocks in by_stage for place in blocks[::every]]
    chosen = [p for p in places if p.stage in stages and (p.shortcut or not shortcut_only)]
    held = {p.stage for p in chosen}
    empty = [stage for stage in stages if stage not in held]
    if empty and (not chosen or set(stages) != set(ALL_STAGES)):
        what = "block with a shortcut" if shortcut_only else "block"
        usable = sorted({p.stage for p in places if p.stage in ALL_STAGES and (p.shortcut or not shortcut_only)})
        without = sum(p.stage in empty for p in places)
        hint = f" shortcut_only=False would find {without} there." if shortcut_only and without else ""
        raise ConfigError(
            f"{type(cnn).__name__} has no {what} in stage {', '.join(map(str, empty))} "
            f"(its stages with one: {', '.join(map(str, usable)) or 'none'}).{hint}"
        )
    return chosen


def _measure(cnn: nn.Module, blocks: dict[str, BranchEntry]) -> None:
    """Set each place's stage and channels by running one small black image through the network."""
    size = 0

    def on_input(place: BranchEntry, _module: nn.Module, args: tuple[Tensor, ...]) -> None:
        place.channels = args[0].shape[1]

    def on_output(place: BranchEntry, _module: nn.Module, _args: Any, output: Tensor) -> None:
        place.stage = round(math.log2(size / output.shape[-1]))

    handles = []
    for name, place in blocks.items():
        handles.append(cnn.get_submodule(place.name).register_forward_pre_hook(partial(on_input, place)))
        handles.append(cnn.get_submodule(name).register_forward_hook(partial(on_output, place)))
    weight = next(p for p in cnn.parameters() if p.dim() == 4)
    first = next(m for m in cnn.modules() if isinstance(m, nn.Conv2d))
    depths = dict.fromkeys((first.in_channels, 3))  # a stem may rearrange pixels before its convolution
    failure: Exception | None = None
    try:
        with undisturbed(cnn):
            for size, channels in itertools.product(_PROBE_SIZES, depths):
                try:
                    cnn(torch.zeros(1, channels, size, size, device=weight.device, dtype=weight.dtype))
                    return
                except (RuntimeError, AssertionError, ValueError) as error:
                    failure = failure or error
    finally:
        for handle in handles:
            handle.remove()
    raise ConfigError(
        f"{type(cnn).__name__} does not run on a square image of {' or '.join(map(str, _PROBE_SIZES))} pixels, "
        f"which is how its stages are found: {failure!r}"
    ) from failure


@contextmanager
def undisturbed(cnn: nn.Module) -> Iterator[None]:
    """Run in evaluation mode without gradients; restore every module's mode and the random state at the end."""
    modes = [(module, module.training) for module in cnn.modules()]
    devices = {p.device for p in cnn.parameters() if p.device.type == "cuda"}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[d.index for d in devices]):
            cnn.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training


def put_before(module: nn.Module, temporal: nn.Module) -> None:
    """Make `temporal` a submodule of `module` that runs on its first argument; changes `module` in place."""
    # not a forward pre-hook: torch.compile ignores hooks and would run the code that it compiled for the plain network
    module.__class__ = _entering(type(module))
    module.temporal = temporal


def plain_class(module: nn.Module) -> type[nn.Module]:
    """Return the class that a module had before `put_before`."""
    return type(module).__bases__[1] if isinstance(module, TemporalEntry) else type(module)


@cache
def _entering(plain: type[nn.Module]) -> type[nn.Module]:
    def forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        return plain.forward(self, self.temporal(x), *args, **kwargs)

    def reduce(self: Any, protocol: int) -> tuple[Any, ...]:  # for copies and pickles, which look classes up by name
        return _without_init, (plain,), self.__dict__

    return type(f"Temporal{plain.__name__}", (TemporalEntry, plain), {"forward": forward, "__reduce_ex__": reduce})


def _without_init(plain: type[nn.Module]) -> nn.Module:
    cls = _entering(plain)
    return cls.__new__(cls)
