"""A look inside one prediction: class activation maps frame by frame, MEM's gates, and the kernels that TIM learned."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from teinet.data.views import load_views
from teinet.errors import ConfigError, nearest
from teinet.layers import MEM, TEI, TIM
from teinet.models.classifier import VideoClassifier
from teinet.models.insertion import find_places, set_num_frames
from teinet.models.probabilities import to_probabilities
from teinet.recognition.recognizer import Recognizer, Video


@dataclass(frozen=True, eq=False)
class Block:
    """What the temporal module of one block holds, and what it did with the clip.

    Args:
        name: the path of the module that it stands before.
        stage: k where the block's output has stride 2^k (2 to 5).
        channels: C.
        gates: (T, C) what MEM multiplies by: 0 to 1, in the residual form 0.5 to 1.5; nan in the frame without a gate
            (the last; in the causal form the first). None without MEM.
        kernels: (C, 3) TIM's weights of frames t-1, t, t+1; in the causal form of t-2, t-1, t. None without TIM.
        initial: (C, 3) these kernels before training.
        residual, causal: the forms.
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
        """How far the kernels moved in training: the root of the mean square over channels and taps."""
        assert self.kernels is not None and self.initial is not None, "asked of a block with TIM"
        return float(np.sqrt(np.mean((self.kernels - self.initial) ** 2)))

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON values: of gates the mean over channels, None in the frame that has none."""
        means = None if self.gates is None else self.gates.mean(1)
        return {
            "name": self.name,
            "stage": self.stage,
            "channels": self.channels,
            "gate": None if means is None else [None if np.isnan(m) else round(float(m), 5) for m in means],
            "kernel_movement": None if self.kernels is None else round(self.moved, 6),
        }


@dataclass(frozen=True, eq=False)
class Inside:
    """One clip through one network.

    Args:
        frames: (T, S, S, 3) uint8, as the network saw them.
        times, indices: (T,) seconds in the file (None without a clock), and frame numbers.
        labels: the best classes and their scores, best first.
        label: the class that the maps are for.
        frame_logits: (T,) that class's logit of each frame; the clip's is their mean.
        maps: (T, h, w) what each place adds to its frame's logit. They sum to `frame_logits` less a constant if the
            head is a mean over places and one linear layer, else to first order.
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
        """The numbers as JSON values: maps whole, of gates and kernels their means."""
        return {
            "labels": [{"name": name, "score": round(score, 6)} for name, score in self.labels],
            "label": self.label,
            "frame_indices": self.indices.tolist(),
            "times": None if self.times is None else self.times.round(6).tolist(),
            "frame_logits": self.frame_logits.round(5).tolist(),
            "maps": self.maps.round(5).tolist(),
            "blocks": [block.to_dict() for block in self.blocks],
        }


def look_inside(recognizer: Recognizer, video: Video, *, label: str | None = None) -> Inside:
    """Recognize one clip (the center view) and keep its activation maps, gates and kernels.

    Args:
        recognizer: with a timm network, not optimized.
        video: a file, a folder of numbered frames, or frames (T, H, W, 3) uint8.
        label: the class to draw maps for (default: the best one).

    Raises:
        VideoError: the file cannot be read.
        CheckpointError: the scores are not finite.
        ConfigError: a class that does not exist, or a network whose features and head cannot be told apart.
    """
    names, model, cnn = recognizer.class_names, recognizer.model, recognizer.model.cnn
    if label is not None and label not in names:
        raise ConfigError(f"the recognizer has no class {label!r}.{nearest(label, names)}")
    to_features, to_logits = getattr(cnn, "forward_features", None), getattr(cnn, "forward_head", None)
    if to_features is None or to_logits is None:
        raise ConfigError(f"{type(cnn).__name__} has no forward_features and forward_head, which timm's networks have")
    loaded = load_views(video, recognizer.sampling, recognizer.preprocessing, threads="auto")
    clip = loaded.frames[0]  # (T, 3, S, S)
    with torch.no_grad(), _gates(cnn) as gates:
        features = to_features(model._frames(clip[None].to(recognizer.device)))  # (T, C, h, w)
    with torch.enable_grad():
        features = features.detach().requires_grad_()
        logits = to_logits(features).float()  # (T, classes)
        scores = to_probabilities(logits, "logits")
        chosen = names.index(label) if label is not None else int(scores.argmax())
        (slopes,) = torch.autograd.grad(logits[:, chosen].sum(), features)
    if features.dim() != 4:
        raise ConfigError(f"{type(cnn).__name__} has features of shape {tuple(features.shape)}, not (T, C, h, w)")
    maps = (slopes * features).sum(1)  # with a mean and a linear layer the slope is the class's weight over h * w
    return Inside(
        frames=clip.permute(0, 2, 3, 1).numpy(),
        times=None if loaded.times is None else loaded.times[0],
        indices=loaded.indices[0],
        labels=tuple((names[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:5].tolist()),
        label=names[chosen],
        frame_logits=logits[:, chosen].detach().cpu().numpy(),
        maps=maps.detach().float().cpu().numpy(),
        blocks=list(_blocks(model, gates)),
    )


@contextmanager
def _gates(cnn: nn.Module) -> Iterator[dict[str, np.ndarray]]:
    """Collects what each MEM multiplies by, (T, C), by the name of the temporal module, while clips pass."""
    found: dict[str, np.ndarray] = {}

    def watch(name: str, mem: MEM, _module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if mem.num_frames > 1:
            found[name] = mem.scale(args[0])[0].float().cpu().numpy()
            found[name][0 if mem.causal else -1] = np.nan

    handles = []
    for name, module in cnn.named_modules():  # a TEI never calls its own MEM as a module: nothing is collected twice
        mem = module.mem if isinstance(module, TEI) else module
        if isinstance(mem, MEM):
            handles.append(module.register_forward_pre_hook(partial(watch, name, mem)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _blocks(model: VideoClassifier, gates: dict[str, np.ndarray]) -> Iterator[Block]:
    single = copy.deepcopy(model)
    set_num_frames(single, 1)  # stages are found with one frame
    init = (model.config or {}).get("init") or "shift"
    for place in find_places(single.cnn):
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
