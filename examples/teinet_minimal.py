"""TEINet on one page: its two modules and the network, in plain PyTorch on timm's ResNet-50.

The paper is arXiv 1911.09435. Inside the 2-D network, B clips of T frames are a batch of B*T images, the frames of a
clip next to each other. The library computes the same, faster and in any network: teinet.create_model.
"""

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MEM(nn.Module):
    """Motion Enhanced Module: scale each channel of a frame by what changes until the next one."""

    def __init__(self, channels: int, num_frames: int, reduction: int = 8):
        super().__init__()
        self.num_frames = num_frames
        self.theta = nn.Conv2d(channels, channels // reduction, 1)
        self.phi = nn.Conv2d(channels, channels // reduction, 1)
        self.varphi = nn.Conv2d(channels // reduction, channels, 1)
        nn.init.normal_(self.varphi.weight, std=0.001)  # every gate starts at one half
        nn.init.zeros_(self.varphi.bias)

    def forward(self, x: Tensor) -> Tensor:  # (B*T, C, H, W)
        pooled = x.mean((2, 3), keepdim=True).unflatten(0, (-1, self.num_frames))  # (B, T, C, 1, 1)
        this, following = pooled[:, :-1].flatten(0, 1), pooled[:, 1:].flatten(0, 1)  # (B*(T-1), C, 1, 1)
        s = self.theta(this) - self.phi(following)  # Eq. 1: (B*(T-1), C/r, 1, 1)
        gate = self.varphi(s).sigmoid()  # Eq. 2: (B*(T-1), C, 1, 1)
        gate = gate.unflatten(0, (-1, self.num_frames - 1))  # (B, T-1, C, 1, 1)
        last = torch.ones_like(pooled[:, -1:])  # the last frame has no next one and stays as it is
        return x * torch.cat([gate, last], 1).flatten(0, 1)  # Eq. 3: (B*T, C, H, W)


class TIM(nn.Module):
    """Temporal Interaction Module: mix each channel with itself in the frames before and after."""

    def __init__(self, channels: int, num_frames: int):
        super().__init__()
        self.num_frames = num_frames
        self.V = nn.Parameter(torch.zeros(channels, 3))  # taps on frames t-1, t, t+1
        part = channels // 8
        with torch.no_grad():  # starts as TSM's shift
            self.V[:part, 2] = 1  # from the next frame
            self.V[part : 2 * part, 0] = 1  # from the frame before
            self.V[2 * part :, 1] = 1  # not shifted

    def forward(self, x: Tensor) -> Tensor:  # (B*T, C, H, W)
        x = x.unflatten(0, (-1, self.num_frames))  # (B, T, C, H, W)
        before = F.pad(x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))  # x[t-1], zeros before the first frame
        after = F.pad(x[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))  # x[t+1], zeros after the last one
        v = self.V[:, :, None, None].unbind(1)  # three of (C, 1, 1)
        return (v[0] * before + v[1] * x + v[2] * after).flatten(0, 1)  # Eq. 4: (B*T, C, H, W)


class TEI(nn.Module):
    """Enhance, then interact (section 3.3)."""

    def __init__(self, channels: int, num_frames: int):
        super().__init__()
        self.mem = MEM(channels, num_frames)
        self.tim = TIM(channels, num_frames)

    def forward(self, x: Tensor) -> Tensor:
        return self.tim(self.mem(x))


class TEINet(nn.Module):
    """ResNet-50 with a TEI module at the start of every residual branch; the frames' logits are averaged."""

    def __init__(self, num_classes: int, num_frames: int = 8, pretrained: bool = False):
        super().__init__()
        self.cnn = timm.create_model("resnet50", pretrained=pretrained, num_classes=num_classes, drop_rate=0.5)
        nn.init.normal_(self.cnn.fc.weight, std=0.001)
        for stage in (self.cnn.layer1, self.cnn.layer2, self.cnn.layer3, self.cnn.layer4):
            for block in stage:  # the shortcut sees the block's input untouched
                block.conv1 = nn.Sequential(TEI(block.conv1.in_channels, num_frames), block.conv1)

    def forward(self, clips: Tensor) -> Tensor:  # (B, T, 3, H, W), normalized
        logits = self.cnn(clips.flatten(0, 1))  # (B*T, classes)
        return logits.unflatten(0, clips.shape[:2]).mean(1)  # (B, classes)


if __name__ == "__main__":
    net = TEINet(num_classes=400).eval()
    print(f"{sum(p.numel() for p in net.parameters()):,} parameters")  # 30,356,896: the paper's 30.4 M
    print(net(torch.randn(2, 8, 3, 224, 224)).shape)  # (2, 400)
