"""What every temporal layer shares: the number of frames, and views between a batch of frames and a batch of clips.

Inside a 2-D CNN a clip batch travels as (B*T, C, H, W), the frames of a clip adjacent.
"""

from __future__ import annotations

from torch import Tensor, nn

from teinet.errors import ConfigError


class TemporalLayer(nn.Module):
    """A layer that maps (B*T, C, H, W) to the same shape and looks across the T frames of each clip.

    Args:
        channels: C, at least 1.
        num_frames: T, at least 1; `teinet.set_num_frames` changes it in a whole network.
        causal: whether a frame sees itself and earlier ones only.

    Raises:
        ConfigError: a value below 1; in forward, a batch that T does not divide.
    """

    num_frames: int
    causal: bool  # whether a frame sees itself and earlier ones only

    def __init__(self, channels: int, *, num_frames: int, causal: bool = False):
        super().__init__()
        for name, value in (("channels", channels), ("num_frames", num_frames)):
            if not isinstance(value, int):
                raise ConfigError(f"{name} must be a whole number, got {value!r}.")
        if channels < 1 or num_frames < 1:
            raise ConfigError(f"channels and num_frames must be at least 1, got {channels} and {num_frames}.")
        self.channels = channels
        self.num_frames = num_frames
        self.causal = bool(causal)

    def num_clips(self, x: Tensor) -> int:
        """B of x (B*T, C, H, W).

        Raises:
            ConfigError: T does not divide the batch, or x has another number of channels.
        """
        if x.shape[1] != self.channels:
            raise ConfigError(f"this layer was built for {self.channels} channels, got {tuple(x.shape)}.")
        if x.shape[0] % self.num_frames:
            raise ConfigError(
                f"a batch of {x.shape[0]} frames is not B*T for T = {self.num_frames} frames a clip: "
                "feed whole clips, or change T on purpose with teinet.set_num_frames(network, T)."
            )
        return x.shape[0] // self.num_frames

    def blank(self, x: Tensor) -> tuple[Tensor, ...]:
        """What `step` keeps of earlier frames, before there were any: zeros.

        x is a frame of each stream, (N, C, H, W), and tells sizes, type and device.
        """
        return ()

    def step(
        self, x: Tensor, past: tuple[Tensor, ...], fresh: Tensor | None, num_frames: int = 1
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The next frames of each of N streams: what `forward` gives for them after all those before. No gradients.

        Args:
            x: (N*K, C, H, W), the frames of a stream adjacent; channels-last is fastest.
            past: what the last call returned, or `blank`; its memory is used again.
            fresh: (N,) bool, which streams see their first frame; None for none. Their past must be blank.
            num_frames: K, at least 1.

        Raises:
            ConfigError: the layer is not causal.
        """
        raise NotImplementedError(type(self).__name__)

    def _must_be_causal(self) -> None:
        if not self.causal:
            raise ConfigError(
                "a two-sided network cannot go on frame by frame, for it needs the next one; train a causal one "
                "(teinet train --model.causal true, or teinet.create_model(..., causal=True))."
            )

    def extra_repr(self) -> str:
        return f"{self.channels}, num_frames={self.num_frames}" + (", causal" if self.causal else "")


def hidden_channels(channels: int, reduction: int) -> int:
    """C/r, rounded down, at least 1.

    Raises:
        ConfigError: r below 1.
    """
    if not isinstance(reduction, int) or reduction < 1:
        raise ConfigError(f"reduction must be a whole number of at least 1, got {reduction!r}.")
    return max(1, channels // reduction)


def start_at_half(last: nn.Conv2d) -> None:
    """Have the convolution before a sigmoid begin near zero, so that fresh gates are about one half for whatever comes.

    As torch draws it, it has few inputs, large weights and features of a pretrained network before it: in
    EfficientNet-Lite0 fresh gates lie anywhere from 0 to 1, another one for each frame, and a network that starts from
    ImageNet begins with noise in each block. Zero itself would keep the convolutions before from learning at first.
    """
    nn.init.normal_(last.weight, std=0.001)
    nn.init.zeros_(last.bias)
