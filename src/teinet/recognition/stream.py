"""Live video: a causal recognizer that takes one frame of each of N streams at a time, at the cost of one 2-D frame."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from teinet.data.transforms import Preprocessing, crop_frame
from teinet.detection.scorer import NO_FLOW, StateType
from teinet.errors import CheckpointError, ConfigError
from teinet.models.classifier import VideoClassifier
from teinet.models.exported import ExportedNetwork
from teinet.models.optimized import CompiledStep, OptimizedClassifier, is_compiled
from teinet.models.probabilities import to_probabilities
from teinet.models.streaming import States, StreamingClassifier
from teinet.utils.files import replacing
from teinet.utils.machine import find_device

Image = np.ndarray | Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """The result of a step, for the n streams that took part in it.

    Args:
        streams: the numbers of these streams, ascending.
        logits: (n, classes) on the network's device, before the softmax: the network's output for this frame alone,
            which has seen the earlier ones through its temporal modules; float32 at least.
        scores: (n, classes) float32, each row a distribution (0 to 1, sum 1): the softmax of the mean logits of the
            last `smoothing` frames, fewer after a reset. Thresholds are about these.
        frames: (n,) number of frames each stream has seen since its last reset.
    """

    streams: tuple[int, ...]
    logits: Tensor
    scores: np.ndarray
    frames: np.ndarray


@dataclass(eq=False)
class StreamState:
    """The state of N streams: tensors whose first axis is the stream, zeros after a reset.

    Args:
        past: of each temporal module, on the network's device: pooled features (N, C+1), and up to two earlier frames
            (N, C, H, W). Of a network that sees differences first the last frame, and each of these twice, (N, 2, ...).
            The other tensors are on the CPU.
        frames: (N,) int64, frames seen since the last reset.
        recent: (N, smoothing, classes) logits; those of the last frame are at (frames - 1) % smoothing.
    """

    past: States
    frames: Tensor
    recent: Tensor

    @property
    def nbytes(self) -> int:
        """Size in memory, bytes."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by its name."""
        past = {f"past.{m}.{i}": t for m, module in enumerate(self.past) for i, t in enumerate(module)}
        return {"frames": self.frames, "recent": self.recent, **past}

    def reset(self, streams: Iterable[int] | None = None) -> None:
        """Set the state of some streams, or of all, to zeros."""
        rows = list(range(len(self.frames))) if streams is None else list(streams)
        for tensor in self.tensors().values():
            tensor[rows] = 0

    def clone(self) -> StreamState:
        """Return a copy that later steps do not change."""
        return copy.deepcopy(self)

    def save(self, path: str | PathLike) -> None:
        """Write the state to a safetensors file."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors().items()}
        with replacing(path) as part:
            part.write_bytes(safetensors.torch.save(plain))

    def load(self, path: str | PathLike) -> StreamState:
        """Return a state that `save` wrote for the same network, number of streams and `smoothing` as this one.

        Raises:
            CheckpointError: the file is missing, damaged, or for another network, number of streams or `smoothing`.
        """
        own = self.tensors()
        try:
            found = safetensors.torch.load_file(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path}: cannot be read as the state of streams ({error})") from None
        theirs, ours = ({name: (tuple(t.shape), t.dtype) for name, t in each.items()} for each in (found, own))
        for name in sorted(theirs.keys() | ours.keys()):
            if (one := theirs.get(name)) != (other := ours.get(name)):
                raise CheckpointError(
                    f"{path}: {name} is {one} in the file and {other} here; load it with the network, number of "
                    "streams and smoothing that it was saved with"
                )
        state = self.clone()
        for name, tensor in state.tensors().items():
            tensor.copy_(found[name])
        return state


class ExportedStep:
    """The step of an exported causal network, with the methods of `StreamingClassifier`.

    Raises:
        ConfigError: an exported network that takes whole clips.
    """

    def __init__(self, network: ExportedNetwork):
        if not network.is_step:
            raise ConfigError(f"{network.path} takes whole clips, and no single frames; export a causal network")
        self._exported = network

    def init_state(self, frames: Tensor) -> States:
        return tuple((torch.from_numpy(each),) for each in self._exported.init_state(len(frames)))

    def __call__(self, frames: Tensor, state: States) -> tuple[Tensor, States]:
        if frames.dtype != torch.uint8:
            raise ConfigError(f"{self._exported.path} takes frames in uint8, got {frames.dtype}")
        if frames.dim() == 5:  # (N, K, 3, H, W): one after the other
            found = []
            for each in frames.unbind(1):
                logits, state = self(each, state)
                found.append(logits)
            return torch.stack(found, 1), state
        pixels = frames.permute(0, 2, 3, 1).numpy()
        logits, following = self._exported.step(pixels, [own[0].float().numpy() for own in state])
        kept = zip(following, state, strict=True)  # in the number type that the stream keeps them in
        return torch.from_numpy(logits), tuple((torch.from_numpy(each).to(own[0].dtype),) for each, own in kept)

    def to(self, device: torch.device) -> ExportedStep:
        return self


class Stream:
    """Recognizes N streams frame by frame; `Recognizer.stream` makes it.

    The logits of a stream's frame t equal, up to rounding, those of frame t of the clip of all its frames so far.
    After `Recognizer.to`, the next step moves the state to the new device. With the engine "compile", a step of all N
    streams is one program, made here in some seconds; steps of only some streams, or of another K, run folded.

    Args:
        model: a causal model (or TSN's); shared, not copied.
        preprocessing: gives the size of the images that the model takes.
        batch: N, at least 1. A step may leave some of them out.
        smoothing: number of the last frames that `Step.scores` averages over, at least 1 (default: T).
        state: "same" keeps earlier frames in the network's number type, "fp16" in half the memory; logits then differ
            by rounding to about 1e-3.
        together: K, the frames of each stream that the compiled program takes: 1 for `step`, more for `steps`.

    Raises:
        ConfigError: a bidirectional network, or a value out of its range.
    """

    state: StreamState

    def __init__(
        self,
        model: VideoClassifier | ExportedNetwork,
        preprocessing: Preprocessing,
        batch: int = 1,
        *,
        smoothing: int | None = None,
        state: StateType = "same",
        together: int = 1,
    ):
        preprocessing.refuse_flow(NO_FLOW)
        self.smoothing = model.num_frames if smoothing is None else smoothing
        for name, value in (("batch", batch), ("together", together), ("smoothing", self.smoothing)):
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if state not in ("same", "fp16"):
            raise ConfigError(f"state is {state!r}; it must be 'same' or 'fp16'")
        self.batch = batch
        self._model, self._preprocessing, self._shape = model, preprocessing, preprocessing.shape
        network = ExportedStep(model) if isinstance(model, ExportedNetwork) else StreamingClassifier(model)
        self._network: Any = network
        self._device = self.device
        frames = torch.zeros(batch, 3, *self._shape, dtype=torch.uint8, device=self._device)
        past = network.init_state(frames)
        if isinstance(model, OptimizedClassifier) and isinstance(network, StreamingClassifier) and is_compiled(model):
            if together > 1:
                frames = frames[:, None].repeat(1, together, 1, 1, 1)
            self._network = CompiledStep(model, network, frames, past)
        if state == "fp16":
            past = tuple(tuple(t.half() if t.dim() >= 4 else t for t in module) for module in past)
        self.state = StreamState(
            past=past,
            frames=torch.zeros(batch, dtype=torch.int64),
            recent=torch.zeros(batch, self.smoothing, model.num_classes, dtype=torch.float32),
        )

    def step(self, frames: Tensor | Sequence[Image | None] | Mapping[int, Image]) -> Step:
        """Take the next frame of each stream, or of some; return their logits and scores.

        Args:
            frames: one image per stream, None for a stream without one; or {stream: image}; or a tensor
                (N, 3, height, width). An image is (H, W, 3) uint8 RGB of any size, or (3, height, width). Height and
                width are the network's; such frames are uint8 or normalized float.

        Returns:
            `Step.logits` are the network's output for these frames alone, `Step.scores` probabilities, smoothed over
            the last frames.

        Raises:
            ConfigError: frames of another number, shape or type, or none at all. The state is as before.
            CheckpointError: the scores are not finite.
        """
        self._follow()
        streams, images = self._images(frames)
        if len(streams) == self.batch:
            logits, self.state.past = self._network(images, self.state.past)
        else:
            rows = torch.tensor(streams)
            logits, past = self._network(images, _rows(self.state.past, rows))
            _put(self.state.past, rows, past)
        return self._record(streams, logits)

    def steps(self, frames: Tensor) -> tuple[Step, ...]:
        """Take the next K >= 1 frames of every stream at once; return what K calls of `step` would, in less time.

        Args:
            frames: (N, K, 3, height, width) of the network's size, uint8 or normalized float.

        Raises:
            ConfigError: frames of another shape. The state is as before.
            CheckpointError: the scores are not finite.
        """
        height, width = self._shape
        if frames.dim() != 5 or frames.shape[1] < 1 or frames.shape != (self.batch, frames.shape[1], 3, height, width):
            raise ConfigError(f"expected frames ({self.batch}, K, 3, {height}, {width}), got {tuple(frames.shape)}")
        self._follow()
        logits, self.state.past = self._network(frames.to(self._device), self.state.past)
        return tuple(self._record(tuple(range(self.batch)), each) for each in logits.unbind(1))

    def _record(self, streams: tuple[int, ...], logits: Tensor) -> Step:
        """Return the step of some streams whose next frames gave these logits (n, classes), and keep the logits."""
        rows = torch.tensor(streams)
        seen = self.state.frames[rows]
        self.state.recent[rows, seen % self.smoothing] = logits.detach().float().cpu()
        self.state.frames[rows] = seen + 1
        count = (seen + 1).clamp(max=self.smoothing)[:, None]
        # rows that no frame has filled yet hold zeros
        scores = to_probabilities(self.state.recent[rows].double().sum(1) / count)
        return Step(streams=streams, logits=logits, scores=scores, frames=(seen + 1).numpy())

    def reset(self, streams: Iterable[int] | None = None) -> None:
        """Reset some streams, or all, so that earlier frames do not count: another camera, a cut, a long pause."""
        self.state.reset(None if streams is None else self._known(streams))

    def to(self, device: str | torch.device) -> Stream:
        """Move network and state to a device, in place, and return self."""
        if not isinstance(self._model, ExportedNetwork):
            self._model.to(find_device(device))
        elif str(device) not in ("auto", "cpu"):
            raise ConfigError(f"device {str(device)!r}: an exported network runs on the CPU")
        self._follow()
        return self

    @property
    def device(self) -> torch.device:
        """The network's device."""
        if isinstance(self._model, ExportedNetwork):
            return torch.device("cpu")
        return next(self._model.parameters()).device

    def _follow(self) -> None:
        """Move buffers and state to the network's device: `Recognizer.to` does not move them."""
        if self._device != self.device:
            self._device = self.device
            self._network.to(self._device)
            self.state.past = tuple(tuple(t.to(self._device) for t in module) for module in self.state.past)

    def _images(self, frames: Tensor | Sequence[Image | None] | Mapping[int, Image]) -> tuple[tuple[int, ...], Tensor]:
        if isinstance(frames, Tensor) and frames.dim() == 4 and frames.shape[1] == 3:
            if tuple(frames.shape) != (wanted := (self.batch, 3, *self._shape)):
                raise ConfigError(
                    f"expected frames {wanted}, got {tuple(frames.shape)}; images of other sizes are (H, W, 3) each"
                )
            return tuple(range(self.batch)), frames.to(self._device)
        if isinstance(frames, Mapping):
            given = dict(zip(self._known(frames), frames.values(), strict=True))
        elif len(frames) != self.batch:
            raise ConfigError(
                f"expected {self.batch} images, one per stream, got {len(frames)}; None stands for a stream without one"
            )
        else:
            given = dict(enumerate(frames))
        cut = {number: self._cut(image, number) for number, image in sorted(given.items()) if image is not None}
        if not cut:
            raise ConfigError("a step needs an image for at least one stream")
        return tuple(cut), torch.stack(list(cut.values())).to(self._device)

    def _cut(self, image: Image, number: int) -> Tensor:
        image = torch.as_tensor(image)
        if image.shape == (3, *self._shape):
            return image
        if image.dim() != 3 or image.shape[2] != 3 or image.dtype != torch.uint8 or not image.numel():
            raise ConfigError(
                f"stream {number}: expected an image (H, W, 3) uint8 RGB, got {tuple(image.shape)} {image.dtype}"
            )
        return torch.from_numpy(crop_frame(image, self._preprocessing)).permute(2, 0, 1)

    def _known(self, streams: Iterable[int]) -> list[int]:
        streams = list(streams)
        for number in streams:
            if not isinstance(number, int | np.integer) or not 0 <= number < self.batch:
                raise ConfigError(f"there is no stream {number!r}; streams are numbered 0 to {self.batch - 1}")
        return [int(number) for number in streams]


def _rows(past: States, rows: Tensor) -> States:
    return tuple(tuple(tensor[rows.to(tensor.device)] for tensor in module) for module in past)


def _put(past: States, rows: Tensor, new: States) -> None:
    for module, theirs in zip(past, new, strict=True):
        for tensor, value in zip(module, theirs, strict=True):
            tensor[rows.to(tensor.device)] = value
