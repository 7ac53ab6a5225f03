"""Pre-activation ResNets of 18 layers with 3x3x3 kernels: ECO and ARTNet.

ECO: Zolfaghari et al., arXiv 1804.09066; ARTNet: Wang et al., arXiv 1711.09125. Facts from their authors' Caffe
networks (mzolfaghari/ECO-efficient-video-understanding, wanglimin/ARTNet), whose names of layers are the keys here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from teinet.errors import ConfigError
from teinet.models.systems.bninception import BNInception
from teinet.models.systems.layout import ClipNetwork, Triple, conv, to_clips, to_frames

_WIDTHS = {"res2": 64, "res3": 128, "res4": 256, "res5": 512}


class Body(nn.Module):
    """Blocks of two convolutions on activated inputs, added to what is not activated yet.

    Args:
        blocks: their names, such as res3b; the first of a stage behind the first one halves time and space.
        smart: stages, such as res2, whose blocks have a SMART block as the second convolution.
        unbiased: stages whose convolutions have no bias.
    """

    def __init__(self, blocks: tuple[str, ...], *, smart: tuple[str, ...] = (), unbiased: tuple[str, ...] = ()):
        super().__init__()
        self.blocks, stages = blocks, list(dict.fromkeys(name[:4] for name in blocks))
        for name in blocks:
            stage, width = name[:4], _WIDTHS[name[:4]]
            starts = name.endswith("a") and stage != stages[0]
            inner, biased = width // 2 if starts else width, stage not in unbiased
            if starts:
                self.add_module(f"{name}_down", conv(inner, width, stride=(2, 2, 2), bias=biased))
            self.add_module(f"{name}_1", conv(inner, width, stride=(2, 2, 2) if starts else (1, 1, 1), bias=biased))
            self.add_module(f"{name}_1_bn", nn.BatchNorm3d(width))
            second = Smart(width, width, bias=biased) if stage in smart else conv(width, width, bias=biased)
            self.add_module(f"{name}_2", second)
            self.add_module(f"{name}_bn", nn.BatchNorm3d(width))

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        """Map the sum behind the stem, and its activated form, to the last activated feature map."""
        for name in self.blocks:
            if hasattr(self, f"{name}_down"):
                x = getattr(self, f"{name}_down")(activated)
            inside = torch.relu(getattr(self, f"{name}_1_bn")(getattr(self, f"{name}_1")(activated)))
            x = x + getattr(self, f"{name}_2")(inside)
            activated = torch.relu(getattr(self, f"{name}_bn")(x))
        return activated


class ECO(ClipNetwork):
    """ECO: BNInception's first blocks on each frame, then a 3-D ResNet; the full form adds the rest of BNInception.

    Args:
        full: ECO, not ECO Lite.
        num_frames: a multiple of 4.
        dropout: of the 3-D features; those of the full form's frames have 0.5.
    """

    def __init__(self, *, full: bool, num_classes: int, num_frames: int, dropout: float):
        super().__init__(num_frames)
        self.base_model = BNInception(num_classes=0)
        self.full = full
        if not full:
            for name in [name for name, _ in self.base_model.named_children()]:
                if name.startswith(("inception_4", "inception_5", "inception_3c_3x3", "inception_3c_double_3x3_2")):
                    delattr(self.base_model, name)
        self.res3a_2, self.res3a_bn = conv(96, 128, bias=True), nn.BatchNorm3d(128)
        self.body = Body(("res3b", "res4a", "res4b", "res5a", "res5b"))
        self.dropout, self.frame_dropout = nn.Dropout(dropout), nn.Dropout(0.5)
        self.fc = nn.Linear(512 + 1024 * full, num_classes)

    def classify(self, clips: Tensor) -> Tensor:
        """Return logits; see `ClipNetwork`."""
        if clips.shape[2] % 4:
            raise ConfigError(f"ECO takes a multiple of 4 frames, got {clips.shape[2]}.")
        count, base = len(clips), self.base_model
        x = base.forward_features(to_frames(clips), last="3b")
        shared = base.begin_double("3c", x)
        total = self.res3a_2(to_clips(shared, count))
        found = self.dropout(self.body(total, torch.relu(self.res3a_bn(total))).mean(dim=(2, 3, 4)))
        if self.full:
            frames = base.forward_features(base.block("3c", x, shared), first="4a").mean(dim=(2, 3))
            found = torch.cat([self.frame_dropout(frames).unflatten(0, (count, -1)).mean(dim=1), found], dim=1)
        return self.fc(found)


class Smart(nn.Module):
    """ARTNet's block: appearance by a convolution over space, relations by the squares of a 3-D one in pairs, joined.

    Args:
        inner, width: channels of its input and output.
        kernel: of the 3-D convolution; the other has its sizes in space.
        stride: in time and space.
    """

    def __init__(
        self, inner: int, width: int, kernel: Triple = (3, 3, 3), stride: Triple = (1, 1, 1), *, bias: bool = True
    ):
        super().__init__()
        self.appearance, self.appearance_bn = (
            conv(inner, width, (1, *kernel[1:]), stride, bias=bias),
            nn.BatchNorm3d(width),
        )
        self.relation = conv(inner, width, kernel, stride, bias=bias)
        self.relation_bn = nn.BatchNorm3d(width)
        self.pooling_bn = nn.BatchNorm3d(width // 2)
        self.reduction = conv(width + width // 2, width, (1, 1, 1), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inner, T, H, W) to (B, width, T', H', W')."""
        squares = self.relation_bn(self.relation(x)).square()
        pairs = self.pooling_bn((squares[:, ::2] + squares[:, 1::2]) * 0.5)
        return self.reduction(torch.relu(torch.cat([self.appearance_bn(self.appearance(x)), pairs], dim=1)))


class ARTNet(ClipNetwork):
    """ARTNet on ResNet-18: a SMART block in the stem, and as the second convolution of the blocks of stages 2 to 4."""

    def __init__(self, *, num_classes: int, num_frames: int, dropout: float):
        super().__init__(num_frames)
        self.conv1, self.conv1_bn = Smart(3, 64, (3, 7, 7), (2, 2, 2), bias=False), nn.BatchNorm3d(64)
        blocks = tuple(f"res{stage}{block}" for stage in range(2, 6) for block in "ab")
        self.body = Body(blocks, smart=("res2", "res3", "res4"), unbiased=("res2",))
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(512, num_classes)

    def feature_map(self, clips: Tensor) -> Tensor:
        """Return the last feature map, (B, 512, T/16, H/16, W/16)."""
        x = self.conv1(clips)
        return self.body(x, torch.relu(self.conv1_bn(x)))
