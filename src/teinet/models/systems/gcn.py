"""Graphs of objects behind a non-local I3D: Wang and Gupta, "Videos as Space-Time Region Graphs", arXiv 1806.01810.

From the paper's description, as its code was never published: not exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights, fasterrcnn_resnet50_fpn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops import box_iou, roi_align

from teinet.errors import CheckpointError, ConfigError
from teinet.models.systems.layout import ClipNetwork, conv, to_frames
from teinet.models.systems.resnet import I3DResNet

BOXES = 10  # of a frame
_WIDTH = 512
BoxSource = Literal["detector", "grid"]
Boxes = Callable[[Tensor], Tensor]  # of frames (N, 3, H, W): (N, 10, 4), x1, y1, x2, y2 from 0 to 1


def grid_boxes(frames: Tensor) -> Tensor:
    """Return the same boxes for each frame, in place of a detector's: thirds of the image, and the whole."""
    edges = torch.linspace(0, 1, 4, device=frames.device)
    boxes = [torch.stack([edges[i], edges[j], edges[i + 1], edges[j + 1]]) for j in range(3) for i in range(3)]
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0], device=frames.device)
    return torch.stack([*boxes, whole]).expand(len(frames), -1, -1)


def found_boxes(frames: Tensor) -> Tensor:
    """Return the best proposals of torchvision's Faster R-CNN, with its weights of COCO, for frames as the system's.

    It sees frames at 224 pixels, by which its cost for a clip, 151 GMACs, is about what the paper's is (TSM's Table 2).

    Raises:
        CheckpointError: its weights, which torch keeps once it has them, cannot be downloaded.
    """
    return grid_boxes(frames) if frames.device.type == "meta" else _detector(frames.device)(frames)


@cache
def _detector(device: torch.device) -> Boxes:
    weights = FasterRCNN_ResNet50_FPN_Weights.DEFAULT
    try:
        detector = fasterrcnn_resnet50_fpn(weights=weights, min_size=224)
    except (OSError, RuntimeError) as error:
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise CheckpointError(
            f"the weights of the detector that finds boxes could not be downloaded ({error}). Put {weights.url} into "
            f"{folder}, or train with fixed boxes (boxes='grid', --model.boxes grid)."
        ) from error
    return detector_boxes(detector.to(device), 0.45, 0.225)


def detector_boxes(detector: GeneralizedRCNN, mean: Tensor | float, std: Tensor | float) -> Boxes:
    """Return a source of boxes: the best proposals of one of torchvision's detectors, such as fasterrcnn_resnet50_fpn.

    Args:
        detector: with weights of your choice.
        mean, std: numbers or (1, 3, 1, 1), by which frames were normalized.
    """
    detector.eval()

    @torch.no_grad()
    def find(frames: Tensor) -> Tensor:
        images, _ = detector.transform(list((frames.float() * std + mean).clamp(0, 1)))
        found, _ = detector.rpn(images, detector.backbone(images.tensors))
        boxes = frames.new_tensor([0.0, 0.0, 1.0, 1.0]).repeat(len(frames), BOXES, 1)  # where fewer are found
        for i, (each, (height, width)) in enumerate(zip(found, images.image_sizes)):
            boxes[i, : len(each[:BOXES])] = each[:BOXES] / frames.new_tensor([width, height, width, height])
        return boxes

    return find


class GraphConvolution(nn.Module):
    """One layer of graph convolutions: a sum of G X W over its graphs, layer norm, ReLU."""

    def __init__(self, graphs: int):
        super().__init__()
        self.weights = nn.ModuleList(nn.Linear(_WIDTH, _WIDTH, bias=False) for _ in range(graphs))
        self.norm = nn.LayerNorm(_WIDTH)

    def forward(self, nodes: Tensor, graphs: list[Tensor]) -> Tensor:
        """Map nodes (B, N, 512) by graphs (B, N, N) to the same shape."""
        mixed = [graph @ weight(nodes) for graph, weight in zip(graphs, self.weights)]
        return torch.relu(self.norm(torch.stack(mixed).sum(dim=0)))


