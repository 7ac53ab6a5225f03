"""A recognizer: a network with its class names and preprocessing, which maps a video to a class. One file holds it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from teinet.data.lists.data_config import MAX_DAMAGED
from teinet.data.sampling import Sampling
from teinet.data.transforms import Preprocessing
from teinet.data.view_loading import LoadedViews, Video, load_views, path_of
from teinet.data.views import Views, check_views
from teinet.detection.events import Rules
from teinet.errors import CheckpointError, ConfigError, TeinetError, VideoError, check_numbers
from teinet.models.exported import Engine, ExportedNetwork, Precision, Runtime
from teinet.models.header import EXPORTED, refuse_multi_label, weights_file
from teinet.models.probabilities import Averaging, check_averaging, to_probabilities
from teinet.recognition import sharing
from teinet.recognition.batches import in_batches
from teinet.recognition.engines import check_engine, exported_form
from teinet.utils.machine import find_device
from teinet.utils.prefetch import prefetch

if TYPE_CHECKING:
    import torch

    from teinet.detection.detector import Detector
    from teinet.detection.scorer import StateType
    from teinet.export.exporting import Exported
    from teinet.models.classifier import VideoClassifier
    from teinet.recognition.stream import Stream

VIEWS_AT_ONCE = 4  # views in one pass of the network: bounds memory at 30 views; wider gains nothing on a CPU


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """The prediction for one video, or the error if it could not be read.

    Args:
        path: the file; empty for frames in memory.
        labels: the best classes as (name, score), best first; of a multi-label recognizer all classes.
        scores: (classes,) float32 probabilities in the order of the class names, sum 1, of a multi-label recognizer
            each from 0 to 1; None after an error.
        frame_indices: (clips, T) indices of the frames used, counted from the start of the file.
        times: (clips, T) seconds of these frames in the file; None for frames in memory and folders of images.
        num_frames: number of frames in the video, or between `start` and `end`.
        damage: how many frames of the file are lost or damaged, so far as it was read; empty if none.
        error: why the video could not be read; None if it was.
        thresholds: of a multi-label recognizer, for each of `labels` the score from which on the clip has it; else ().
        min_score: the score below which the best class does not count, see `Recognizer.min_score`.
    """

    path: str = ""
    labels: tuple[tuple[str, float], ...] = ()
    scores: np.ndarray | None = None
    frame_indices: np.ndarray | None = None
    times: np.ndarray | None = None
    num_frames: int = 0
    damage: str = ""
    error: str | None = None
    thresholds: tuple[float, ...] = ()
    min_score: float = 0.0

    @property
    def found(self) -> tuple[tuple[str, float], ...]:
        """The classes that a multi-label recognizer found, those of `labels` at or above their threshold."""
        return tuple(each for each, least in zip(self.labels, self.thresholds) if each[1] >= least)

    @property
    def label(self) -> str | None:
        """The best class; None after an error, and where its score is below `min_score`: none of the classes."""
        return self.labels[0][0] if self.labels and self.labels[0][1] >= self.min_score else None

    @property
    def span(self) -> tuple[float, float] | None:
        """Seconds of the first and the last frame used; None where `times` is."""
        return None if self.times is None else (float(self.times.min()), float(self.times.max()))

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as JSON values, without `scores`."""
        found = dict(self.found)
        more: list[dict[str, Any]] = [{} for _ in self.labels]
        if self.thresholds:
            pairs = zip(self.labels, self.thresholds)
            more = [{"threshold": least, "found": name in found} for (name, _), least in pairs]
        return {
            "path": self.path,
            "labels": [{"name": name, "score": score, **rest} for (name, score), rest in zip(self.labels, more)],
            "num_frames": self.num_frames,
            "frame_indices": None if self.frame_indices is None else self.frame_indices.tolist(),
            "times": None if self.times is None else self.times.round(6).tolist(),
            **({"label": self.label, "min_score": self.min_score} if self.min_score else {}),
            "damage": self.damage or None,
            "error": self.error,
        }

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Prediction({self.path!r}, error={self.error!r})"
        shown = self.found if self.thresholds else self.labels
        best = ", ".join(f"{name} {100 * score:.1f} %" for name, score in shown)
        return f"Prediction({self.path!r}: {best})" if self.path else f"Prediction({best})"


