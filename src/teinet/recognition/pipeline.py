"""A recognizer in the form of transformers' video-classification pipeline: a callable that returns plain lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np
import torch
from PIL import Image

from teinet.data.view_loading import Video, path_of
from teinet.errors import ConfigError, VideoError, nearest
from teinet.models.header import refuse_multi_label
from teinet.recognition.recognizer import Prediction, Recognizer

TASK = "video-classification"
Label = dict[str, Any]  # {"score": float, "label": str}

_IN_THE_FILE = "the recognizer's file holds it; leave it out"
_NUMBERS = "pass a recognizer: model=teinet.Recognizer.load(...).optimize(precision='bf16')"
# Arguments of transformers' pipeline() without a meaning here; their defaults pass.
_OTHERS = {
    **dict.fromkeys(
        "config tokenizer feature_extractor image_processor video_processor processor".split(), _IN_THE_FILE
    ),
    **dict.fromkeys(("dtype", "torch_dtype"), _NUMBERS),
    "device_map": "name one device: device='cuda:0'",
    "framework": "there is PyTorch alone; leave it out",
    "model_kwargs": "leave it out",
    "pipeline_class": "leave it out",
    "trust_remote_code": "no code is ever loaded from a file; leave it out",
    "use_fast": "there is no tokenizer; leave it out",
}
_DEFAULTS = (None, False, "auto", "pt", {})


class VideoClassificationPipeline:
    """Maps a video to its best classes, [{"score": 0.9, "label": "wave"}, ...], and several to a list of such lists.

    Args:
        recognizer: see `Recognizer`.
        options: those of a call, for all calls.

    Raises:
        ConfigError: a multi-label recognizer, or an option that has no use.
    """

    def __init__(self, recognizer: Recognizer, **options: Any):
        refuse_multi_label(recognizer.header)
        self.recognizer = recognizer
        self._options: dict[str, Any] = {}
        self._options = self._checked(options)

    def __call__(
        self, inputs: Video | Sequence[Video] | Iterator[Video], **options: Any
    ) -> list[Label] | list[list[Label]] | Iterator[list[Label]]:
        """Recognize one video or several.

        Args:
            inputs: a video as `Recognizer` takes it: a path, frames (T, H, W, 3) uint8 RGB, or a list of T images; or
                a list of videos; or an iterator of them, whose results are then yielded one by one.
            options: `top_k`, number of classes, at least 1 (default 5); `batch_size`, clips in one pass of the network
                (default: one video's); `num_workers`, threads that decode; `num_frames`, `frame_sampling_rate` and
                `function_to_apply` must agree with what the recognizer does.

        Raises:
            VideoError: a video cannot be read.
            ConfigError: an option or input that the recognizer has no use for; the message says what to do.
        """
        how = self._checked(options)
        if isinstance(inputs, Iterator):
            return self._each(inputs, how)
        if isinstance(inputs, (list, tuple)) and not (inputs and _is_image(inputs[0])):
            return list(self._each(inputs, how))
        if isinstance(inputs, (np.ndarray, torch.Tensor)) and inputs.ndim == 5:  # several of one length
            return list(self._each(list(inputs), how))
        if inputs is None:
            raise ConfigError("the pipeline needs a video: a path, frames, or a list of these")
        return _labels(self.recognizer(inputs, top_k=how["top_k"]))  # pyright: ignore[reportArgumentType]

    def _each(self, videos: Iterable[Any], how: dict[str, Any]) -> Iterator[list[Label]]:
        for number, found in enumerate(self.recognizer.predict_many(videos, **how)):
            if found.error is not None:
                raise VideoError(found.path or f"video {number}", found.error)
            yield _labels(found)

    def _checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a call as `predict_many` takes them; ConfigError for those that have no use here."""
        known = ("top_k", "batch_size", "num_workers", "num_frames", "frame_sampling_rate", "function_to_apply")
        for name in options:
            if name not in known:
                raise ConfigError(f"a pipeline has no option {name!r}.{nearest(name, known)}")
        given = {name: value for name, value in options.items() if value is not None}
        frames = given.pop("num_frames", self.recognizer.num_frames)
        if frames != self.recognizer.num_frames:
            raise ConfigError(
                f"num_frames is {frames}, but this recognizer looks at {self.recognizer.num_frames} frames; to change "
                f"that, call pipeline.recognizer.set_num_frames({frames}) first (it costs accuracy)"
            )
        if "frame_sampling_rate" in given:
            raise ConfigError(
                "frame_sampling_rate has no use here: frames are chosen as in training; leave it out. For a part of a "
                "file call pipeline.recognizer(video, start=1.0, end=3.5)"
            )
        if (function := given.pop("function_to_apply", "softmax")) != "softmax":
            raise ConfigError(
                f"function_to_apply is {function!r}, but scores are the softmax over classes that exclude each other; "
                "for logits call pipeline.recognizer.model"
            )
        if (workers := given.pop("num_workers", 0)) > 0:  # 0 is transformers' word for no processes
            given["workers"] = workers
        return {"top_k": 5, **self._options, **given}


def pipeline(
    task: str = TASK,
    model: Recognizer | str | PathLike[str] | None = None,
    *,
    device: int | str | torch.device | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    **options: Any,
) -> VideoClassificationPipeline:
    """Return a callable with the arguments and results of transformers' `pipeline("video-classification")`.

    Args:
        model: a recognizer, or what `Recognizer.from_pretrained` takes: a path, a pretrained model's name, "user/name",
            hf://user/name.
        device: as in `Recognizer.load`, or transformers' numbers: -1 for the CPU, 0 for cuda:0; None is the best
            one, or where the recognizer is.
        revision, token: of a repository, see `Recognizer.from_pretrained`.
        options: of each call, see `VideoClassificationPipeline`.

    Raises:
        ConfigError: another task, no model, or an argument without a use here.
        CheckpointError: see `Recognizer.from_pretrained`.
    """
    if task != TASK:
        raise ConfigError(f"teinet's pipeline does {TASK!r}, got the task {task!r}.{nearest(str(task), [TASK])}")
    for name in [name for name in options if name in _OTHERS]:
        if (value := options.pop(name)) not in _DEFAULTS:
            raise ConfigError(f"{name} is {value!r}, which has no use here: {_OTHERS[name]}")
    if isinstance(device, int):
        device = f"cuda:{device}" if device >= 0 else "cpu"
    if isinstance(model, Recognizer):
        return VideoClassificationPipeline(model if device is None else model.to(device), **options)
    if model is None:
        raise ConfigError("name a model: a path, a pretrained model (teinet models --pretrained) or hf://user/name")
    recognizer = Recognizer.from_pretrained(
        fspath(model), revision=revision, token=token, device="auto" if device is None else device
    )
    return VideoClassificationPipeline(recognizer, **options)


def _labels(found: Prediction) -> list[Label]:
    return [{"score": score, "label": name} for name, score in found.labels]


def _is_image(value: object) -> bool:
    """Return true for one image of a list of frames, which is a single video."""
    if path_of(value) is not None:
        return False
    return isinstance(value, Image.Image) or (isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim <= 3)