class RegionGraph(ClipNetwork):
    """A non-local I3D whose last feature map is also read through graphs of boxes, on every second frame.

    Args:
        boxes: a "detector" (`found_boxes`) or the fixed "grid" of `grid_boxes`. Another source, such as
            `detector_boxes(...)`, is set as the attribute `boxes`, also after loading: files of weights do not hold it.
        trunk: of `I3DResNet`.
    """

    def __init__(
        self, *, num_classes: int, num_frames: int, dropout: float, boxes: BoxSource = "detector", **trunk: Any
    ):
        super().__init__(num_frames)
        self.trunk = I3DResNet(**trunk, num_classes=1, num_frames=num_frames, dropout=0.0)
        self.trunk.fc = nn.Identity()
        self.reduce = conv(2048, _WIDTH, (1, 1, 1), bias=True)
        self.query, self.key = nn.Linear(_WIDTH, _WIDTH, bias=False), nn.Linear(_WIDTH, _WIDTH, bias=False)
        self.similar = nn.ModuleList(GraphConvolution(1) for _ in range(3))
        self.moving = nn.ModuleList(GraphConvolution(2) for _ in range(3))
        self.boxes: Boxes = found_boxes if boxes == "detector" else grid_boxes
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(2 * _WIDTH, num_classes)

    def classify(self, clips: Tensor, boxes: Tensor | None = None) -> Tensor:
        """Return logits; see `ClipNetwork`.

        Args:
            boxes: (B, T/2, 10, 4), x1, y1, x2, y2 from 0 to 1, of every second frame; None asks the source.
        """
        if clips.shape[2] % 2:
            raise ConfigError(f"graphs on every second frame take an even number of frames, got {clips.shape[2]}.")
        features = self.reduce(self.trunk.feature_map(clips))
        if boxes is None:
            boxes = self.boxes(to_frames(clips[:, :, ::2])).unflatten(0, (len(clips), -1))
        nodes = self._nodes(features, boxes)
        similar, moving = nodes, nodes
        graphs = [(self.query(nodes) @ self.key(nodes).transpose(1, 2)).softmax(dim=-1)]
        overlaps = overlap_graphs(boxes)
        for one, two in zip(self.similar, self.moving):
            similar, moving = one(similar, graphs), two(moving, overlaps)
        found = [features.mean(dim=(2, 3, 4)), (similar + moving).mean(dim=1)]
        return self.fc(self.dropout(torch.cat(found, dim=1)))

    def _nodes(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Return the largest features in each box, (B, T/2 * 10, 512)."""
        frames = to_frames(features)
        height, width = frames.shape[2:]
        scaled = (boxes * boxes.new_tensor([width, height, width, height])).flatten(0, 1).to(frames.dtype)
        found = roi_align(frames.contiguous(), list(scaled), output_size=7, aligned=True)
        return found.amax(dim=(2, 3)).unflatten(0, (len(features), -1))


def overlap_graphs(boxes: Tensor) -> list[Tensor]:
    """Return two graphs (B, N, N) of boxes (B, T, K, 4), N = T*K: overlaps with the next frame's boxes, and the last's.

    Rows are divided by their sums.
    """
    clips, times, count = boxes.shape[:3]
    forward = boxes.new_zeros(clips, times * count, times * count)
    for b in range(clips):
        for t in range(times - 1):
            at = slice(t * count, (t + 1) * count)
            forward[b, at, slice((t + 1) * count, (t + 2) * count)] = box_iou(boxes[b, t], boxes[b, t + 1]).nan_to_num()
    return [g / g.sum(dim=-1, keepdim=True).clamp(min=1e-6) for g in (forward, forward.transpose(1, 2))]