class Recognizer:
    """Recognizes the action in a video.

    Args:
        model: maps (B, T, 3, S, S) uint8 to logits (B, classes); is put into evaluation mode. Or an exported network.
        class_names: one per class, in the order of the logits.
        preprocessing: as in training (default: 224 pixels, with the model's mean and std).
        sampling: how frames are chosen (default: the model's T frames, spread over the video).
        header: further entries of the weights file (recipe, scores, license). With `multi_label` true, a clip has any
            number of classes, each by its own probability: those at or above their `thresholds` (default: 0.5).

    The attribute `min_score`, 0 to 1, is the score below which a clip shows none of the classes (default: 0);
    `calibrated_min_score` is the one that a calibration chose.

    Raises:
        ConfigError: class names that are not one per class or occur twice, thresholds that are not one per class, or a
            sampling or preprocessing whose T, mean or std differs from the model's.
    """

    def __init__(
        self,
        model: VideoClassifier | ExportedNetwork,
        class_names: Iterable[str] = (),
        *,
        preprocessing: Preprocessing | None = None,
        sampling: Sampling | None = None,
        header: Mapping[str, Any] | None = None,
    ):
        if isinstance(model, (str, PathLike)):
            raise ConfigError(f"weights are loaded by name or path: Recognizer.load({os.fspath(model)!r})")
        if not isinstance(model, ExportedNetwork):
            from teinet.models.classifier import VideoClassifier

            if not isinstance(model, VideoClassifier):
                raise ConfigError(
                    f"a recognizer needs a VideoClassifier, got a {type(model).__name__}; teinet.create_model builds "
                    "one, or wrap your network: teinet.models.VideoClassifier(cnn, num_frames=T)"
                )
            model.eval()
        names = tuple(str(name) for name in class_names)
        if len(names) != model.num_classes:
            raise ConfigError(f"{len(names)} class names for a model with {model.num_classes} classes")
        if len(set(names)) < len(names):
            raise ConfigError(f"class names given twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
        if sampling is not None and sampling.num_frames != model.num_frames:
            raise ConfigError(
                f"sampling has {sampling.num_frames} frames, but the model was built for {model.num_frames}; "
                f"to change the model, call teinet.set_num_frames(model, {sampling.num_frames}) first"
            )
        own = Preprocessing(**getattr(model, "data_config", {}))
        if preprocessing is not None and (preprocessing.mean, preprocessing.std) != (own.mean, own.std):
            raise ConfigError(
                f"preprocessing has mean {preprocessing.mean} and std {preprocessing.std}, but the model normalizes "
                f"with mean {own.mean} and std {own.std}; use the model's"
            )
        self.model: Any = model  # a VideoClassifier or an ExportedNetwork
        self.class_names = names
        self.preprocessing = preprocessing or own
        self.sampling = sampling or Sampling(num_frames=model.num_frames)
        self.header = dict(header or {})
        self.min_score = 0.0
        if len(self.header.get("thresholds") or names) != len(names):
            raise ConfigError(f"{len(self.header['thresholds'])} thresholds for {len(names)} classes")

    @classmethod
    def load(cls, path: str | PathLike, device: str | torch.device = "auto") -> Recognizer:
        """Load a recognizer from its weights file.

        Args:
            path: a .safetensors file, a run folder (its last weights), the name of a pretrained model, hf://user/name
                (see `from_pretrained`), or an exported file (.onnx, or OpenVINO's .xml), which needs no torch.
            device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the best one of this machine; an exported file runs on
                the CPU.

        Raises:
            CheckpointError: the file is missing, cut off, damaged, or not a recognizer.
            ConfigError: a device that this machine does not have, or not for an exported file.
        """
        if (file := weights_file(os.fspath(path))).suffix in EXPORTED:
            if str(device) not in ("auto", "cpu"):
                raise ConfigError(f"device {str(device)!r}: {file} runs on the CPU; use the weights it was made from")
            return cls.of_exported(file)
        from teinet.models.checkpoint import load_weights

        target = find_device(device)
        model, header = load_weights(os.fspath(path))
        names = header.get("class_names")
        if not names:
            raise CheckpointError(f"{path}: has no class names; export it again from its run")
        try:
            preprocessing = Preprocessing.from_dict(header["preprocessing"]) if header.get("preprocessing") else None
            sampling = Sampling(**header["sampling"]) if header.get("sampling") else None
            if preprocessing is not None:  # the file knows what its network was trained with; timm may have changed
                model.set_pixels(preprocessing.mean, preprocessing.std)
            return cls(model.to(target), names, preprocessing=preprocessing, sampling=sampling, header=header)
        except (ConfigError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: {error}") from None

    @classmethod
    def of_exported(cls, path: Path, *, runtime: Runtime | None = None, precision: str = "fp32") -> Recognizer:
        """Load an exported file; arguments and errors are those of `ExportedNetwork`."""
        model = ExportedNetwork(path, runtime=runtime, precision=precision)
        header = model.header
        try:
            how = {
                "preprocessing": Preprocessing.from_dict(header["preprocessing"]),
                "sampling": Sampling(**header["sampling"]),
            }
            return cls(model, header["class_names"], **how, header=header)
        except (ConfigError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: {error}") from None

    def save(self, path: str | PathLike, *, dtype: torch.dtype | None = None) -> None:
        """Write model, class names, preprocessing and sampling to one safetensors file.

        Args:
            dtype: of the numbers in the file, such as torch.float16, which is half as large; None keeps that of the
                file that was loaded, as long as it holds the weights exactly.

        Raises:
            ConfigError: an optimized recognizer, or an exported one.
            OSError: the file cannot be written.
        """
        if getattr(self.model, "optimization", None) is not None:
            kind = "exported" if isinstance(self.model, ExportedNetwork) else "optimized"
            raise ConfigError(f"{path}: an {kind} recognizer cannot be saved; save the one that it was made from")
        from teinet.models.checkpoint import kept_dtype, save_weights

        save_weights(os.fspath(path), self.model, self.full_header, dtype=dtype or kept_dtype(self.model))

    @property
    def full_header(self) -> dict[str, Any]:
        """The entries of the weights file: `header` with class names, preprocessing and sampling."""
        return self.header | {
            "class_names": list(self.class_names),
            "preprocessing": self.preprocessing.to_dict(),
            "sampling": asdict(self.sampling),
        }

    def export(
        self,
        path: str | PathLike,
        *,
        format: str = "onnx",
        precision: str | None = None,
        data: str | None = None,
        runtime: str | PathLike | None = None,
    ) -> Exported:
        """Write the recognizer to a file that runs without this library, and check that it gives the same answers.

        Args:
            path: with the format's suffix; a folder for "web".
            format: "onnx", "openvino" or "web", see `teinet.export.formats`.
            precision: "fp32", "fp16" or "int8"; None is fp32, and fp16 for "web".
            data: a list or folder of training clips to compare on, and to calibrate int8 with (default: the run's own,
                else drawn ones).
            runtime: for "web", onnxruntime-web's .tgz or folder (default: npm downloads it once).

        Raises:
            ConfigError, RunError, OSError: see `teinet.export.exporting.export`.
        """
        from teinet.data.lists.data_config import DataConfig
        from teinet.export.exporting import export

        config = None if data is None else DataConfig(path=data)
        how = {"format": format, "precision": precision, "data": config}
        return export(self, os.fspath(path), **how, runtime=None if runtime is None else os.fspath(runtime))

    @classmethod
    def from_pretrained(
        cls,
        name: str | PathLike,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | PathLike | None = None,
        local_files_only: bool = False,
        device: str | torch.device = "auto",
    ) -> Recognizer:
        """Load a recognizer from a repository of the Hugging Face Hub, a folder or file, or the library.

        Args:
            name: "user/name" or `hf://user/name[@revision][/file.safetensors]`; or what `load` takes, which goes first.
            revision: branch, tag or commit of the repository (default: its main branch).
            token: True for the one of `hf auth login`, False for none, or the token (default: that one, or HF_TOKEN).
            cache_dir: where files are kept (default: that of the hub's client).
            local_files_only: use the cache alone, without network; HF_HUB_OFFLINE=1 does the same everywhere.
            device: see `load`.

        Raises:
            CheckpointError: no such repository, revision or file, no right to read it, no network and nothing in the
                cache; or the file is no recognizer.
            ConfigError: a device that this machine does not have, or a revision of something that has none.
        """
        how = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        return cls.load(sharing.find(name, revision=revision, **how), device)

    def save_pretrained(self, folder: str | PathLike, *, dtype: torch.dtype | None = None) -> None:
        """Write a folder to share: model.safetensors, and README.md, the model card, unless there is one.

        The file leaves out where training found its clips and wrote its files.

        Args:
            dtype: see `save`.

        Raises:
            ConfigError: an optimized recognizer.
            OSError: the folder cannot be written.
        """
        sharing.save_folder(self, folder, dtype=dtype)

    def push_to_hub(
        self,
        repository: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        commit_message: str = "Upload a teinet recognizer",
        revision: str | None = None,
        overwrite_card: bool = False,
        dtype: torch.dtype | None = None,
    ) -> str:
        """Write the recognizer and its model card to a repository of the Hugging Face Hub; return the commit's address.

        The repository and the branch are created if they do not exist.

        Args:
            repository: "user/name".
            token: one with the right to write; see `from_pretrained`.
            private: of a new repository; None is the account's setting.
            revision: a branch (default: the main one).
            overwrite_card: write README.md again, which may have been edited; else it is kept if there is one.
            dtype: see `save`.

        Raises:
            CheckpointError: no right to write, or no network.
            ConfigError: an optimized recognizer, or no name of a repository.
        """
        return sharing.push(
            self,
            repository,
            token=token,
            private=private,
            commit_message=commit_message,
            revision=revision,
            overwrite_card=overwrite_card,
            dtype=dtype,
        )

    def optimize(self, *, engine: Engine = "folded", precision: Precision = "auto") -> Recognizer:
        """Return a faster recognizer with the same predictions, which cannot be saved.

        Logits differ by rounding: by less than 1e-5 of the largest in fp32, about 1e-2 in bf16 and fp16.

        Args:
            engine: "folded" folds batch norms into convolutions, at once; "compile" also uses torch.compile, which
                takes half a minute for each number of views; "eager" is the model as it is, and folded below fp32;
                "onnx" and "openvino" run the exported network by onnxruntime and OpenVINO on a CPU: it is exported
                once, in some ten seconds, and kept in the cache folder; "auto" is the fastest that is installed.
            precision: "fp32", "bf16", "fp16" (on a GPU), or "auto": fp32 with "eager" and "onnx", else bf16 where the
                processor computes in it; "onnx" and "openvino" also have "int8", calibrated with the run's clips.

        Raises:
            ConfigError: an engine or precision that does not exist, or that this machine cannot run.
        """
        check_engine(engine, precision)
        if isinstance(self.model, ExportedNetwork) or engine in ("auto", "onnx", "openvino"):
            return exported_form(self, engine, precision)
        from teinet.models.optimized import optimize

        model = optimize(self.model, engine=cast("Any", engine), precision=cast("Any", precision))
        how = {"preprocessing": self.preprocessing, "sampling": self.sampling, "header": self.header}
        return Recognizer(model, self.class_names, **how)

    def to(self, device: str | torch.device) -> Recognizer:
        """Move the model to a device, in place, and return self; ConfigError if it is not available."""
        if isinstance(self.model, ExportedNetwork):
            if str(device) not in ("auto", "cpu"):
                raise ConfigError(f"device {str(device)!r}: an exported network runs on the CPU")
        else:
            self.model.to(find_device(device))
        return self

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return find_device("cpu") if isinstance(self.model, ExportedNetwork) else next(self.model.parameters()).device

    @property
    def is_causal(self) -> bool:
        """True if no frame depends on a later one, so that the model takes live video frame by frame."""
        if isinstance(self.model, ExportedNetwork):
            return self.model.is_step
        from teinet.models.insertion import is_causal

        return is_causal(self.model)

    @property
    def num_frames(self) -> int:
        """T, the number of frames of a clip."""
        return self.model.num_frames

    def set_num_frames(self, num_frames: int) -> Recognizer:
        """Change T, at least 1, in place and return self; accuracy drops the more T differs from that of training."""
        if isinstance(self.model, ExportedNetwork):
            raise ConfigError(f"{self.model.path} has a fixed T; change that of the weights, and export them again")
        from teinet.models.insertion import set_num_frames

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
        max_damaged: float = MAX_DAMAGED,
    ) -> Prediction:
        """Recognize one video.

        Args:
            video: a file or a folder of numbered images, by its path or its `VideoReader`; frames (T, H, W, 3) uint8
                as an array or tensor; or a list of T images, each (H, W, 3) uint8 or PIL's. Channels are RGB; OpenCV's
                BGR frames are `frame[..., ::-1]`.
            top_k: number of classes in the prediction's labels, at least 1; without effect with multi-label.
            views: clips x crops: "1x1", "10x3".
            start, end: use only the frames shown in these seconds of a file.
            averaging: average the views' "probabilities" or their "logits".
            max_damaged: largest share of a file's frames that may be lost or damaged.

        Raises:
            VideoError: the file cannot be read.
            ConfigError: frames of another shape or type, several videos (see `predict_many`), an address, a start or an
                end that is no number, or unknown views.
        """
        self._check(top_k, averaging)
        loaded = load_views(
            video, self.sampling, self.preprocessing, views, start, end, threads="auto", max_damaged=max_damaged
        )
        return self._prediction(path_of(video) or "", loaded, self.scores(loaded.frames, averaging), top_k)

    def predict_many(
        self,
        videos: Iterable[Video],
        *,
        top_k: int = 5,
        views: Views | str = "1x1",
        start: float | None = None,
        end: float | None = None,
        averaging: Averaging = "probabilities",
        max_damaged: float = MAX_DAMAGED,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Iterator[Prediction]:
        """Recognize several videos: yield their predictions in order, while threads decode the next videos.

        A video that cannot be read gives a Prediction with `error` set. Other arguments are those of a call.

        Args:
            videos: each as a call takes it; read a few ahead of the predictions.
            batch_size: views (T frames each) in one pass of the model, at least 1, of several videos where they have
                fewer; bounds the memory. None runs each video by itself, which gives its prediction soonest. Scores
                differ by rounding only.
            workers: decoding threads (default: the number of cores, at most 4).

        Raises:
            ConfigError: a single path, or a value out of its range; before any video is read.
        """
        self._check(top_k, averaging)
        if (path := path_of(videos)) is not None:
            raise ConfigError(f"predict_many takes a list of videos; for one, call recognizer({path!r})")
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        views = Views.parse(views)
        check_views(views, self.preprocessing.fit)
        check_numbers(start=start, end=end)
        if start is not None and end is not None and start >= end:
            raise ConfigError(f"start must be before end, got {start:g} and {end:g} s")
        how = {"views": views, "start": start, "end": end, "max_damaged": max_damaged}
        decoded = self._decode_many(videos, workers, **how)
        return self.predict_decoded(decoded, top_k=top_k, averaging=averaging, batch_size=batch_size)

    def _decode_many(
        self, videos: Iterable[Video], workers: int | None, **how: Any
    ) -> Iterator[tuple[str, LoadedViews | TeinetError]]:
        """Yield the path of each video with what `decode` returns for it, or raises, from threads that read ahead."""
        load = partial(self.decode, **how)
        for video, future in prefetch(load, videos, workers=workers or min(4, os.cpu_count() or 1)):
            try:
                found = future.result()
            except TeinetError as error:
                found = error
            yield path_of(video) or "", found

    def decode(
        self,
        video: Video,
        *,
        views: Views | str = "1x1",
        start: float | None = None,
        end: float | None = None,
        max_damaged: float = MAX_DAMAGED,
    ) -> LoadedViews:
        """Decode the views of a video, for `predict_decoded`; arguments and errors are those of a call."""
        return load_views(video, self.sampling, self.preprocessing, views, start, end, max_damaged=max_damaged)

    def predict_decoded(
        self,
        videos: Iterable[tuple[str, LoadedViews | TeinetError]],
        *,
        top_k: int = 5,
        averaging: Averaging = "probabilities",
        batch_size: int | None = None,
    ) -> Iterator[Prediction]:
        """Recognize videos that other threads decode: yield their predictions in order, as `predict_many` does.

        Args:
            videos: the name of each (its `Prediction.path`) with what `decode` returned for it, or raised.
            top_k, averaging, batch_size: as in `predict_many`.
        """

        def views() -> Iterator[tuple[tuple[str, LoadedViews | TeinetError], np.ndarray]]:
            for name, found in videos:
                if isinstance(found, TeinetError):
                    yield (name, found), np.empty(0)
                else:
                    yield (name, found._replace(frames=np.empty(0))), found.frames

        run = partial(self.logits, at_once=batch_size)
        for (name, found), logits in in_batches(run, views(), batch_size):
            try:
                if isinstance(found, TeinetError):
                    raise found
                scores = to_probabilities(logits, averaging, multi_label=self.multi_label)
                yield self._prediction(name, found, scores, top_k)
            except TeinetError as error:
                reason = error.reason if isinstance(error, VideoError) else str(error)
                yield Prediction(path=name, error=reason)

    def embed(
        self,
        video: Video,
        *,
        views: Views | str = "1x1",
        start: float | None = None,
        end: float | None = None,
        max_damaged: float = MAX_DAMAGED,
    ) -> np.ndarray:
        """Return a video's features (D,) float32, for search and clustering: what the head takes, averaged.

        The mean over frames and views of `VideoClassifier.features`. Arguments and errors are those of a call.

        Raises:
            ConfigError: an exported recognizer, which gives scores alone.
        """
        how = {"views": views, "start": start, "end": end, "max_damaged": max_damaged}
        self._check_features()
        return self._features(self.decode(video, **how).frames)

    def embed_many(
        self,
        videos: Iterable[Video],
        *,
        views: Views | str = "1x1",
        max_damaged: float = MAX_DAMAGED,
        workers: int | None = None,
    ) -> Iterator[tuple[str, np.ndarray | TeinetError]]:
        """Yield the path and the features (D,) of each video, or why it cannot be read, as `embed` returns them.

        Args:
            workers: decoding threads (default: the number of cores, at most 4).
        """
        self._check_features()
        for path, found in self._decode_many(videos, workers, views=views, max_damaged=max_damaged):
            yield path, found if isinstance(found, TeinetError) else self._features(found.frames)

    def _check_features(self) -> None:
        if isinstance(self.model, ExportedNetwork):
            raise ConfigError(f"{self.model.path} gives scores and no features; embed with the weights it was made of")

    def _features(self, views: np.ndarray) -> np.ndarray:
        import torch

        from teinet.models.classifier import as_clips

        with torch.inference_mode():
            found = [
                self.model.features(as_clips(views[first : first + VIEWS_AT_ONCE]).to(self.device)).float()
                for first in range(0, len(views), VIEWS_AT_ONCE)
            ]
            return torch.cat(found).mean((0, 1)).cpu().numpy()

    @staticmethod
    def _check(top_k: int, averaging: Averaging) -> None:
        check_numbers(top_k=top_k)
        if top_k < 1:
            raise ConfigError(f"top_k must be at least 1, got {top_k}")
        check_averaging(averaging)

    def _prediction(self, name: str, loaded: LoadedViews, scores: np.ndarray, top_k: int) -> Prediction:
        loaded.warn_of_one_frame(name)
        best = np.argsort(-scores, kind="stable")[: None if self.multi_label else top_k]
        return Prediction(
            path=name,
            labels=tuple((self.class_names[i], float(scores[i])) for i in best),
            scores=scores,
            frame_indices=loaded.indices,
            times=loaded.times,
            num_frames=loaded.num_frames,
            damage=loaded.damage,
            min_score=self.min_score,
            thresholds=tuple(self.thresholds[i] for i in best) if self.multi_label else (),
        )

    @property
    def multi_label(self) -> bool:
        """True if a clip may have several classes, or none."""
        return bool(self.header.get("multi_label"))

    @property
    def thresholds(self) -> tuple[float, ...]:
        """With multi-label, the score of each class from which on a clip has it, in the order of the class names."""
        return tuple(self.header.get("thresholds") or [0.5] * len(self.class_names))

    @property
    def calibrated_min_score(self) -> float | None:
        """The score below which a clip shows none of the classes, if `teinet test --calibrate` chose one."""
        return (self.header.get("calibration") or {}).get("min_score")

    @property
    def frame_interval(self) -> float | None:
        """Usual seconds between neighboring frames in training; None if the weights do not say."""
        value = self.header.get("frame_interval")
        return float(value) if isinstance(value, (int, float)) and value > 0 else None

    @property
    def background(self) -> tuple[str, ...]:
        """Background classes, which make no event in a recording; from the weights file."""
        return tuple(name for name in self.header.get("background") or () if name in self.class_names)

    def stream(
        self, batch: int = 1, *, smoothing: int | None = None, state: StateType = "same", together: int = 1
    ) -> Stream:
        """Return a `Stream` that recognizes N live videos frame by frame, at the cost of one 2-D frame a step.

        Arguments and errors are those of `Stream`, which describes `step`, its logits and its scores.
        """
        from teinet.recognition.stream import Stream

        refuse_multi_label(self.header)
        return Stream(self.model, self.preprocessing, batch, smoothing=smoothing, state=state, together=together)

    def detector(
        self,
        *,
        threshold: float = 0.5,
        off_threshold: float | None = None,
        min_duration: float = 0.5,
        background: tuple[str, ...] | None = None,
        frame_interval: float | None = None,
        smoothing: int | None = None,
        stride: int | None = None,
        windows: bool = False,
    ) -> Detector:
        """Return a `Detector` of events in one stream of frames: `.push(frame)`, `.finish()`.

        Args:
            threshold: score at which an event begins, 0 to 1.
            off_threshold: score below which it ends, 0 to `threshold`; None is 0.7 of that.
            min_duration: seconds that an event must last, at least 0.
            background: classes that make no event (default: those of the weights file).
            frame_interval: see `Detector`.
            smoothing, stride, windows: see `teinet.detection.scorer.make_scorer`.

        Raises:
            ConfigError: a value out of its range or not for this model, or an unknown frame interval.
        """
        from teinet.detection.detector import Detector

        rules = Rules(
            threshold=threshold, off_threshold=off_threshold, min_duration=min_duration, background=background
        )
        return Detector(
            self, frame_interval=frame_interval, rules=rules, smoothing=smoothing, stride=stride, windows=windows
        )

    def scores(self, views: np.ndarray, averaging: Averaging = "probabilities") -> np.ndarray:
        """Return the mean scores of a video's views (V, T, S, S, 3) uint8: (classes,) float32.

        Raises:
            CheckpointError: they are not finite.
        """
        return to_probabilities(self.logits(views), averaging, multi_label=self.multi_label)

    def logits(self, views: np.ndarray, at_once: int | None = None) -> np.ndarray:
        """Return the logits (V, classes) of views (V, T, S, S, 3) uint8, float32.

        Args:
            at_once: views in one pass of the model; None is a few. A model with a program for each number of views gets
                as many, or with OpenVINO, which makes them soon, the next power of two; the last view is repeated.
        """
        count, size = len(views), at_once or VIEWS_AT_ONCE
        if at_once is not None and count < at_once and self.has_programs:  # another size is another program
            exported = isinstance(self.model, ExportedNetwork)
            wanted = min(at_once, 1 << (count - 1).bit_length()) if exported else at_once
            views = np.concatenate([views, views[-1:].repeat(wanted - count, axis=0)])
        run = self.model.logits if isinstance(self.model, ExportedNetwork) else partial(_torch_logits, self.model)
        return np.concatenate([run(views[first : first + size]) for first in range(0, len(views), size)])[:count]

    @property
    def has_programs(self) -> bool:
        """True if the model makes a program for each number of views, which takes seconds."""
        if isinstance(self.model, ExportedNetwork):
            return self.model.runtime == "openvino"
        from teinet.models.optimized import is_compiled

        return is_compiled(self.model)

    def __repr__(self) -> str:
        architecture, names = (self.model.config or {}).get("name", type(self.model).__name__), self.class_names
        shown = ", ".join(names if len(names) <= 4 else [*names[:2], "...", names[-1]])
        height, width = self.preprocessing.shape
        how = f", {fast}" if (fast := getattr(self.model, "optimization", None)) is not None else ""
        place = "cpu" if isinstance(self.model, ExportedNetwork) else self.device
        return (
            f"Recognizer({architecture}, {self.num_frames} frames at {height}x{width} ({self.sampling.strategy}), "
            f"{len(names)} classes: {shown}; on {place}{how})"
        )


def _torch_logits(model: VideoClassifier, views: np.ndarray) -> np.ndarray:
    """Return the logits (V, classes) of views (V, T, S, S, 3) by a network of torch."""
    import torch

    from teinet.models.classifier import as_clips

    with torch.inference_mode():
        clips = as_clips(views).to(next(model.parameters()).device)
        return model(clips).float().cpu().numpy()
