"""The networks whose cost is compared: ours, forms of them that others wrote, and the 3-D networks of torchvision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from teinet.errors import ConfigError, nearest
from teinet.models.classifier import VideoClassifier
from teinet.models.factory import create_model, split_name
from teinet.models.gradient_checkpointing import set_gradient_checkpointing
from teinet.models.insertion import insert_temporal
from teinet.models.optimized import DTYPES, frozen, optimize

PEERS = {"r2plus1d_18": (16, 112), "mc3_18": (16, 112), "r3d_18": (16, 112), "s3d": (16, 224)}  # frames, pixels
ENGINES = ("eager", "folded", "inductor", "compile")
FOREIGN = {"tsm": "tsm-authors", "teinet": "teinet-textbook"}
CLASSES = 400


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row of the comparison.

    Args:
        network: the prefix of our networks' names, "tsm-authors", "teinet-textbook", or a name among `PEERS`.
        backbone: timm's name; empty for a peer.
        num_frames: T.
        size: side of the images, pixels.
        engine: "eager" runs the network as it was trained, "inductor" that under torch.compile, "folded" and "compile"
            as `Recognizer.optimize` has it.
        precision: the number format; of "eager" and "inductor" under autocast.
        checkpointing: what a training step computes a second time, as `set_gradient_checkpointing` has it.
        causal: a frame sees those before it alone; of our networks.
        memory: "kept" by the process, as in the commands, or "freed" as in a program that does not ask for it.

    Raises:
        ConfigError: a name that does not exist.
    """

    network: str
    backbone: str = "resnet50"
    num_frames: int = 8
    size: int = 224
    engine: str = "eager"
    precision: str = "fp32"
    checkpointing: str = "none"
    causal: bool = False
    memory: str = "kept"

    def __post_init__(self) -> None:
        networks = (*PEERS, *FOREIGN.values())
        if self.network not in networks:
            split_name(f"{self.network}_{self.backbone}")
        chosen = (("engine", ENGINES), ("precision", tuple(DTYPES)), ("memory", ("kept", "freed")))
        for name, valid in chosen:
            value = getattr(self, name)
            if value not in valid:
                raise ConfigError(f"no {name} {value!r}; there are {', '.join(valid)}.{nearest(value, valid)}")
        if self.causal and self.network in networks:
            raise ConfigError(f"{self.network} has no causal form")
        if self.num_frames < 1 or self.size < 32:
            raise ConfigError(f"frames must be at least 1 and the size 32, got {self.num_frames} and {self.size}")

    @property
    def autocast(self) -> bool:
        """Whether torch.autocast gives it its number format."""
        return self.precision != "fp32" and self.engine in ("eager", "inductor") and self.network not in PEERS

    @property
    def name(self) -> str:
        """What a table calls the network."""
        return f"{self.network}_{self.backbone}" if self.backbone else self.network

    def plain_form(self) -> Contender:
        """The same network as it is trained."""
        return replace(self, engine="eager", precision="fp32", checkpointing="none")

    def tsn(self) -> Contender:
        """What this one is measured against: TSN of the same backbone, frames, engine and precision."""
        return replace(self, network="tsn", checkpointing="none")


def label(c: Contender) -> str:
    """A row's name: network, frames, and the form where it is not the plain one."""
    form = [c.engine] if c.engine != "eager" else []
    form += [c.precision] if c.precision != "fp32" else []
    form += ["causal"] if c.causal else []
    form += [f"memory {c.memory}"] if c.memory != "kept" else []
    form += [f"checkpointing {c.checkpointing}"] if c.checkpointing != "none" else []
    return ", ".join([f"{c.name} {c.num_frames}f", *form])


def build(contender: Contender, device: torch.device) -> nn.Module:
    """The network with random weights, in evaluation mode: clips (B, T, 3, S, S) uint8 to logits (B, 400).

    Raises:
        ConfigError: a network, engine or precision that cannot be had here.
    """
    torch.manual_seed(0)
    if contender.network in PEERS:
        return _Peer(contender, device)
    if contender.network in FOREIGN.values():
        model = _foreign(contender).to(device).eval()
    else:
        model = create_model(
            contender.name, num_classes=CLASSES, num_frames=contender.num_frames, causal=contender.causal
        )
        model = model.to(device).eval()
    if contender.engine == "inductor":
        return _Inductor(model)
    if contender.engine != "eager":
        return optimize(model, engine=contender.engine, precision=contender.precision)
    return set_gradient_checkpointing(model, contender.checkpointing)


