"""A video classifier around a 2-D CNN: frames go through it as a batch, their logits are averaged. And its cost."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from teinet.errors import ConfigError
from teinet.layers.temporal_layer import TemporalLayer
from teinet.models.consensus import frame_differences
from teinet.models.exported import ExportedNetwork
from teinet.models.insertion import TemporalEntry
from teinet.models.systems.layout import ClipNetwork, channels_last

_WRAPPED = "cnn."


class VideoClassifier(nn.Module):
    """Maps clips (B, T, C, H, W) to logits (B, classes); C is 3 for RGB and 10 for optical flow.

    The state dict has the CNN's own keys, so that a plain timm network's weights load here, and these load there.

    Args:
        cnn: a 2-D CNN with a head, (B*T, C, H, W) to (B*T, classes), with or without temporal modules.
        num_frames: T, at least 1; another T in forward is an error (`teinet.set_num_frames` changes it).
        mean, std: per channel, on the scale 0 to 1; they normalize uint8 input. Float input must be normalized already.
        config: the arguments of `create_model` that rebuild this model.
        interpolation: how images were resized in the backbone's training, for the preprocessing.
        consensus: maps the CNN's outputs for frames, (B, T, D), to logits (B, classes); None averages the frames'
            logits, as TSN does. A CNN that is a `ClipNetwork` gives logits of clips itself.
        sees_differences: the CNN takes each frame, and its difference from the one before (`frame_differences`); the
            consensus then gets (B, T, 2D).

    Raises:
        ConfigError: T below 1; in forward, clips of another shape, type or T; in the head's properties, no head.
    """

    mean: Tensor
    std: Tensor
    stored_dtype: torch.dtype | None = None  # of the floats in the file that the weights are from, if of one type

    def __init__(
        self,
        cnn: nn.Module,
        *,
        num_frames: int,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
        config: dict[str, Any] | None = None,
        interpolation: str = "bilinear",
        consensus: nn.Module | None = None,
        sees_differences: bool = False,
    ):
        super().__init__()
        if num_frames < 1:
            raise ConfigError(f"num_frames must be at least 1, got {num_frames}.")
        if sees_differences and consensus is None:
            raise ConfigError("a network that sees differences needs a consensus, which takes both features.")
        self.cnn, self.consensus = channels_last(cnn), consensus
        self.sees_differences = sees_differences
        self._is_causal = any(isinstance(part, TemporalLayer) and part.causal for part in cnn.modules())
        for layer in self.cnn.modules():
            if isinstance(layer, TemporalLayer):  # their gradients come in torch's own order, which DDP compares
                for parameter in layer.parameters():
                    parameter.data = parameter.data.contiguous().view(-1).view(parameter.shape)
        self.num_frames = num_frames
        self._config = None if config is None else dict(config)
        self.data_config = {"mean": tuple(mean), "std": tuple(std), "interpolation": interpolation}
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, -1, 1, 1), persistent=False)
        self._load_prefix = ""
        self.register_state_dict_post_hook(_drop_wrapper)
        self.register_load_state_dict_pre_hook(_add_wrapper)
        self.register_load_state_dict_post_hook(_report_without_wrapper)

    def set_pixels(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalize uint8 clips by another mean and std by channel, on the scale 0 to 1; ConfigError for others."""
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != self.num_channels:
                raise ConfigError(f"{name} has {len(values)} numbers for images of {self.num_channels} channels.")
            getattr(self, name).copy_(torch.tensor(tuple(values)).view(1, -1, 1, 1))
            self.data_config[name] = tuple(values)

    @property
    def config(self) -> dict[str, Any] | None:
        """The arguments of `create_model` that rebuild this model at its present T; None for a network of your own."""
        return None if self._config is None else {**self._config, "num_frames": self.num_frames}

    @property
    def head(self) -> nn.Module:
        """The classification layer: timm's classifier; in another network the last `nn.Linear`."""
        return self._head()[1]

    @property
    def head_name(self) -> str:
        """The head's path, as in the state dict's keys."""
        return self._head()[0]

    @property
    def num_classes(self) -> int:
        """The number of classes of the head."""
        return [p for p in self.head.parameters() if p.dim() > 1][-1].shape[0]

    @property
    def num_channels(self) -> int:
        """C, the number of channels of a frame."""
        return self.mean.shape[1]

    @property
    def is_framewise(self) -> bool:
        """True if the answer is the average of frames' logits; false for one answer a clip."""
        by_frame = self.consensus is None or not getattr(self.consensus, "whole_clip", True)
        return by_frame and not isinstance(self.cnn, ClipNetwork)

    def check_framewise(self) -> None:
        """Raise ConfigError for a network with one answer a clip."""
        if not self.is_framewise:
            config = self.config or {}
            end = f" with consensus {config['consensus']}" if config.get("consensus") else ""
            raise ConfigError(f"{config.get('name')}{end} gives one answer a clip, and none for each frame.")

    def _head(self) -> tuple[str, nn.Module]:
        return find_head(self.cnn) if self.consensus is None else ("consensus", self.consensus)

    def forward(self, clips: Tensor) -> Tensor:
        """Return the average of the frames' logits (TSN's consensus), (B, classes), in float32 at least.

        A network with another consensus, or with one answer a clip, gives that.

        Args:
            clips: (B, T, C, H, W), uint8 from 0 to 255 or normalized float; another shape, type or T is a ConfigError.
        """
        if self.consensus is None and self.is_framewise:
            return self.frame_logits(clips).mean(dim=1)
        found = self.cnn(self._frames(clips))
        return _precise(found if self.consensus is None else self.consensus(self.by_clip(found)))

    def frame_logits(self, clips: Tensor) -> Tensor:
        """Return the logits of each frame, (B, T, classes), in float32 at least; clips as in `forward`.

        Raises:
            ConfigError: the network has one answer a clip.
        """
        self.check_framewise()
        # in half precision, an average over T would lose what the frames differ by
        return self.logits_of(self.by_clip(self.cnn(self._frames(clips))))

    def logits_of(self, outputs: Tensor) -> Tensor:
        """Return frames' logits (B, T, classes) of the CNN's outputs by clip, where the answer is their average."""
        if self.consensus is None:
            return _precise(outputs)
        return _precise(self.consensus(outputs.flatten(0, 1)[:, None])).unflatten(0, outputs.shape[:2])

    def by_clip(self, outputs: Tensor) -> Tensor:
        """Return the CNN's outputs for frames (B*T, ...) as (B, T, ...); of frames and differences as (B, T, 2D)."""
        if self.sees_differences:
            return outputs.unflatten(0, (-1, 2, self.num_frames)).movedim(1, 2).flatten(2)
        return outputs.unflatten(0, (-1, self.num_frames))

    def features(self, clips: Tensor) -> Tensor:
        """Return what the head takes, the features of each frame, (B, T, D); (B, 1, D) of systems that pool over time.

        Args:
            clips: as in `forward`.
        """
        head, taken = self.head, []
        handle = head.register_forward_pre_hook(lambda _, args: taken.append(args[0]))
        try:
            VideoClassifier.forward(self, clips)
        finally:
            handle.remove()
        found = head.temporal(taken[0]) if isinstance(head, TemporalEntry) else taken[0]
        if self.consensus is None:
            found = found.unflatten(0, (len(clips), -1))  # (B, T, D, ...) or (B, 1, D, ...)
        return found.flatten(3).mean(3) if found.dim() > 3 else found

    def _frames(self, clips: Tensor) -> Tensor:
        frames = self.pixels(clips)
        if self.sees_differences:
            frames = frames.unflatten(0, (-1, self.num_frames))
            alone = self._is_causal or self.num_frames == 1  # else the first frame takes the difference of the second
            first = torch.zeros_like(frames[:, :1]) if alone else frames[:, 1:2] - frames[:, :1]
            frames = torch.cat([frames, frame_differences(frames, self.mean, self.std, first)], 1).flatten(0, 1)
        return self.for_cnn(frames)

    def pixels(self, clips: Tensor) -> Tensor:
        """Return clips as normalized frames (B*T, C, H, W); raises ConfigError as `forward`."""
        if clips.dim() != 5 or clips.shape[2] != self.num_channels:
            raise ConfigError(f"clips must be (B, T, {self.num_channels}, H, W), got {tuple(clips.shape)}.")
        if clips.shape[1] != self.num_frames:
            raise ConfigError(
                f"this model takes clips of T = {self.num_frames} frames, got {clips.shape[1]}. To use that T, call "
                f"teinet.set_num_frames(model, {clips.shape[1]}) first; expect a lower accuracy."
            )
        frames = clips.flatten(0, 1)  # (B, T, C, H, W) -> (B*T, C, H, W)
        layout = torch.preserve_format if torch.compiler.is_exporting() else torch.channels_last
        if frames.dtype == torch.uint8:
            frames = frames.to(self.mean.dtype, memory_format=layout)
            frames = frames.mul_(1 / (255 * self.std)).sub_(self.mean / self.std)  # (x / 255 - mean) / std
        elif not frames.is_floating_point():
            raise ConfigError(f"clips must be uint8 (0 to 255) or float (normalized), got {frames.dtype}.")
        return frames

    def for_cnn(self, frames: Tensor) -> Tensor:
        """Return normalized frames (K, C, H, W) in the CNN's number type and layout."""
        layout = torch.preserve_format if torch.compiler.is_exporting() else torch.channels_last
        computes_in = self.mean.dtype
        for parameter in self.cnn.parameters():  # the first one; torch 2.7 compiles no next()
            computes_in = parameter.dtype  # autocast does its own casting
            break
        return frames.to(computes_in, memory_format=layout)


