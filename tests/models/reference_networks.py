"""The systems' networks in torch's functions alone, (B, C, T, H, W) throughout, driven by the keys of a state dict.

Each is written from its authors' published network, not from `teinet.models.systems`: a function of the weights `s` and
of clips (B, 3, T, H, W) that returns logits (B, classes). Kernel sizes and widths are those of the weights, which
`test_systems` counts; here stand the order of layers, strides, padding and what is joined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.video import s3d

State = Mapping[str, Tensor]
R50 = (3, 4, 6, 3)


@torch.no_grad()
def randomize(net: nn.Module, seed: int = 0) -> nn.Module:
    """Draw weights and norms' statistics that keep the size of activations; evaluation mode."""
    draw = torch.Generator().manual_seed(seed)
    for key, tensor in net.to_empty(device="cpu").state_dict().items():
        if tensor.dim() > 1:
            tensor.normal_(0, math.sqrt(2 / tensor[0].numel()), generator=draw)
        elif key.endswith("running_var"):
            tensor.uniform_(0.7, 1.4, generator=draw)
        elif key.endswith("weight"):  # of norms
            tensor.uniform_(0.5, 1.0, generator=draw)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.1, generator=draw)
        if "_nl.theta." in key or "_nl.bn.weight" in key:  # else products of three explode
            tensor /= math.sqrt(len(tensor))
    return net.eval()


