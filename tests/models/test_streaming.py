"""Going on frame by frame gives what the clip gives at once: every module, any T (every family: test_families)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import teinet
from teinet.errors import ConfigError
from teinet.kernels import available_forms, use_form
from teinet.layers.cells import cell_for
from teinet.models import VideoClassifier, insert_temporal, set_num_frames
from teinet.models.streaming import StreamingClassifier
from tests.models.test_causal import PREFIXES, network
from tests.models.test_families import backbone, wake

LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}


def stepped(model: VideoClassifier, clip: torch.Tensor) -> torch.Tensor:
    """Each frame's logits, (N, T, classes), one step after the other."""
    streaming = StreamingClassifier(model)
    state, rows = streaming.init_state(clip[:, 0]), []
    for frames in clip.unbind(1):
        logits, state = streaming(frames, state)
        rows.append(logits)
    return torch.stack(rows, 1)


def wrong(model: VideoClassifier, clip: torch.Tensor) -> float:
    """The largest difference, of the largest logit."""
    with torch.no_grad():
        want = set_num_frames(model, clip.shape[1]).frame_logits(clip)
    return ((stepped(model, clip) - want).abs().max() / want.abs().max()).item()


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(PREFIXES),
    st.integers(1, 17),
    st.integers(1, 3),
    st.sampled_from(["paper", "residual"]),
    st.sampled_from(list(LIMITS)),
    st.sampled_from(["reference", "cpu"]),
)
def test_any_module_and_any_number_of_frames(prefix, num_frames, streams, gate, dtype, form):
    if form not in available_forms():
        return
    options = {"gate": gate} if prefix in ("teinet", "mem") else {}
    model = network(prefix, **options).to(dtype)
    clip = torch.randn(streams, num_frames, 3, 40, 48, dtype=dtype)
    with use_form(form):
        assert wrong(model, clip) < LIMITS[dtype]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(PREFIXES),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(1, 2),
    st.sampled_from(list(LIMITS)),
    st.sampled_from(["reference", "cpu"]),
)
@example("teinet", [3, 2, 1], 2, torch.float64, "reference")
def test_several_frames_at_a_time(prefix, parts, streams, dtype, form):
    """However a clip is cut into parts, the logits are those of the whole."""
    if form not in available_forms():
        return
    model = network(prefix).to(dtype)
    clip = torch.randn(streams, sum(parts), 3, 40, 48, dtype=dtype)
    with use_form(form), torch.no_grad():
        want = set_num_frames(model, sum(parts)).frame_logits(clip)
        streaming = StreamingClassifier(model)
        state, rows = streaming.init_state(clip[:, 0]), []
        for part in clip.split(parts, dim=1):
            logits, state = streaming(part, state)
            rows.append(logits)
    assert (torch.cat(rows, 1) - want).abs().max() <= LIMITS[dtype] * want.abs().max()


def test_bytes_are_normalised_as_in_clips():
    model = network("teinet").float()
    clip = torch.randint(0, 256, (2, 4, 3, 40, 40), dtype=torch.uint8)
    assert wrong(model, clip) < LIMITS[torch.float32]


def test_bidirectional_networks_are_refused_with_what_to_do():
    with pytest.raises(ConfigError, match=r"--model\.causal true"):
        StreamingClassifier(network("teinet", causal=False))
    with pytest.raises(ConfigError, match="bidirectional"):
        cell_for(teinet.layers.TIM(8, num_frames=2))


class Before(torch.nn.Module):
    """A user's module: the mean of a frame and the one before it. And its cell."""

    causal = True

    def __init__(self, channels, *, num_frames, causal=False):
        super().__init__()
        self.num_frames = num_frames

    def forward(self, x):
        clips = x.unflatten(0, (-1, self.num_frames))
        before = torch.cat([torch.zeros_like(clips[:, :1]), clips[:, :-1]], 1)
        return ((clips + before) / 2).flatten(0, 1)

    def cell(self):
        return BeforeCell()


class BeforeCell(torch.nn.Module):
    def init_state(self, x):
        return (torch.zeros_like(x),)

    def forward(self, x, state):
        return (x + state[0]) / 2, (x.clone(),)


def test_a_module_of_ones_own_streams_by_its_own_cell():
    net = insert_temporal(backbone("resnet basic"), Before, num_frames=5, causal=True)
    wake(net)
    model = VideoClassifier(net, num_frames=5).eval()
    clip = torch.randn(2, 5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert wrong(model, clip) < LIMITS[torch.float32]


def test_a_module_of_ones_own_without_a_cell_is_refused():
    net = insert_temporal(backbone("resnet basic"), lambda channels, **_: torch.nn.Identity(), num_frames=2)
    with pytest.raises(ConfigError, match=r"Identity .*has no cell.*method cell\(\)"):
        StreamingClassifier(VideoClassifier(net, num_frames=2))