def as_clips(views: np.ndarray) -> Tensor:
    """Return views (V, T, H, W, C) as clips (V, T, C, H, W), without a copy: channels stay last in memory."""
    return torch.from_numpy(views).permute(0, 1, 4, 2, 3)


def _precise(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def find_head(cnn: nn.Module) -> tuple[str, nn.Module]:
    """Return the path and the module of a network's classification layer; ConfigError if it has none."""
    find: Callable[[], nn.Module] | None = getattr(cnn, "get_classifier", None)
    head = None if find is None else find()
    for name, module in cnn.named_modules():
        if module is head and name and any(True for _ in module.parameters()):
            return name, module
    linear = [(name, module) for name, module in cnn.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigError(f"{type(cnn).__name__} has no classification layer: no get_classifier() and no nn.Linear.")
    return linear[-1]


def parameters(model: nn.Module | ExportedNetwork) -> int:
    """Return the number of a network's parameters."""
    if isinstance(model, ExportedNetwork):
        return int(model.facts["parameters"])
    return sum(p.numel() for p in model.parameters())


def multiply_adds(model: VideoClassifier | ExportedNetwork, size: int | tuple[int, int]) -> int:
    """Return the multiply-adds of one clip of T images, `size` x `size` pixels or (height, width).

    As in the paper's Table 2, which calls them FLOPs, convolutions and linear layers count, but not pooling, norms and
    the gate's product.
    """
    if isinstance(model, ExportedNetwork):  # of its own size alone
        return int(model.facts["macs"])
    shapes = copy.deepcopy(model).to("meta").eval()
    height, width = (size, size) if isinstance(size, int) else size
    clip = torch.empty(1, model.num_frames, model.num_channels, height, width, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(clip)
    return counter.get_total_flops() // 2


def _drop_wrapper(module: nn.Module, state_dict: dict[str, Any], prefix: str, _metadata: Any) -> None:
    start = prefix + _WRAPPED
    for key in [key for key in state_dict if key.startswith(start)]:
        state_dict[prefix + key[len(start) :]] = state_dict.pop(key)


def _add_wrapper(module: VideoClassifier, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    module._load_prefix = prefix
    start = prefix + _WRAPPED
    kept = (start, f"{prefix}consensus.")
    for key in [key for key in state_dict if key.startswith(prefix) and not key.startswith(kept)]:
        state_dict[start + key[len(prefix) :]] = state_dict.pop(key)


def _report_without_wrapper(module: VideoClassifier, incompatible: Any) -> None:
    prefix = module._load_prefix
    start = prefix + _WRAPPED
    for keys in incompatible:  # missing, unexpected
        keys[:] = [prefix + key[len(start) :] if key.startswith(start) else key for key in keys]