def conv(s: State, at: str, x: Tensor, stride: int | Sequence[int] = 1, padding: int | None = None) -> Tensor:
    """A convolution of 1, 2 or 3 dimensions that keeps the size where its stride is 1, by its weights' shape."""
    weight = s[f"{at}.weight"]
    apply = (F.conv1d, F.conv2d, F.conv3d)[weight.dim() - 3]
    pads = [size // 2 for size in weight.shape[2:]] if padding is None else padding
    return apply(x, weight, s.get(f"{at}.bias"), stride, pads, groups=x.shape[1] // weight.shape[1])


def norm(s: State, at: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    return F.batch_norm(x, *(s[f"{at}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")), eps=eps)


def linear(s: State, at: str, x: Tensor) -> Tensor:
    return F.linear(x, s[f"{at}.weight"], s.get(f"{at}.bias"))


def frames(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(0, 1)


def clips(x: Tensor, count: int) -> Tensor:
    return x.unflatten(0, (count, -1)).transpose(1, 2)


def over_all(x: Tensor) -> Tensor:
    return x.mean((2, 3, 4))


# I3D and SlowFast on ResNets


def bottleneck(s: State, at: str, x: Tensor, stride: int) -> Tensor:
    inside = norm(s, f"{at}.bn1", conv(s, f"{at}.conv1", x)).relu()
    inside = norm(s, f"{at}.bn2", conv(s, f"{at}.conv2", inside, (1, stride, stride))).relu()
    inside = norm(s, f"{at}.bn3", conv(s, f"{at}.conv3", inside))
    return (inside + shortcut(s, at, x, (1, stride, stride))).relu()


def shortcut(s: State, at: str, x: Tensor, stride: int | Sequence[int], eps: float = 1e-5) -> Tensor:
    projected = f"{at}.downsample.0.weight" in s
    return norm(s, f"{at}.downsample.1", conv(s, f"{at}.downsample.0", x, stride), eps) if projected else x


def non_local(s: State, at: str, x: Tensor, softmax: bool) -> Tensor:
    """Each position's weighted mean over all positions of a map whose space is halved by a pool."""
    small = F.max_pool3d(x, (1, 2, 2), (1, 2, 2))
    theta, phi, g = (conv(s, f"{at}.{name}", y) for name, y in (("theta", x), ("phi", small), ("g", small)))
    products = torch.einsum("bcthw,bcijk->bthwijk", theta, phi)
    count = math.prod(products.shape[4:])
    if softmax:
        weights = (products.flatten(4) / math.sqrt(theta.shape[1])).softmax(-1).view_as(products)
    else:
        weights = products / count
    return x + norm(s, f"{at}.bn", conv(s, f"{at}.out", torch.einsum("bthwijk,bcijk->bcthw", weights, g)))


def stage(s: State, at: str, x: Tensor, blocks: int, stride: int, *, softmax: bool = True) -> Tensor:
    for i in range(blocks):
        x = bottleneck(s, f"{at}.{i}", x, stride if i == 0 else 1)
        if f"{at}.{i}_nl.g.weight" in s:
            x = non_local(s, f"{at}.{i}_nl", x, softmax)
    return x


def i3d_features(s: State, x: Tensor, form: str, at: str = "") -> Tensor:
    """Three networks by `form`: "paper" (non-local), "slowfast" (SlowFast's code), "wang" (Wang and Gupta)."""
    x = norm(s, f"{at}bn1", conv(s, f"{at}conv1", x, (2 if form == "paper" else 1, 2, 2))).relu()
    if form == "paper":
        x = F.max_pool3d(x, (2, 3, 3), (2, 2, 2))
    else:
        x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, int(form == "slowfast"), int(form == "slowfast")))
    x = F.max_pool3d(stage(s, f"{at}layer1", x, 3, 1), (2, 1, 1), (2, 1, 1))
    x = stage(s, f"{at}layer3", stage(s, f"{at}layer2", x, 4, 2), 6, 2)
    return stage(s, f"{at}layer4", x, 3, 1 if form == "wang" else 2)


def i3d(form: str) -> Callable[[State, Tensor], Tensor]:
    return lambda s, x: linear(s, "fc", over_all(i3d_features(s, x, form)))


def slowfast(alpha: int, blocks: Sequence[int] = R50) -> Callable[[State, Tensor], Tensor]:
    def logits(s: State, x: Tensor) -> Tensor:
        last = x.shape[2] - 1
        chosen = [int(i * last / (x.shape[2] // alpha - 1)) for i in range(x.shape[2] // alpha)]
        slow, fast = x[:, :, chosen], x
        slow, fast = (
            F.max_pool3d(norm(s, f"{path}.bn1", conv(s, f"{path}.conv1", y, (1, 2, 2))).relu(), (1, 3, 3), (1, 2, 2),
                         (0, 1, 1))
            for path, y in (("slow", slow), ("fast", fast))
        )  # fmt: skip
        for i, count in enumerate(blocks, 1):
            lateral = conv(s, f"lateral.stage{i}.0", fast, (alpha, 1, 1))
            slow = torch.cat([slow, norm(s, f"lateral.stage{i}.1", lateral).relu()], 1)
            stride = 1 if i == 1 else 2
            slow = stage(s, f"slow.layer{i}", slow, count, stride, softmax=False)
            fast = stage(s, f"fast.layer{i}", fast, count, stride)
        return linear(s, "fc", torch.cat([over_all(slow), over_all(fast)], 1))

    return logits


def moving_boxes(count: int, times: int) -> Tensor:
    """Ten boxes a frame, (count, times, 10, 4), x1, y1, x2, y2 from 0 to 1."""
    corners = torch.rand(count, times, 10, 2, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return torch.cat([corners.amin(3), corners.amax(3)], -1)


def region_graph(s: State, x: Tensor) -> Tensor:
    """Wang and Gupta's graphs over `moving_boxes`: RoIAlign by bilinear sampling at the centers of 7 x 7 bins."""
    features = conv(s, "reduce", i3d_features(s, x, "wang", "trunk."))
    count, width, times = features.shape[:3]
    boxes = moving_boxes(count, times)
    centers = (torch.arange(7, dtype=x.dtype) + 0.5) / 7
    at_x, at_y = (boxes[..., i, None] + (boxes[..., i + 2] - boxes[..., i])[..., None] * centers for i in (0, 1))
    grid = torch.stack(
        [at_x[..., None, :].expand(*at_x.shape, 7), at_y[..., :, None].expand(*at_y.shape, 7)], -1
    )  # (B, T, 10, 7, 7, 2)
    sampled = F.grid_sample(
        frames(features), grid.flatten(0, 1).flatten(1, 2) * 2 - 1, padding_mode="border", align_corners=False
    )  # (B*T, 512, 70, 7)
    nodes = sampled.unflatten(2, (10, 7)).amax((3, 4)).transpose(1, 2).reshape(count, times * 10, width)

    similar = (linear(s, "query", nodes) @ linear(s, "key", nodes).mT).softmax(-1)
    front = torch.zeros(count, times, 10, times, 10, dtype=x.dtype)
    for t in range(times - 1):
        one, two = boxes[:, t, :, None], boxes[:, t + 1, None]
        sides = (torch.minimum(one[..., 2:], two[..., 2:]) - torch.maximum(one[..., :2], two[..., :2])).clamp(min=0)
        both, areas = sides.prod(-1), [(box[..., 2:] - box[..., :2]).prod(-1) for box in (one, two)]
        front[:, t, :, t + 1] = both / (areas[0] + areas[1] - both)
    front = front.flatten(3).flatten(1, 2)
    graphs = [front, front.mT]
    front, back = (graph / torch.where(graph.sum(-1) > 0, graph.sum(-1), 1.0)[..., None] for graph in graphs)

    def layer(at: str, y: Tensor, *graphs: Tensor) -> Tensor:
        total = sum(graph @ y @ s[f"{at}.weights.{i}.weight"].T for i, graph in enumerate(graphs))
        assert isinstance(total, Tensor)
        return F.layer_norm(total, (width,), s[f"{at}.norm.weight"], s[f"{at}.norm.bias"]).relu()

    one, two = nodes, nodes
    for i in range(3):
        one, two = layer(f"similar.{i}", one, similar), layer(f"moving.{i}", two, front, back)
    return linear(s, "fc", torch.cat([over_all(features), one.mean(1) + two.mean(1)], 1))


# Inception


def same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """TensorFlow's SAME: zeros so that every stride begins inside, one more of them at the end where they are odd."""
    total = [max(k - s if n % s == 0 else k - n % s, 0) for n, k, s in zip(x.shape[2:], kernel, stride)]
    return F.pad(x, [pad for n in reversed(total) for pad in (n // 2, n - n // 2)])


def i3d_inception(s: State, x: Tensor) -> Tensor:
    def unit(at: str, y: Tensor, stride: int = 1) -> Tensor:
        kernel = s[f"{at}.conv3d.weight"].shape[2:]
        y = conv(s, f"{at}.conv3d", same(y, kernel, (stride,) * 3), stride, padding=0)
        return norm(s, f"{at}.bn", y, eps=1e-3).relu()

    def pool(y: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
        return F.max_pool3d(same(y, kernel, stride), kernel, stride)

    x = pool(unit("Conv3d_1a_7x7", x, 2), (1, 3, 3), (1, 2, 2))
    x = pool(unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", x)), (1, 3, 3), (1, 2, 2))
    for block in ("3b", "3c", "3x3x3", "4b", "4c", "4d", "4e", "4f", "2x2x2", "5b", "5c"):
        if "x" in block:
            size = int(block[0])
            x = pool(x, (size,) * 3, (2, 2, 2))
            continue
        at = f"Mixed_{block}"
        x = torch.cat([
            unit(f"{at}.b0", x), unit(f"{at}.b1b", unit(f"{at}.b1a", x)), unit(f"{at}.b2b", unit(f"{at}.b2a", x)),
            unit(f"{at}.b3b", pool(x, (3, 3, 3), (1, 1, 1))),
        ], 1)  # fmt: skip
    pooled = F.avg_pool3d(x, (2, *x.shape[3:]), stride=1)  # (2, 7, 7) at 224 pixels
    return conv({k: v[..., None, None, None] if v.dim() > 1 else v for k, v in s.items()}, "logits", pooled).mean(
        (2, 3, 4)
    )


def s3dg(s: State, x: Tensor) -> Tensor:
    """torchvision's S3D; a gate behind the second convolution of the stem, and behind each branch of the others."""
    net = s3d(num_classes=len(s["classifier.1.bias"])).to(x.dtype).eval()
    net.avgpool = nn.AvgPool3d((2, x.shape[3] // 32, x.shape[4] // 32), 1)  # (2, 7, 7) at 224 pixels
    for block, module in net.named_modules():
        if block != "features.3" and not block.rpartition(".")[2].startswith("branch"):
            continue
        assert isinstance(module, nn.Sequential)
        gate = f"{block}.{len(module)}.fc"
        module.register_forward_hook(
            lambda _, __, out, gate=gate: out * linear(s, gate, over_all(out)).sigmoid()[..., None, None, None]
        )
    net.load_state_dict({key: value for key, value in s.items() if ".fc." not in key})
    return net(x)


def caffe_unit(s: State, at: str, x: Tensor, stride: int = 1) -> Tensor:
    return norm(s, f"{at}_bn", conv(s, at, x, stride)).relu()


def bninception_stem(s: State, x: Tensor, at: str = "") -> Tensor:
    x = F.max_pool2d(caffe_unit(s, f"{at}conv1_7x7_s2", x, 2), 3, 2, ceil_mode=True)
    x = caffe_unit(s, f"{at}conv2_3x3", caffe_unit(s, f"{at}conv2_3x3_reduce", x))
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


def bninception_block(s: State, block: str, x: Tensor, at: str = "") -> Tensor:
    start = f"{at}inception_{block}_"
    stride = 2 if block in ("3c", "4e") else 1
    three = caffe_unit(s, f"{start}3x3", caffe_unit(s, f"{start}3x3_reduce", x), stride)
    double = caffe_unit(s, f"{start}double_3x3_1", caffe_unit(s, f"{start}double_3x3_reduce", x))
    double = caffe_unit(s, f"{start}double_3x3_2", double, stride)
    if stride == 2:
        return torch.cat([three, double, F.max_pool2d(x, 3, 2, ceil_mode=True)], 1)
    pooled = F.max_pool2d(x, 3, 1, 1) if block == "5b" else F.avg_pool2d(x, 3, 1, 1, count_include_pad=True)
    return torch.cat([caffe_unit(s, f"{start}1x1", x), three, double, caffe_unit(s, f"{start}pool_proj", pooled)], 1)


def tsn_bninception(s: State, x: Tensor) -> Tensor:
    count, x = len(x), bninception_stem(s, frames(x))
    for block in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        x = bninception_block(s, block, x)
    return linear(s, "fc", x.mean((2, 3))).unflatten(0, (count, -1)).mean(1)


# Pre-activation ResNets: ECO and ARTNet


def eco(s: State, x: Tensor) -> Tensor:
    """ECO Lite; with the rest of BNInception where its weights are there."""
    count, at = len(x), "base_model."
    x = bninception_stem(s, frames(x), at)
    x = bninception_block(s, "3b", bninception_block(s, "3a", x, at), at)
    start = f"{at}inception_3c_double_3x3_"
    total = conv(s, "res3a_2", clips(caffe_unit(s, f"{start}1", caffe_unit(s, f"{start}reduce", x)), count))
    y = norm(s, "res3a_bn", total).relu()
    for block in ("res3b", "res4a", "res4b", "res5a", "res5b"):
        name, stride = f"body.{block}", 2 if block in ("res4a", "res5a") else 1
        if stride == 2:
            total = conv(s, f"{name}_down", y, 2)
        total = total + conv(s, f"{name}_2", caffe_unit(s, f"{name}_1", y, stride))
        y = norm(s, f"{name}_bn", total).relu()
    features = over_all(y)
    if f"{at}inception_5b_1x1.weight" in s:
        for block in ("3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
            x = bninception_block(s, block, x, at)
        features = torch.cat([x.mean((2, 3)).unflatten(0, (count, -1)).mean(1), features], 1)
    return linear(s, "fc", features)


def artnet(s: State, x: Tensor) -> Tensor:
    def smart(at: str, y: Tensor, stride: int = 1) -> Tensor:
        appearance = norm(s, f"{at}.appearance_bn", conv(s, f"{at}.appearance", y, stride))
        squares = norm(s, f"{at}.relation_bn", conv(s, f"{at}.relation", y, stride)) ** 2
        halves = squares.new_full((squares.shape[1] // 2, 2, 1, 1, 1), 0.5)
        pairs = F.conv3d(squares, halves, groups=len(halves))  # cross-channel pooling
        joined = torch.cat([appearance, norm(s, f"{at}.pooling_bn", pairs)], 1).relu()
        return conv(s, f"{at}.reduction", joined)

    total = smart("conv1", x, 2)
    y = norm(s, "conv1_bn", total).relu()
    for block in ("res2a", "res2b", "res3a", "res3b", "res4a", "res4b", "res5a", "res5b"):
        at, stride = f"body.{block}", 2 if block in ("res3a", "res4a", "res5a") else 1
        if stride == 2:
            total = conv(s, f"{at}_down", y, 2)
        inside = norm(s, f"{at}_1_bn", conv(s, f"{at}_1", y, stride)).relu()
        total = total + (conv(s, f"{at}_2", inside) if block[3] == "5" else smart(f"{at}_2", inside))
        y = norm(s, f"{at}_bn", total).relu()
    return linear(s, "fc", over_all(y))


# The others


def stnet(s: State, x: Tensor) -> Tensor:
    count, segments = len(x), x.shape[2] // 5
    x = torch.stack([x[:, :, 5 * i : 5 * i + 5].transpose(1, 2).flatten(1, 2) for i in range(segments)], 1)

    def resnet_stage(at: str, y: Tensor, blocks: int, stride: int) -> Tensor:
        return stage({k: v[:, :, None] if v.dim() == 4 else v for k, v in s.items() if k.startswith(at)}, at, y,
                     blocks, stride)  # fmt: skip

    def time(at: str, y: Tensor) -> Tensor:
        return y + norm(s, f"{at}.bn", conv(s, f"{at}.conv", y).relu())

    x = F.max_pool2d(norm(s, "bn1", conv(s, "conv1", x.flatten(0, 1), 2)).relu(), 3, 2, 1)
    x = time("time2", resnet_stage("layer2", resnet_stage("layer1", clips(x, count), 3, 1), 4, 2))
    x = resnet_stage("layer4", time("time3", resnet_stage("layer3", x, 6, 2)), 3, 2).mean((3, 4))
    x = norm(s, "xception.bn1", x)
    inside = norm(s, "xception.bn2", conv(s, "xception.pointwise1", conv(s, "xception.depthwise1", x))).relu()
    inside = conv(s, "xception.pointwise2", conv(s, "xception.depthwise2", inside))
    inside = norm(s, "xception.bn3", inside + conv(s, "xception.shortcut", x)).relu()
    return linear(s, "fc", inside.max(2).values)


def pseudo_3d(s: State, at: str, x: Tensor, stride: int, form: str) -> Tensor:
    """The sum that P3D's block gives, in front of its last ReLU."""
    strides = (1, stride, stride)
    y = norm(s, f"{at}.bn1", conv(s, f"{at}.conv1", x, strides)).relu()
    space = norm(s, f"{at}.bn2", conv(s, f"{at}.conv2", y)).relu()
    time = norm(s, f"{at}.bn3", conv(s, f"{at}.conv3", y if form == "B" else space))
    y = {"A": time, "B": space + time, "C": 0.5 * space + 0.5 * time}[form].relu()
    return norm(s, f"{at}.bn4", conv(s, f"{at}.conv4", y)) + shortcut(s, at, x, strides)


def p3d(blocks: Sequence[int]) -> Callable[[State, Tensor], Tensor]:
    def logits(s: State, x: Tensor) -> Tensor:
        x = norm(s, "bn1", conv(s, "conv1_custom", x, (1, 2, 2))).relu()
        x = F.max_pool3d(x, (2, 3, 3), 2, ceil_mode=True)
        number = 0
        for i, count in enumerate(blocks[:3], 1):
            for j in range(count):
                x = pseudo_3d(s, f"layer{i}.{j}", x, 2 if i > 1 and j == 0 else 1, "ABC"[number % 3]).relu()
                number += 1
            x = F.max_pool3d(x, (2, 1, 1), (2, 1, 1))
        count, x = len(x), frames(x)
        for j in range(blocks[3]):
            at, stride = f"layer4.{j}", 2 if j == 0 else 1
            y = norm(s, f"{at}.bn1", conv(s, f"{at}.conv1", x, stride)).relu()
            y = norm(s, f"{at}.bn_normal", conv(s, f"{at}.conv_normal", y)).relu()
            y = norm(s, f"{at}.bn4", conv(s, f"{at}.conv4", y))
            x = (y + shortcut(s, at, x, stride)).relu()
        return linear(s, "fc", over_all(clips(x, count)))

    return logits


def lgd(blocks: Sequence[int]) -> Callable[[State, Tensor], Tensor]:
    """LGD-3D after the paper's description, which leaves its classifier open: a linear one of the two paths' sum."""

    def logits(s: State, x: Tensor) -> Tensor:
        def thin(at: str, y: Tensor) -> Tensor:
            return linear(s, f"{at}.1", linear(s, f"{at}.0", y))

        x = norm(s, "bn1", conv(s, "conv1", x, (1, 2, 2))).relu()
        x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        whole = over_all(x)
        starts = {sum(blocks[:i]) for i in range(1, 4)}
        for i in range(sum(blocks)):
            at = f"blocks.{i}"
            local = pseudo_3d(s, f"{at}.local", x, 2 if i in starts else 1, "A")
            x = (local + thin(f"{at}.to_local", whole)[..., None, None, None].expand_as(local)).relu()
            whole = (thin(f"{at}.to_global", over_all(x)) + thin(f"{at}.keep", whole)).relu()
        return linear(s, "fc", over_all(x) + whole)

    return logits


def r2plus1d_34(s: State, x: Tensor) -> Tensor:
    def halves(at: str, y: Tensor, stride: int) -> Tensor:
        y = norm(s, f"{at}.0.1", conv(s, f"{at}.0.0", y, (1, stride, stride)), eps=1e-3).relu()
        return norm(s, f"{at}.1", conv(s, f"{at}.0.3", y, (stride, 1, 1)), eps=1e-3)

    x = norm(s, "stem.1", conv(s, "stem.0", x, (1, 2, 2)), eps=1e-3).relu()
    x = norm(s, "stem.4", conv(s, "stem.3", x), eps=1e-3).relu()
    for i, count in enumerate(R50, 1):
        for j in range(count):
            at, stride = f"layer{i}.{j}", 2 if i > 1 and j == 0 else 1
            inside = halves(f"{at}.conv2", halves(f"{at}.conv1", x, stride).relu(), 1)
            x = (inside + shortcut(s, at, x, 2, eps=1e-3)).relu()
    return linear(s, "fc", over_all(x))


NETWORKS: dict[str, tuple[Callable[[State, Tensor], Tensor], int, tuple[int, int]]] = {  # at T frames of H x W
    "nl_i3d_resnet50": (i3d("paper"), 16, (48, 64)),
    "nl_i3d_resnet50_8x8": (i3d("slowfast"), 4, (48, 64)),
    "nl_i3d_resnet50_32x2": (i3d("wang"), 4, (48, 64)),
    "nl_i3d_resnet50_gcn": (region_graph, 6, (48, 64)),
    "nl_slowfast_resnet50_4x16": (slowfast(8), 16, (48, 64)),
    "slowfast_resnet101_8x8": (slowfast(4, (3, 4, 23, 3)), 8, (32, 32)),
    "i3d_inception_v1": (i3d_inception, 24, (40, 56)),
    "s3dg": (s3dg, 24, (32, 64)),
    "r2plus1d_34": (r2plus1d_34, 10, (24, 32)),
    "tsn_bninception": (tsn_bninception, 2, (64, 96)),
    "eco_lite": (eco, 8, (44, 60)),
    "eco": (eco, 8, (64, 96)),
    "artnet_resnet18": (artnet, 16, (24, 32)),
    "stnet_resnet50": (stnet, 20, (40, 64)),
    "p3d_63": (p3d((3, 4, 6, 3)), 32, (32, 44)),
    "p3d_199": (p3d((3, 8, 36, 3)), 16, (32, 44)),
    "lgd_resnet50": (lgd((3, 4, 6, 3)), 4, (32, 44)),
}
