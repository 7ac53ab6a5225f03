"""A recognizer: a network with its class names and preprocessing, from a video to names. One file holds all of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import torch

from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.views import LoadedViews, Views, check_views, load_views
from teinet.detection.detector import Detector
from teinet.detection.events import Rules
from teinet.detection.scorer import StateType
from teinet.errors import CheckpointError, ConfigError, TeinetError, VideoError
from teinet.models.checkpoint import load_weights, save_weights
from teinet.models.classifier import VideoClassifier
from teinet.models.insertion import set_num_frames
from teinet.models.optimized import Engine, OptimizedClassifier, Precision, optimize
from teinet.models.probabilities import Averaging, check_averaging, to_probabilities
from teinet.recognition.stream import Stream
from teinet.utils.machine import find_device
from teinet.utils.prefetch import prefetch

Video = str | PathLike | np.ndarray | torch.Tensor
VIEWS_AT_ONCE = 6  # views in one pass of the network: bounds memory at 30 views; wider gains nothing on a CPU


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """The answer for one video, or why there is none.

    Args:
        path: the file; empty for frames from memory.
        labels: the best classes as (name, score), best first.
        scores: (classes,) in the order of the class names, sum 1; None without an answer.
        frame_indices: (clips, T) frame numbers, counted from the start of the file.
        times: (clips, T) seconds of these frames in the file; None without a clock (images, memory).
        num_frames: frames in the video or in its span.
        error: why the video could not be read; None when it was.
    """

    path: str = ""
    labels: tuple[tuple[str, float], ...] = ()
    scores: np.ndarray | None = None
    frame_indices: np.ndarray | None = None
    times: np.ndarray | None = None
    num_frames: int = 0
    error: str | None = None

    @property
    def label(self) -> str | None:
        """The best class's name; None without an answer."""
        return self.labels[0][0] if self.labels else None

    @property
    def span(self) -> tuple[float, float] | None:
        """First and last time looked at, seconds."""
        return None if self.times is None else (float(self.times.min()), float(self.times.max()))

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON values, without `scores`."""
        return {
            "path": self.path,
            "labels": [{"name": name, "score": score} for name, score in self.labels],
            "num_frames": self.num_frames,
            "frame_indices": None if self.frame_indices is None else self.frame_indices.tolist(),
            "times": None if self.times is None else self.times.round(6).tolist(),
            "error": self.error,
        }

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Prediction({self.path!r}, error={self.error!r})"
        best = ", ".join(f"{name} {100 * score:.1f} %" for name, score in self.labels)
        return f"Prediction({self.path!r}: {best})" if self.path else f"Prediction({best})"


class Recognizer:
    """Names the action in a video.

    Args:
        model: maps `(B, T, 3, S, S)` uint8 to `(B, classes)` logits; put into eval mode.
        class_names: one per class, in the order of the logits.
        preprocessing: as in training (default: 224 pixels, with the network's mean and std).
        sampling: how frames are chosen (default: the network's T frames, spread over the video).
        header: further entries of the weights file (recipe, scores, license).

    Raises:
        ConfigError: names that are not one per class or occur twice, or a sampling or preprocessing whose T, mean or
            std is not the network's.
    """

    def __init__(
        self,
        model: VideoClassifier,
        class_names: Sequence[str],
        *,
        preprocessing: Preprocessing | None = None,
        sampling: Sampling | None = None,
        header: Mapping[str, Any] | None = None,
    ):
        if not isinstance(model, VideoClassifier):
            raise ConfigError(
                f"a recognizer holds a VideoClassifier, not a {type(model).__name__}; teinet.create_model builds one, "
                "or wrap your network: teinet.models.VideoClassifier(cnn, num_frames=T)"
            )
        names = tuple(str(name) for name in class_names)
        if len(names) != model.num_classes:
            raise ConfigError(f"{len(names)} class names for a network with {model.num_classes} classes")
        if len(set(names)) < len(names):
            raise ConfigError(f"class names occur twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
        if sampling is not None and sampling.num_frames != model.num_frames:
            raise ConfigError(
                f"sampling takes {sampling.num_frames} frames, the network was built for {model.num_frames}; "
                f"teinet.set_num_frames(model, {sampling.num_frames}) changes the network on purpose"
            )
        own = Preprocessing(**getattr(model, "data_config", {}))
        if preprocessing is not None and (preprocessing.mean, preprocessing.std) != (own.mean, own.std):
            raise ConfigError(
                f"preprocessing has mean {preprocessing.mean} and std {preprocessing.std}, but the network normalizes "
                f"with mean {own.mean} and std {own.std}"
            )
        self.model = model.eval()
        self.class_names = names
        self.preprocessing = preprocessing or own
        self.sampling = sampling or Sampling(num_frames=model.num_frames)
        self.header = dict(header or {})

    @classmethod
    def load(cls, path: str | PathLike, device: str | torch.device = "cpu") -> Recognizer:
        """Read a weights file.

        Args:
            path: a .safetensors file, a run's folder (its last weights), or a pretrained model's name.
            device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the best one.

        Raises:
            CheckpointError: the file is missing, truncated, damaged, or does not hold a recognizer.
            ConfigError: a device that is not on this machine.
        """
        place = find_device(device)
        model, header = load_weights(os.fspath(path))
        names = header.get("class_names")
        if not names:
            raise CheckpointError(f"{path}: holds no class names, so it cannot name what it sees")
        try:
            preprocessing = Preprocessing.from_dict(header["preprocessing"]) if header.get("preprocessing") else None
            sampling = Sampling(**header["sampling"]) if header.get("sampling") else None
            if preprocessing is not None:  # the file knows what its network was trained with; timm may have changed
                for name in ("mean", "std"):
                    values, buffer = getattr(preprocessing, name), getattr(model, name)
                    buffer.copy_(torch.tensor(values).view_as(buffer))
                    model.data_config[name] = values
            return cls(model.to(place), names, preprocessing=preprocessing, sampling=sampling, header=header)
        except (ConfigError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: {error}") from None

    def save(self, path: str | PathLike) -> None:
        """Write network, class names, preprocessing and sampling into one safetensors file; not of an optimized one."""
        if isinstance(self.model, OptimizedClassifier):
            raise ConfigError("an optimized recognizer cannot be saved; save the one that it was made from")
        header = self.header | {
            "class_names": list(self.class_names),
            "preprocessing": self.preprocessing.to_dict(),
            "sampling": asdict(self.sampling),
        }
        save_weights(os.fspath(path), self.model, header)

    def optimize(self, *, engine: Engine = "folded", precision: Precision = "auto") -> Recognizer:
        """Return a second recognizer that gives the same answers faster, and cannot be saved.

        Logits differ by rounding: by less than 1e-5 of the largest in fp32, about 1e-2 in bf16 and fp16.

        Args:
            engine: "folded" folds batch norms into convolutions, at once; "compile" also uses torch.compile, which
                takes half a minute for each number of views.
            precision: "fp32", "bf16", "fp16" (on a GPU), or "auto" for bf16 where the processor computes in it.

        Raises:
            ConfigError: an engine or precision that does not exist, or that this machine cannot run.
        """
        model = optimize(self.model, engine=engine, precision=precision)
        how = {"preprocessing": self.preprocessing, "sampling": self.sampling, "header": self.header}
        return Recognizer(model, self.class_names, **how)

    def to(self, device: str | torch.device) -> Recognizer:
        """Move to a device, in place, and return self."""
        self.model.to(find_device(device))
        return self

    @property
    def device(self) -> torch.device:
        """Where the network lies, and where its clips go."""
        return next(self.model.parameters()).device

    @property
    def num_frames(self) -> int:
        """T, the frames of a clip."""
        return self.model.num_frames

    def set_num_frames(self, num_frames: int) -> Recognizer:
        """Change T, at least 1, in place and return self; accuracy falls the more it differs from that of training."""
        set_num_frames(self.model, num_frames)
        self.sampling = replace(self.sampling, num_frames=num_frames)
        return self

    def __call__(
        self,
        video: Video,
        *,
        top_k: int = 5,
        views: Views | str = "1x1",
        start: float | None = None,
        end: float | None = None,
        averaging: Averaging = "probabilities",
    ) -> Prediction:
        """Recognize one video.

        Args:
            video: a file, a folder of numbered frames, or frames `(T, H, W, 3)` uint8 in RGB, array or tensor.
            top_k: how many classes to name.
            views: clips x crops: `1x1`, `10x3`.
            start, end: look at this span only, seconds; for files.
            averaging: of several views, "probabilities" or "logits".

        Raises:
            VideoError: the file cannot be read.
            ConfigError: frames of another shape or type, unknown views.
        """
        self._check(top_k, averaging)
        loaded = load_views(video, self.sampling, self.preprocessing, views, start, end, threads="auto")
        return self._answer(_name(video), loaded, top_k, averaging)

    def predict_many(
        self,
        videos: Iterable[Video],
        *,
        top_k: int = 5,
        views: Views | str = "1x1",
        start: float | None = None,
        end: float | None = None,
        averaging: Averaging = "probabilities",
        workers: int | None = None,
    ) -> Iterator[Prediction]:
        """Recognize videos one after the other, while `workers` threads decode the next (default: cores, at most 4).

        A video that cannot be read gives a Prediction with `error` set. Other arguments as in a call.
        """
        self._check(top_k, averaging)
        if isinstance(videos, (str, PathLike)):
            raise ConfigError(f"predict_many takes several videos; one is recognizer({os.fspath(videos)!r})")
        views = Views.parse(views)
        check_views(views, self.preprocessing.fit)
        if start is not None and end is not None and start >= end:
            raise ConfigError(f"no span of time between start {start:g} and end {end:g} s")

        def load(video: Video) -> LoadedViews:
            return load_views(video, self.sampling, self.preprocessing, views, start, end)

        def answers() -> Iterator[Prediction]:
            for video, future in prefetch(load, videos, workers=workers or min(4, os.cpu_count() or 1)):
                try:
                    yield self._answer(_name(video), future.result(), top_k, averaging)
                except TeinetError as error:
                    reason = error.reason if isinstance(error, VideoError) else str(error)
                    yield Prediction(path=_name(video), error=reason)

        return answers()  # what was wrong above is an error now, not at the first video

    @staticmethod
    def _check(top_k: int, averaging: Averaging) -> None:
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}; it must be at least 1")
        check_averaging(averaging)

    def _answer(self, name: str, loaded: LoadedViews, top_k: int, averaging: Averaging) -> Prediction:
        scores = self.scores(loaded.frames, averaging)
        best = np.argsort(-scores, kind="stable")[:top_k]
        return Prediction(
            path=name,
            labels=tuple((self.class_names[i], float(scores[i])) for i in best),
            scores=scores,
            frame_indices=loaded.indices,
            times=loaded.times,
            num_frames=loaded.num_frames,
        )

    @property
    def frame_interval(self) -> float | None:
        """Usual seconds between two neighboring frames in training; None where it is not known."""
        value = self.header.get("frame_interval")
        return float(value) if isinstance(value, (int, float)) and value > 0 else None

    @property
    def background(self) -> tuple[str, ...]:
        """Background classes, which make no event in a recording, as the weights file says."""
        return tuple(name for name in self.header.get("background") or () if name in self.class_names)

    def stream(
        self, batch: int = 1, *, smoothing: int | None = None, state: StateType = "same", together: int = 1
    ) -> Stream:
        """Return N streams of live video, which go on frame by frame, one 2-D frame's work each. See `Stream`."""
        return Stream(self.model, self.preprocessing, batch, smoothing=smoothing, state=state, together=together)

    def detector(
        self,
        *,
        threshold: float = 0.5,
        off_threshold: float = 0.35,
        min_duration: float = 0.5,
        background: tuple[str, ...] | None = None,
        frame_interval: float | None = None,
        smoothing: int | None = None,
        stride: int | None = None,
        windows: bool = False,
    ) -> Detector:
        """Make what detects events in a stream of frames: `.push(frame)`, `.finish()`. See `Detector`.

        Args:
            threshold: the score at which an event begins, 0 to 1.
            off_threshold: the score below which it ends, at most `threshold`.
            min_duration: seconds that it must last, at least 0.
            background: classes that make no event (default: those that the weights name).
            frame_interval: as `Detector` takes it.
            smoothing, stride, windows: as `teinet.detection.scorer.make_scorer` takes them.

        Raises:
            ConfigError: a value out of its range or without a meaning for this network, or an unknown frame interval.
        """
        rules = Rules(
            threshold=threshold, off_threshold=off_threshold, min_duration=min_duration, background=background
        )
        return Detector(
            self, frame_interval=frame_interval, rules=rules, smoothing=smoothing, stride=stride, windows=windows
        )

    @torch.inference_mode()
    def scores(self, clips: torch.Tensor, averaging: Averaging = "probabilities") -> np.ndarray:
        """Average the scores over the views `(V, T, 3, S, S)` of one video; returns `(classes,)` float32.

        Raises CheckpointError if they are not finite.
        """
        logits = torch.cat([self.model(part.to(self.device)).float().cpu() for part in clips.split(VIEWS_AT_ONCE)])
        return to_probabilities(logits, averaging)

    def __repr__(self) -> str:
        architecture, names = (self.model.config or {}).get("name", type(self.model).__name__), self.class_names
        shown = ", ".join(names if len(names) <= 4 else [*names[:2], "...", names[-1]])
        height, width = self.preprocessing.shape
        how = f", {self.model.optimization}" if isinstance(self.model, OptimizedClassifier) else ""
        return (
            f"Recognizer({architecture}, {self.num_frames} frames at {height}x{width} ({self.sampling.strategy}), "
            f"{len(names)} classes: {shown}; on {self.device}{how})"
        )


def _name(video: Video) -> str:
    return os.fspath(video) if isinstance(video, (str, PathLike)) else ""
