"""The layers give the numbers of Equations 1 to 4: against recorded vectors, and against plain loops in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from teinet.kernels import available_forms, use_form
from teinet.layers import MEM, SE, SETIM, TEI, TIM, TSM

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}
FORMATS = [torch.contiguous_format, torch.channels_last]


def vectors(name: str) -> dict[str, torch.Tensor]:
    path = VECTORS / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"golden vectors absent: {path}")
    with np.load(path) as file:
        return {key: torch.from_numpy(file[key]) for key in file}


def tei_with(data: dict[str, torch.Tensor], dtype: torch.dtype, num_frames: int) -> TEI:
    channels, hidden = data["W_varphi"].shape
    tei = TEI(channels, num_frames=num_frames, reduction=channels // hidden).to(dtype)
    names = {"theta": tei.mem.conv1, "phi": tei.mem.conv2, "varphi": tei.mem.conv3}
    with torch.no_grad():
        for name, conv in names.items():
            conv.weight.copy_(data[f"W_{name}"][:, :, None, None])
            conv.bias.copy_(data[f"b_{name}"])
        tei.tim.V.copy_(data["V"])
    return tei


@pytest.fixture(params=["reference", "cpu"], autouse=True)
def form(request):
    """Every form of the kernels that this machine can run."""
    if request.param not in available_forms():
        pytest.skip(f"the {request.param} form cannot run here")
    with use_form(request.param):
        yield


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("name", ["t1_c8", "t2_c8", "t3_c24_odd", "t8_c16", "t16_c64"])
def test_recorded_vectors(name, dtype, memory_format):
    data = vectors(name)
    frames, channels = data["x"].shape[1:3]
    x = data["x"].flatten(0, 1).to(dtype).contiguous(memory_format=memory_format)
    tei = tei_with(data, dtype, frames)
    with torch.no_grad():
        got = {"mem": tei.mem(x), "tim": tei.tim(x), "tei": tei(x), "tsm": TSM(channels, num_frames=frames)(x)}
        if frames > 1:
            got["gate"] = tei.mem.scale(x)
    for key, value in got.items():
        worst = (value.reshape(data[key].shape) - data[key]).abs().max() / data[key].abs().max()
        assert worst <= TOLERANCE[dtype], f"{key}: {worst}"


def loops(x: np.ndarray, tei: TEI, residual: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Equations 1 to 4 one number at a time: x (B, T, C, H, W) to MEM's output and TEI's."""
    conv = [(c.weight.detach().numpy()[:, :, 0, 0], c.bias.detach().numpy()) for c in tei.mem.children()]
    (w1, b1), (w2, b2), (w3, b3) = conv
    v = tei.tim.V.detach().numpy()
    clips, frames, channels = x.shape[:3]
    mem = x.copy()
    for b in range(clips):
        for t in range(frames - 1):
            here, there = x[b, t].mean((1, 2)), x[b, t + 1].mean((1, 2))
            s = (w1 @ here + b1) - (w2 @ there + b2)
            gate = 1 / (1 + np.exp(-(w3 @ s + b3)))
            for c in range(channels):
                mem[b, t, c] = x[b, t, c] + x[b, t, c] * (gate[c] - 0.5) if residual else gate[c] * x[b, t, c]
    out = np.zeros_like(x)
    for b in range(clips):
        for t in range(frames):
            for c in range(channels):
                for i in (-1, 0, 1):
                    if 0 <= t + i < frames:
                        out[b, t, c] += v[c, i + 1] * mem[b, t + i, c]
    return mem, out


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("gate", ["paper", "residual"])
@pytest.mark.parametrize(("clips", "frames", "height", "width"), [(2, 5, 3, 4), (1, 2, 1, 1), (3, 1, 2, 5)])
def test_plain_loops(clips, frames, height, width, gate, memory_format):
    torch.manual_seed(3)
    tei = TEI(16, num_frames=frames, reduction=4, gate=gate).double()
    torch.nn.init.normal_(tei.tim.weight)
    x = torch.randn(clips, frames, 16, height, width, dtype=torch.float64)
    mem, out = loops(x.numpy(), tei, residual=gate == "residual")
    folded = x.flatten(0, 1).contiguous(memory_format=memory_format)
    with torch.no_grad():
        torch.testing.assert_close(tei.mem(folded).reshape(x.shape), torch.from_numpy(mem), rtol=0, atol=1e-12)
        torch.testing.assert_close(tei(folded).reshape(x.shape), torch.from_numpy(out), rtol=0, atol=1e-12)


def test_a_clip_worked_by_hand():
    """Eight channels, three frames with the values 1, 2, 3: channel 0 looks ahead, channel 1 back, the rest stay."""
    x = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1).expand(3, 8, 1, 1)
    for layer in (TSM(8, num_frames=3), TIM(8, num_frames=3)):
        y = layer(x)[:, :, 0, 0]
        assert y[:, 0].tolist() == [2, 3, 0]
        assert y[:, 1].tolist() == [0, 1, 2]
        assert y[:, 2:].tolist() == [[1] * 6, [2] * 6, [3] * 6]


def test_a_gate_worked_by_hand():
    """One channel, all weights 1, biases 0: s = 1 - 3 = -2, and the last frame is not scaled."""
    mem = MEM(1, num_frames=2, reduction=1)
    for name, parameter in mem.named_parameters():
        torch.nn.init.constant_(parameter, float("weight" in name))
    u = mem(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)).flatten()
    assert u[0].item() == pytest.approx(1 / (1 + np.exp(2.0)), rel=1e-6)
    assert u[1].item() == 3.0


def test_squeeze_and_excitation_is_timms():
    from timm.layers import SEModule

    torch.manual_seed(0)
    ours, theirs = SE(32, num_frames=2), SEModule(32, rd_ratio=1 / 8, rd_divisor=1)
    theirs.fc1.load_state_dict(ours.conv1.state_dict())
    theirs.fc2.load_state_dict(ours.conv2.state_dict())
    x = torch.randn(4, 32, 5, 3)
    torch.testing.assert_close(ours(x), theirs(x))
    fused = SETIM(32, num_frames=2, init="identity")
    fused.se.load_state_dict(ours.state_dict())
    torch.testing.assert_close(fused(x), theirs(x))
