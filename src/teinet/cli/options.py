"""Options that several commands share, the recognizer that these name, and files that outputs may be written to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from teinet.cli.parser import ADVANCED, option, positional
from teinet.errors import ConfigError
from teinet.utils.signals import first_process

if TYPE_CHECKING:
    from teinet.data.lists.splits import DataConfig
    from teinet.detection.events import Rules
    from teinet.recognition import Recognizer

Engine = Literal["auto", "eager", "folded", "compile", "onnx", "openvino"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]

WEIGHTS = (
    "a run's folder (its last weights), a .safetensors or exported file, a pretrained model's name, or hf://user/name"
)
DEVICE = "auto, cpu, cuda, cuda:1 or mps"
PRECISION = "number format of the network; auto: fp32, but with folded and compile the fastest that the device has"
PAGE = {".html": "page", ".htm": "page"}
OVERWRITE = "do the work again, and replace results that exist"
ENGINE = (
    "folded: batch norms folded into convolutions, at once; compile: torch.compile as well, after half a minute; onnx, "
    "openvino: exported once, in some ten seconds, and run by these; auto: the fastest that is installed"
)


@dataclass(kw_only=True)
class WeightsArgument:
    """A recognizer, as the first word."""

    weights: str = positional(WEIGHTS)

    @staticmethod
    def explain_missing(command: str, words: Sequence[str]) -> None:
        """Print the pretrained models, a line each, unless the first word names weights."""
        from teinet.models.header import list_pretrained, pretrained_file
        from teinet.models.hub import is_hub_address

        first = next((word for word in words if not word.startswith("-")), "")
        if pretrained_file(first) or first.endswith(".safetensors") or is_hub_address(first):
            return
        print("Weights come first. Pretrained models (teinet info NAME says more):", file=sys.stderr)
        for each in list_pretrained():
            print(f"  teinet {command} {each.name:<20}{each.header['card'].get('title', '')}", file=sys.stderr)


@dataclass(kw_only=True)
class EngineOptions:
    """The device, engine and precision of a recognizer."""

    device: str = option(DEVICE, default="auto", group="device")
    engine: Engine = option(ENGINE, default="eager", group="device")
    precision: Precision = option(PRECISION, default="auto", group="device")


@dataclass(kw_only=True)
class EventOptions:
    """The rules of events, and the frames that the network gets."""

    threshold: float = option("score at which an event begins, 0 to 1", default=0.5)
    min_duration: float = option("seconds that an event lasts at least", default=0.5)
    off_threshold: float | None = option(
        "score below which an event ends (default: 0.7 of --threshold)", metavar="X", group=ADVANCED
    )
    background: list[str] | None = option(
        "a class that makes no event; repeat it for several, '' for none (default: what the weights say)",
        metavar="LABEL",
        group=ADVANCED,
    )
    frame_interval: float | None = option(
        "between the frames that the network takes (default: as in training)", metavar="SECONDS", group=ADVANCED
    )
    smoothing: int | None = option(
        "causal networks: how many frames a score averages over (default: T)", metavar="FRAMES", group=ADVANCED
    )
    windows: bool = option(
        "causal networks too look at overlapping windows of T frames, as bidirectional ones always do", default=False,
        group=ADVANCED,
    )  # fmt: skip

    def rules(self) -> Rules:
        """Return the rules of events; background classes may be left to the recognizer."""
        from teinet.detection.events import Rules

        background = None if self.background is None else tuple(filter(None, self.background))
        return Rules(
            threshold=self.threshold,
            off_threshold=self.off_threshold,
            min_duration=self.min_duration,
            background=background,
        )


@dataclass(kw_only=True)
class ListOptions:
    """The list of clips: fields of the recipe's `data` section."""

    format: str = option("format of the list; auto detects it", default="auto", group="list of clips")
    root: str | None = option("folder that the list's paths are relative to", metavar="FOLDER", group="list of clips")
    val_path: str | None = option("list of validation clips, if separate", metavar="FILE", group="list of clips")
    test_path: str | None = option("list of test clips, if separate", metavar="FILE", group="list of clips")
    labels: str | None = option("class names in the order of their indices", metavar="FILE", group="list of clips")
    official_split: int = option("of UCF101 and HMDB51: 1, 2 or 3", default=1, group="list of clips")
    image_names: str | None = option(
        "of clips that are folders, such as img_{:05d}.jpg", metavar="PATTERN", group="list of clips"
    )

    def data_config(self, path: str) -> DataConfig:
        """Return the settings of the list `path`."""
        from teinet.data.lists.splits import DataConfig

        names = ("format", "root", "val_path", "test_path", "labels", "official_split", "image_names")
        return DataConfig(path=path, **{name: getattr(self, name) for name in names})


def find_causal_form(weights: str) -> str:
    """Return a pretrained model's causal form, which sees each frame once; the same weights if there is none."""
    from teinet.models.header import pretrained_file

    form = f"{weights}_causal"
    has_form = not Path(weights).exists() and pretrained_file(weights) and pretrained_file(form)
    return form if has_form else weights


def causal_form(weights: str, *, windows: bool) -> str:
    """Return a pretrained model's causal form, and say so; else, and for `windows`, the same weights."""
    form = weights if windows else find_causal_form(weights)
    if form != weights:
        print(f"{weights}: using its causal form, {form} (--windows keeps {weights})", file=sys.stderr)
    return form