class _Inductor(nn.Module):
    """What torch.compile makes of a network with no more said."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model, self.run = model, torch.compile(model, dynamic=False)

    def forward(self, clips: Tensor) -> Tensor:
        if self.training:
            return self.run(clips)
        with torch.inference_mode(False), torch.no_grad():
            return self.run(clips.clone())


class _Peer(nn.Module):
    """A 3-D network of torchvision, which takes (B, 3, T, S, S); run in the layout and format that it is given."""

    def __init__(self, contender: Contender, device: torch.device):
        super().__init__()
        from torchvision.models import video

        if contender.engine == "folded":
            raise ConfigError(f"{contender.network} is measured eager or compiled; folding is for 2-D networks")
        dtype = DTYPES[contender.precision]
        cnn = getattr(video, contender.network)(weights=None, num_classes=CLASSES).eval().to(device, dtype)
        self.cnn = cnn.to(memory_format=torch.channels_last_3d)
        self.num_frames, self.dtype = contender.num_frames, dtype
        compiled = contender.engine in ("inductor", "compile")
        self.run: Callable = torch.compile(self.cnn, dynamic=False) if compiled else self.cnn
        self.frozen = contender.engine == "compile"

    def forward(self, clips: Tensor) -> Tensor:
        x = clips.transpose(1, 2).to(self.dtype, memory_format=torch.channels_last_3d)
        with frozen(clips.device) if self.frozen else nullcontext():  # as ours are
            return self.run(x.sub_(110).div_(58))


def _foreign(contender: Contender) -> VideoClassifier:
    import timm

    module = {"tsm-authors": AuthorsShift, "teinet-textbook": TextbookTEI}[contender.network]
    cnn = timm.create_model(contender.backbone, num_classes=CLASSES)
    insert_temporal(cnn, module, num_frames=contender.num_frames)
    model = VideoClassifier(_Contiguous(cnn), num_frames=contender.num_frames)
    model.cnn.to(memory_format=torch.contiguous_format)
    return model


class _Contiguous(nn.Module):
    """A network run in torch's default layout, as most published code runs it."""

    def __init__(self, cnn: nn.Module):
        super().__init__()
        self.cnn = cnn

    def forward(self, x: Tensor) -> Tensor:
        return self.cnn(x.contiguous())


class AuthorsShift(nn.Module):
    """TSM as its authors' code does it: into a tensor of zeros, three parts are copied."""

    def __init__(self, channels: int, *, num_frames: int):
        super().__init__()
        self.num_frames, self.fold = num_frames, channels // 8

    def forward(self, x: Tensor) -> Tensor:
        clip, fold = x.view(-1, self.num_frames, *x.shape[1:]), self.fold
        out = torch.zeros_like(clip)
        out[:, :-1, :fold] = clip[:, 1:, :fold]
        out[:, 1:, fold : 2 * fold] = clip[:, :-1, fold : 2 * fold]
        out[:, :, 2 * fold :] = clip[:, :, 2 * fold :]
        return out.view(x.shape)


class TextbookTEI(nn.Module):
    """TEI written down as the equations stand: 5-D products for the gate, a 1-D convolution over permuted time."""

    def __init__(self, channels: int, *, num_frames: int):
        super().__init__()
        self.num_frames = num_frames
        self.conv1, self.conv2 = nn.Conv2d(channels, channels // 8, 1), nn.Conv2d(channels, channels // 8, 1)
        self.conv3 = nn.Conv2d(channels // 8, channels, 1)
        self.tim = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        clip = x.view(-1, self.num_frames, channels, height, width)
        pooled = clip.mean((3, 4), keepdim=True)
        this, following = pooled[:, :-1].flatten(0, 1), pooled[:, 1:].flatten(0, 1)
        gate = self.conv3(self.conv1(this) - self.conv2(following)).sigmoid()
        gated = gate.view(-1, self.num_frames - 1, channels, 1, 1) * clip[:, :-1]
        clip = torch.cat([gated, clip[:, -1:]], 1)
        rows = clip.permute(0, 3, 4, 2, 1).reshape(-1, channels, self.num_frames)
        mixed = self.tim(rows).view(-1, height, width, channels, self.num_frames)
        return mixed.permute(0, 4, 3, 1, 2).reshape(x.shape)
