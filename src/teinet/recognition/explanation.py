"""Explanation of a prediction: class activation maps of each frame, gates of MEM, and learned kernels of TIM."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from teinet.data.view_loading import load_views, path_of
from teinet.errors import ConfigError, nearest
from teinet.layers import MEM, TEI, TIM
from teinet.models.classifier import VideoClassifier, as_clips
from teinet.models.header import refuse_multi_label
from teinet.models.insertion import find_places, set_num_frames, temporal_modules
from teinet.models.probabilities import to_probabilities
from teinet.models.systems.layout import ClipNetwork, to_clips
from teinet.recognition.recognizer import Recognizer, Video

_SHOWN = 16  # about as many frames of a clip whose map has fewer times


@dataclass(frozen=True, eq=False)
class Block:
    """The temporal module of one block, with its gates for the clip.

    Args:
        name: the path of the module that follows it.
        stage: k of an output stride of 2^k (2 to 5).
        channels: C.
        gates: (T, C) factors of MEM: 0 to 1, in the residual form 0.5 to 1.5; nan in the frame without a gate (the
            last; in the causal form the first). None without MEM.
        kernels: (C, 3) weights of TIM for frames t-1, t, t+1; in the causal form t-2, t-1, t. None without TIM.
        initial: (C, 3) the kernels at initialization.
        residual, causal: true for these forms.
    """

    name: str
    stage: int
    channels: int
    gates: np.ndarray | None
    kernels: np.ndarray | None
    initial: np.ndarray | None
    residual: bool = False
    causal: bool = False

    @property
    def moved(self) -> float:
        """The change of the kernels in training: root mean square over channels and taps."""
        assert self.kernels is not None and self.initial is not None, "the block has no TIM"
        return float(np.sqrt(np.mean((self.kernels - self.initial) ** 2)))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, with gates averaged over channels, None in the frame without a gate."""
        means = None if self.gates is None else self.gates.mean(1)
        return {
            "name": self.name,
            "stage": self.stage,
            "channels": self.channels,
            "gate": None if means is None else [None if np.isnan(m) else round(float(m), 5) for m in means],
            "kernel_movement": None if self.kernels is None else round(self.moved, 6),
        }


