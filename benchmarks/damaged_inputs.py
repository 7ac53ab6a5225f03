"""The inputs of `benchmarks.campaign`, made from whole videos, lists, weights and recipes."""

from __future__ import annotations

import argparse
import random
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from av.error import FFmpegError

from benchmarks import mutators
from teinet.models import create_model
from teinet.recognition import Recognizer
from teinet.training.recipe import Recipe
from tests import miniatures

# Of twenty inputs.
KINDS = ("bytes",) * 7 + ("packets",) * 4 + ("images",) * 2 + ("lists",) * 2 + ("weights",) * 3 + ("recipes",) * 2
VIDEOS = ("bytes", "packets", "images")
NETWORK = "teinet_test_resnet"


def kind_of(number: int) -> str:
    """Return the kind of an input; few in a row are of all kinds."""
    return KINDS[number * 7 % len(KINDS)]


@dataclass(frozen=True)
class Input:
    """One damaged input: `path` relative to the folder of the commands, and what was done to it."""

    number: int
    kind: str
    path: str
    how: str


class Inputs:
    """The inputs of a seed.

    What they are made from is written to a folder; `materials` in it holds what commands need besides an input.
    """

    def __init__(self, folder: Path, seed: int):
        self.folder, self.seed, self.materials = folder, seed, folder / "materials"
        self._frames = {kind: miniatures.frames(kind, 25) for kind in (0, 1)}
        self._videos = save_videos(folder / "videos")
        self.materials.mkdir()
        for number, kind in enumerate(("a", "b", "a", "b")):
            miniatures.write(self.materials / "clips" / kind / f"{number}.mp4", number % 2)
        torch.manual_seed(0)
        model = create_model(NETWORK, num_classes=2, num_frames=2, causal=True)
        Recognizer(model, ["a", "b"], header={"frame_interval": 0.3}).save(self.materials / "net.safetensors")
        (self.materials / "labels.txt").write_text("a\nb\n")
        plain = create_model("tsn_test_resnet", num_classes=2, num_frames=2).cnn.state_dict()
        weights = {"epoch": 3, "state_dict": plain, "arch": "test_resnet", "args": argparse.Namespace(lr=0.1)}
        for name, form in (("new", True), ("old", False)):  # the old one holds addresses, which differ each time
            torch.save(weights, folder / f"{name}.pth", _use_new_zipfile_serialization=form)
        small = {"model": NETWORK, "pretrained": False, "frames": 2, "size": 32, "epochs": 1, "workers": 0}
        values = asdict(Recipe.load(small, batch_size=6))
        self._recipe = {section: settings for section, settings in values.items() if isinstance(settings, dict)}
        self._lists = [make(folder / "lists" / name) for name, make in miniatures.ALL.items() if name != "tsn"]

    def add_whole(self, folder: Path, number: int) -> None:
        """Write two whole clips of each class, to train on: files, or for images folders of them."""
        for place, kind in enumerate("abab"):
            path = folder / kind / f"good{place}"
            miniatures.write(path if kind_of(number) == "images" else path.with_suffix(".mp4"), place)

    def make(self, number: int, place: Path) -> Input:
        """Make the input of a number in the folder `in` of a place."""
        rng, kind = random.Random(f"{self.seed} {number}"), kind_of(number)
        folder = place / "in" / (rng.choice("ab") if kind in VIDEOS else str(number))
        folder.mkdir(parents=True, exist_ok=True)
        path, data = folder / str(number), None
        if kind == "bytes":
            source = rng.choice(self._videos)
            path = folder / f"{number}{rng.choice(self._videos).suffix if rng.random() < 0.03 else source.suffix}"
            data, how = mutators.mutated_bytes(rng, source.read_bytes(), [each.read_bytes() for each in self._videos])
            how = f"{source.name}: {how}"
        elif kind == "packets":
            source, suffix = rng.choice(self._videos), rng.choice((".mp4", ".mkv", ".ts", ".avi", ".flv", ".mov"))
            path = folder / f"{number}{suffix if rng.random() < 0.6 else source.suffix}"
            try:
                how = mutators.mutated_packets(rng, source, path)
            except (FFmpegError, ValueError):  # a container that does not take this codec
                path = folder / f"{number}{source.suffix}"
                how = mutators.mutated_packets(rng, source, path)
            how = f"{source.name}: {how}"
        elif kind == "images":
            how = mutators.mutated_images(rng, self._frames[number % 2], path)
        elif kind == "lists":
            root = rng.choice(self._lists)
            how = mutators.mutated_list(rng, root if root.is_dir() else root.parent, path)
            path, how = path if root.is_dir() else path / root.name, f"{root.name}: {how}"
        elif kind == "weights" and rng.random() < 0.6:
            path = folder / "w.safetensors"
            data, how = mutators.mutated_safetensors(rng, (self.materials / "net.safetensors").read_bytes())
        elif kind == "weights":
            path, form = folder / "w.pth", rng.choice(("new", "new", "old"))
            data, how = mutators.mutated_pickle(rng, (self.folder / f"{form}.pth").read_bytes())
            how = f"{form}, {how}"
        else:
            path = folder / "recipe.yaml"
            data, how = mutators.mutated_recipe(rng, deepcopy(self._recipe))
        if data is not None:
            path.write_bytes(data)
        return Input(number, kind, str(path.relative_to(place)), how)


def save_videos(folder: Path) -> list[Path]:
    """Write a second of video in many containers and codecs."""
    folder.mkdir()
    x264, gop = {"preset": "veryfast", "bf": "2", "g": "8"}, {"g": "8"}
    x265 = {"x265-params": "log-level=none:keyint=8", "preset": "ultrafast"}
    kinds = [
        ("h264.mp4", "libx264", x264), ("fast.mp4", "libx264", x264), ("pieces.mp4", "libx264", x264),
        ("edit.mov", "libx264", x264), ("h264.mkv", "libx264", x264), ("h264.ts", "libx264", x264),
        ("h264.flv", "libx264", x264), ("bare.h264", "libx264", x264), ("hevc.mp4", "libx265", x265),
        ("mpeg4.avi", "mpeg4", gop | {"bf": "2"}), ("mpeg4.mp4", "mpeg4", gop), ("mjpeg.avi", "mjpeg", {}),
        ("vp9.webm", "libvpx-vp9", gop | {"deadline": "realtime", "cpu-used": "8"}), ("vp8.webm", "libvpx", gop),
        ("mpeg2.mpg", "mpeg2video", gop | {"bf": "2"}), ("wmv.wmv", "wmv2", {}), ("ffv1.mkv", "ffv1", {}),
        ("colors.gif", "gif", {}), ("colors.apng", "apng", {}),
    ]  # fmt: skip
    containers = {"fast.mp4": {"movflags": "faststart"}, "pieces.mp4": {"movflags": "frag_keyframe+empty_moov"}}
    same = {"fflags": "+bitexact"}  # without random numbers
    made = []
    for number, (name, codec, options) in enumerate(kinds):
        how = {
            "pixels": {"gif": "rgb8", "apng": "rgb24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p"),
            "first": 9 if name == "edit.mov" else 0,  # its first timestamp, which an edit list says
            "container": containers.get(name, {}) | same,
        }
        made.append(miniatures.encode(folder / name, miniatures.frames(number % 2, 25), codec, options, rate=25, **how))
    return made