def check_weights(weights: str, *, multi_label: bool = True) -> None:
    """Raise TeinetError for weights that cannot be used, before torch is imported; say if a run is unfinished.

    Args:
        multi_label: whether the command takes recognizers that give several labels for a clip.
    """
    from teinet.models.header import read_header, refuse_multi_label

    header = read_header(weights)
    if not multi_label:
        refuse_multi_label(header, weights)
    note_unfinished(weights, header)


def note_unfinished(weights: str, header: Mapping[str, Any]) -> None:
    """Print a line if these are the last weights of a run that has not reached its last epoch."""
    from teinet.models.header import LAST, weights_file

    optim, epoch = header["recipe"].get("optim"), header["scores"].get("epoch")
    epochs = optim.get("epochs") if isinstance(optim, dict) else None
    unfinished = isinstance(epoch, int) and isinstance(epochs, int) and epoch < epochs
    if unfinished and weights_file(weights).name == LAST and first_process():
        print(f"{weights}: stopped at {epoch} of {epochs} epochs", file=sys.stderr)


def load_recognizer(weights: str, options: EngineOptions) -> Recognizer:
    """Load a recognizer for --device, --engine and --precision."""
    from teinet.recognition import Recognizer

    recognizer = Recognizer.load(weights, device=options.device)
    return recognizer.optimize(engine=options.engine, precision=options.precision)


def check_range(options: object, **lowest: float) -> None:
    """Raise ConfigError for an option below its lowest value; None passes."""
    for name, low in lowest.items():
        value = getattr(options, name)
        if value is not None and not value >= low:
            raise ConfigError(f"--{name.replace('_', '-')} is {value}; it must be at least {low}")


def output_form(options: Any, forms: Mapping[str, str]) -> str:
    """Return the form of an output: that of --json or --output-format, else of `--output`'s suffix, else a table.

    Args:
        options: what was typed; without `output_format`, suffixes alone choose.
        forms: form by suffix, {".json": "json"}.

    Raises:
        ConfigError: a suffix that no form has, or several forms asked for.
    """
    path, asked = options.output, getattr(options, "output_format", None)
    if hasattr(options, "output_format") and options.json:
        if asked not in (None, "json"):
            raise ConfigError(f"--json and --output-format {asked} ask for two formats; take one")
        asked = "json"
    suffix = Path(path or "").suffix.lower()
    is_folder = Path(path or "").is_dir() or str(path).endswith("/") or (asked is not None and not suffix)
    if not path or is_special(path) or is_folder:
        return asked or forms.get(suffix, "table")
    if suffix not in forms:
        raise ConfigError(f"--output {path}: the suffix chooses the format; it must be {', '.join(forms)}")
    if asked not in (None, forms[suffix]):
        raise ConfigError(f"--output {path} would hold {asked}; give it another suffix, or leave out the other format")
    return forms[suffix]


def keep_apart(outputs: Mapping[str, str | Path | None], inputs: Iterable[str | Path]) -> None:
    """Raise ConfigError if an option's file, such as {"--output": "found.csv"}, is an input or another option's output.

    None, folders, devices and pipes, such as /dev/stdout, take anything.
    """
    taken = {_key(path): "which this command reads" for path in inputs}
    for name, path in outputs.items():
        if not path or is_special(path) or os.path.isdir(path):
            continue
        if (key := _key(path)) in taken:
            raise ConfigError(f"{name} {path} would write over a file {taken[key]}; name another one")
        taken[key] = f"that {name} writes"


def check_file(path: str | Path) -> None:
    """Raise ConfigError if a file cannot be written: it is a folder, has none, or may not be written."""
    file = Path(path)
    folder = Path(os.path.realpath(path)).parent  # of what a link leads to
    if file.is_dir():
        why = "it is a folder"
    elif not file.exists() and not folder.is_dir():
        why = "its folder does not exist"
    elif not os.access(file if file.exists() else folder, os.W_OK):
        why = "it may not be written"
    else:
        return
    raise ConfigError(f"{path}: cannot be written ({why})")


def check_output(path: str, inputs: Iterable[str | Path], *, overwrite: bool) -> None:
    """Raise ConfigError if `--output` cannot be written, is read by the command, or exists without --overwrite."""
    check_file(path)
    keep_apart({"--output": path}, inputs)
    keep_existing([path], overwrite=overwrite)


def keep_existing(paths: Sequence[str | Path], *, overwrite: bool) -> None:
    """Raise ConfigError if files that a command would write exist, unless they are to be overwritten."""
    found = [] if overwrite else [path for path in paths if os.path.isfile(path) and not is_special(path)]
    if found:
        others = f" and {len(found) - 1} more files" if len(found) > 1 else ""
        exist = "exist; --overwrite replaces them" if others else "exists; --overwrite replaces it"
        raise ConfigError(f"{found[0]}{others} {exist}, another name keeps {'them' if others else 'it'}")


def is_special(path: str | Path) -> bool:
    """Return whether a path is a device or a pipe."""
    path = Path(path)
    return path.is_relative_to("/dev") or (path.exists() and not (path.is_file() or path.is_dir()))


def _key(path: str | Path) -> object:
    """Return a key that identifies a file under any of its names."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