@dataclass(frozen=True, eq=False)
class Explanation:
    """The explanation of one network's prediction for one clip.

    Args:
        frames: (T, S, S, 3) uint8, the input; of a network whose last feature map has fewer times than frames,
            about 16 of them, evenly spread.
        times, indices: (T,) seconds in the file (None without timestamps), and frame numbers.
        labels: the five best classes and their scores, best first.
        label: the class of the maps.
        frame_logits: (T,) the class's logit of each frame; the clip's logit is their mean. Of a network with one answer
            a clip, the logit of a clip that is everywhere as at this time, to first order.
        maps: (T, h, w) contribution of each location to its frame's logit. They sum to `frame_logits` up to a constant
            if the head is a mean over locations and one linear layer, otherwise to first order. Of a network that sees
            differences, the sum of the frame's and its difference's.
        blocks: the temporal modules, in the network's order.
    """

    frames: np.ndarray
    times: np.ndarray | None
    indices: np.ndarray
    labels: tuple[tuple[str, float], ...]
    label: str
    frame_logits: np.ndarray
    maps: np.ndarray
    blocks: list[Block]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: complete maps, and means of gates and kernels."""
        return {
            "labels": [{"name": name, "score": round(score, 6)} for name, score in self.labels],
            "label": self.label,
            "frame_indices": self.indices.tolist(),
            "times": None if self.times is None else self.times.round(6).tolist(),
            "frame_logits": self.frame_logits.round(5).tolist(),
            "maps": self.maps.round(5).tolist(),
            "blocks": [block.to_dict() for block in self.blocks],
        }


def look_inside(recognizer: Recognizer, video: Video, *, label: str | None = None) -> Explanation:
    """Recognize one clip (the center view) and keep its activation maps, gates and kernels.

    Args:
        recognizer: with a timm network, not optimized.
        video: a file, a folder of numbered frames, or frames (T, H, W, 3) uint8.
        label: the class of the maps (default: the predicted one).

    Raises:
        VideoError: the file cannot be read.
        CheckpointError: the scores are not finite.
        ConfigError: the class does not exist, the network has no last feature map or no separate head, or a multi-label
            recognizer.
    """
    refuse_multi_label(recognizer.header)
    names, model = recognizer.class_names, recognizer.model
    if label is not None and label not in names:
        raise ConfigError(f"the recognizer has no class {label!r}.{nearest(label, names)}")
    to_features, to_logits = _parts(model)
    recognizer.preprocessing.refuse_flow("maps are drawn on RGB frames")
    loaded = load_views(video, recognizer.sampling, recognizer.preprocessing, threads="auto")
    loaded.warn_of_one_frame(path_of(video) or "")
    clip = as_clips(loaded.frames)[0]  # (T, 3, S, S)
    with torch.no_grad(), _gates(model.cnn) as gates:
        features = to_features(model._frames(clip[None].to(recognizer.device)))  # (times, C, h, w)
    with torch.enable_grad():
        features = features.detach().requires_grad_()
        logits = to_logits(features).float()  # (T, classes), or (1, classes) of the whole clip
        scores = to_probabilities(logits, "logits")
        chosen = names.index(label) if label is not None else int(scores.argmax())
        (slopes,) = torch.autograd.grad(logits[:, chosen].sum(), features)
    if features.dim() != 4:
        shape = tuple(features.shape)
        raise ConfigError(f"{type(model.cnn).__name__} has features of shape {shape}; maps need (T, C, h, w)")
    maps = (slopes * features).sum(1)  # for a mean and a linear layer the slope is the class's weight over h * w
    if model.sees_differences:  # a frame's map, and that of its difference from the one before
        maps = maps.unflatten(0, (2, -1)).sum(0)
    values = logits[:, chosen]
    if not model.is_framewise:
        maps = maps * len(maps)  # so that means over times are the clip's, as with frames that have their own logits
        sums = maps.sum(dim=(1, 2))
        values = values + sums - sums.mean()
    shown = torch.arange(0, len(clip), max(1, len(clip) // max(len(maps), _SHOWN)))
    at = shown * len(maps) // len(clip)
    return Explanation(
        frames=clip[shown].permute(0, 2, 3, 1).numpy(),
        times=None if loaded.times is None else loaded.times[0][shown],
        indices=loaded.indices[0][shown],
        labels=tuple((names[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:5].tolist()),
        label=names[chosen],
        frame_logits=values.detach().cpu()[at].numpy(),
        maps=maps.detach().float().cpu()[at].numpy(),
        blocks=list(_blocks(model, gates)),
    )


def _parts(model: VideoClassifier) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return a network's features (times, C, h, w) of frames (T, C, S, S), and its logits of such features."""
    cnn: Any = model.cnn
    if isinstance(cnn, ClipNetwork):
        return (
            lambda frames: cnn.feature_map(to_clips(frames, 1))[0].transpose(0, 1),
            lambda features: cnn.answer(features.transpose(0, 1)[None]),
        )
    to_features, to_logits = getattr(cnn, "forward_features", None), getattr(cnn, "forward_head", None)
    if to_features is None or to_logits is None:
        raise ConfigError(f"{type(cnn).__name__} lacks forward_features and forward_head; use a network of timm")
    if (consensus := model.consensus) is not None:
        answer = consensus if not model.is_framewise else lambda outputs: model.logits_of(outputs)[0]
        return to_features, lambda features: answer(model.by_clip(to_logits(features)))
    return to_features, to_logits


@contextmanager
def _gates(cnn: nn.Module) -> Iterator[dict[str, np.ndarray]]:
    """Collect the gates (T, C) of each MEM inside the block, by the name of the temporal module."""
    found: dict[str, np.ndarray] = {}

    def watch(name: str, mem: MEM, _module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if mem.num_frames > 1:
            found[name] = mem.scale(args[0])[0].float().cpu().numpy()
            found[name][0 if mem.causal else -1] = np.nan

    handles = []
    for name, module in cnn.named_modules():  # a TEI does not call its MEM as a module, so none is collected twice
        mem = module.mem if isinstance(module, TEI) else module
        if isinstance(mem, MEM):
            handles.append(module.register_forward_pre_hook(partial(watch, name, mem)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _blocks(model: VideoClassifier, gates: dict[str, np.ndarray]) -> Iterator[Block]:
    if not temporal_modules(model.cnn):
        return
    single = set_num_frames(copy.deepcopy(model.cnn), 1)  # one frame is enough to find the stages
    init = (model.config or {}).get("init") or "shift"
    for place in find_places(single):
        name = f"{place.name}.temporal"
        module = getattr(model.cnn.get_submodule(place.name), "temporal", None)
        if module is None:
            continue
        tim = module if isinstance(module, TIM) else getattr(module, "tim", None)
        mem = module if isinstance(module, MEM) else getattr(module, "mem", None)
        kernels = initial = None
        if tim is not None:
            kernels = tim.V.detach().float().cpu().numpy()
            initial = TIM(tim.channels, num_frames=1, init=init, causal=tim.causal).V.detach().numpy()
        yield Block(
            name=place.name,
            stage=place.stage,
            channels=place.channels,
            gates=gates.get(name),
            kernels=kernels,
            initial=initial,
            residual=isinstance(mem, MEM) and mem.gate_form == "residual",
            causal=bool(getattr(module, "causal", False)),
        )
