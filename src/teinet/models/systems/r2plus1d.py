"""R(2+1)D, convolutions over space and then over time: Tran et al., arXiv 1711.11248.

Built on torchvision's network, whose 18 layers are kept as they are with their weights; the 34 layers have the middle
widths and norms of the authors' code (facebookresearch/VMZ).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

from teinet.models.systems.layout import ClipNetwork, in_2d

_DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}


class R2Plus1D(ClipNetwork):
    """R(2+1)D of 18 or 34 layers.

    Args:
        depth: 18 or 34.
        num_classes, dropout: of the head: mean over time and space, dropout, linear.
    """

    def __init__(self, *, depth: int, num_classes: int, num_frames: int, dropout: float):
        super().__init__(num_frames)
        net = VideoResNet(BasicBlock, [Conv2Plus1D] * 4, _DEPTHS[depth], R2Plus1dStem, num_classes)  # pyright: ignore
        if depth == 34:
            for width, stage in zip((128, 256, 512), (net.layer2, net.layer3, net.layer4)):
                block: Any = stage[0]  # where torchvision takes the first convolution's middle width
                block.conv2[0] = Conv2Plus1D(width, width, 27 * width * width // (9 * width + 3 * width))
                for kernel in (each for each in block.conv2[0] if isinstance(each, nn.Conv3d)):
                    nn.init.kaiming_normal_(kernel.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's
            for module in net.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.eps = 1e-3
        net = in_2d(net)
        self.stem, self.layer1, self.layer2 = net.stem, net.layer1, net.layer2
        self.layer3, self.layer4, self.fc = net.layer3, net.layer4, net.fc
        self.dropout = nn.Dropout(dropout)

    def feature_map(self, clips: Tensor) -> Tensor:
        """Return the last feature map, (B, 512, T/8, H/16, W/16)."""
        return self.layer4(self.layer3(self.layer2(self.layer1(self.stem(clips)))))
