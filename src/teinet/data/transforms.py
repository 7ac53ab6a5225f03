"""Crops, horizontal flips and resizing of decoded frames, in uint8 throughout, as in TSN and TSM.

Each pixel is interpolated once: where TSN's code resizes to short side 256, crops and resizes again, this one crops the
same box in source pixels and resizes it once; a test resizes once and then crops. Torchvision resizes, or PIL where
that is not installed; they differ by a gray level in under 1 % of the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from teinet.data.video.flow import CHANNELS, FLOW_INPUT, Modality
from teinet.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_LONGEST = 65_536  # pixels of a short side
_HAS_TORCHVISION = find_spec("torchvision") is not None


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The preprocessing of a network's input; stored with its weights.

    Args:
        size: side S of the square clip, pixels; or (height, width) with fit "squash".
        short_side: short side of the frame before a test crop, pixels, at least `size`; with fit "squash" equal to the
            shorter side of `size`.
        fit: "crop" crops squares from the frame; "squash" resizes the whole frame to `size`, ignoring its aspect ratio.
        interpolation: "bilinear" or "bicubic", antialiased as in PIL.
        mean, std: of R, G, B, on a scale of 0 to 1; or of the ten channels of optical flow, see `FlowReader`.

    Raises:
        ConfigError: values that do not exist, are out of range or do not fit together.
    """

    size: int | tuple[int, int] = 224
    short_side: int = 256
    fit: Literal["crop", "squash"] = "crop"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name, valid in (("interpolation", ("bilinear", "bicubic")), ("fit", ("crop", "squash"))):
            if (value := getattr(self, name)) not in valid:
                hint = nearest(str(value), valid)
                raise ConfigError(f"{name} {value!r} does not exist; use {' or '.join(valid)}.{hint}")
        height, width = shape_of(self.size)
        object.__setattr__(self, "size", height if height == width else (height, width))
        short = min(height, width)
        if self.fit == "crop" and height != width:
            raise ConfigError(f"size is {self.size}, but crops are square; give one number, or use fit squash")
        if short > self.short_side:
            raise ConfigError(f"size is {self.size}; it must be from 1 to short_side ({self.short_side})")
        if self.short_side > _LONGEST:
            raise ConfigError(f"short_side is {self.short_side}; it must be at most {_LONGEST}")
        if self.fit == "squash" and short != self.short_side:
            raise ConfigError(f"short_side is {self.short_side}; with fit squash it must be {short}, as in size")
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) not in (3, CHANNELS) or (name == "std" and min(values) <= 0):
                kind = "numbers above 0" if name == "std" else "numbers"
                raise ConfigError(f"{name} is {values}; it must be three {kind} (R, G, B), or {CHANNELS} of flow")
            object.__setattr__(self, name, values)
        if len(self.mean) != len(self.std):
            raise ConfigError(f"mean has {len(self.mean)} numbers and std {len(self.std)}; both are one a channel")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the network's input, pixels."""
        return shape_of(self.size)

    @property
    def modality(self) -> Modality:
        """The kind of frames that the network sees: RGB, or optical flow by its ten channels."""
        return "flow" if len(self.mean) == CHANNELS else "rgb"

    def refuse_flow(self, why: str) -> None:
        """Raise ConfigError for a network of optical flow; `why` says what gives it none."""
        if self.modality == "flow":
            raise ConfigError(f"{why}; {FLOW_INPUT}")

    def view_shape(self, full_resolution: bool) -> tuple[int, int]:
        """Return height and width of a test crop, pixels."""
        return (self.short_side, self.short_side) if full_resolution and self.fit == "crop" else self.shape

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from values of `to_dict`; ConfigError if a key does not exist."""
        valid = [field.name for field in fields(cls)]
        for key in values:
            if key not in valid:
                hint = nearest(key, valid)
                raise ConfigError(f"preprocessing has no setting {key!r}; valid: {', '.join(valid)}.{hint}")
        return cls(**values)


def shape_of(size: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width of a size, which may be one number; ConfigError if they are not integers above 0."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ConfigError(f"size is {size!r}; write one number for a square, or [height, width], in pixels, at least 1")
    return sides


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random augmentation of training clips.

    Args:
        crop: "corners" places the jittered crop at one of 13 fixed positions (corners, center, edges and quarters), as
            in the code of TSN and TSM; "center" at the center, as in the text of the paper; "random" anywhere, a
            square as in SlowFast's code: cut from a frame whose short side is drawn evenly (256 to 320 for crops of
            224 pixels are scales from 0.875 to 0.7).
        scales: sides of the crop relative to the short side (to each side itself with fit "squash"), from large to
            small, each in (0, 1]; width and height are at most one step of this list apart. With crop "random" the
            largest and the smallest count.
        hflip: flip a clip horizontally with probability 0.5.
        min_part: smallest part of a clip that its frames are drawn from, see `Sampling.train`.
        color_jitter: largest change of brightness, contrast and saturation, as a share, 0 to 1; of hue a fifth of it.
        rand_augment: strength of RandAugment, two random changes a clip, 0 (none) to 30. Source: Cubuk et al.,
            https://arxiv.org/abs/1909.13719.
        blur: probability of a Gaussian blur, 0 to 1.
        erase: probability that a random rectangle is erased, 0 to 1. Source: Zhong et al.,
            https://arxiv.org/abs/1708.04896.

    Each is drawn once for all frames of a clip.

    Raises:
        ConfigError: a crop that does not exist, or a value out of range.
    """

    crop: Literal["corners", "center", "random"] = "corners"
    scales: tuple[float, ...] = (1, 0.875, 0.75, 0.66)
    hflip: bool = False
    min_part: float = 1.0
    color_jitter: float = 0.0
    rand_augment: int = 0
    blur: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        if self.crop not in (crops := ("corners", "center", "random")):
            hint = nearest(str(self.crop), crops)
            raise ConfigError(f"crop {self.crop!r} does not exist; use {', '.join(crops)}.{hint}")
        scales = tuple(float(scale) for scale in self.scales)
        if not scales or not all(0 < scale <= 1 for scale in scales):
            raise ConfigError(f"scales are {self.scales}; each must be above 0 and at most 1")
        object.__setattr__(self, "scales", scales)
        for name, most in (("color_jitter", 1), ("rand_augment", 30), ("blur", 1), ("erase", 1)):
            if not 0 <= (value := getattr(self, name)) <= most:
                raise ConfigError(f"{name} is {value}; it must be from 0 to {most}")
        if not 0 < self.min_part <= 1:
            raise ConfigError(f"min_part is {self.min_part}; it must be above 0 and at most 1")

    def change_pixels(self, clip: Tensor, seed: int) -> Tensor:
        """Return a clip (T, 3, H, W) uint8, its colors, sharpness and so on changed alike in all frames."""
        import torch
        from torchvision.transforms import v2

        changes: list[Any] = []
        if self.rand_augment:
            changes.append(v2.RandAugment(num_ops=2, magnitude=self.rand_augment))
        if jitter := self.color_jitter:
            changes.append(v2.ColorJitter(jitter, jitter, jitter, jitter / 5))
        if self.blur:
            side = 2 * (min(clip.shape[-2:]) // 20) + 3  # pixels: the kernel follows the size of the image
            changes.append(v2.RandomApply([v2.GaussianBlur(side, (0.1, side / 4))], self.blur))
        if self.erase:
            changes.append(v2.RandomErasing(self.erase, value=float(clip.float().mean())))
        if not changes:
            return clip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return v2.Compose(changes)(clip).contiguous()


@dataclass(frozen=True, kw_only=True)
class TrainingCrop:
    """A crop of all frames of a clip, resized to the network's input; `draw` draws one.

    Args:
        box: top, left, height, width in pixels of the frames.
        flipped: whether it is flipped horizontally.
        preprocessing: gives the size of the input.
    """

    box: tuple[int, int, int, int]
    flipped: bool
    preprocessing: Preprocessing

    @classmethod
    def draw(
        cls, height: int, width: int, preprocessing: Preprocessing, augmentation: Augmentation, rng: np.random.Generator
    ) -> TrainingCrop:
        """Draw a random position and scale for frames of this size, always with the same number of draws.

        Source: TSN's and TSM's GroupMultiScaleCrop with "more fix crop".
        """
        box = _jittered_box(height, width, preprocessing.fit, augmentation, rng)
        # Drawn even if unused, so that `hflip` changes no other random number of a run.
        flipped = bool(rng.random() < 0.5) and augmentation.hflip
        return cls(box=_whole_pixels(box, height, width), flipped=flipped, preprocessing=preprocessing)

    def __call__(self, frames: Tensor | np.ndarray) -> np.ndarray:
        """Return the crop (T, height, width, C) uint8, with `preprocessing.shape`, of frames (T, H, W, C) uint8.

        A flip turns the flow's x around, 255 - x. Source: TSN's and TSM's GroupRandomHorizontalFlip.
        """
        top, left, height, width = self.box
        cut = _checked(frames)[:, top : top + height, left : left + width]
        clip = _resize(cut, self.preprocessing.shape, self.preprocessing.interpolation)
        if not self.flipped:
            return clip
        clip = np.ascontiguousarray(clip[:, :, ::-1])
        if self.preprocessing.modality == "flow":
            clip[..., ::2] = 255 - clip[..., ::2]
        return clip


def test_crops(
    frames: Tensor | np.ndarray, preprocessing: Preprocessing, num_crops: int = 1, full_resolution: bool = False
) -> np.ndarray:
    """Resize to the short side and crop the center, or several crops from left to right (portrait: top to bottom).

    Args:
        frames: (T, H, W, C) uint8, H and W at least 1; C is 3, or 10 of optical flow.
        num_crops: at least 1; evenly spaced along the long side, from edge to edge.
        full_resolution: crop squares of side `short_side` instead of `size`.

    Returns:
        (num_crops, T, height, width, C) uint8; with fit "squash" one crop, the whole frame.
    """
    if num_crops < 1:
        raise ValueError(f"num_crops is {num_crops}; it must be at least 1")
    images = _checked(frames)
    height, width = images.shape[1:3]
    if preprocessing.fit == "squash":
        return _resize(images, preprocessing.shape, preprocessing.interpolation)[None]
    side, _ = preprocessing.view_shape(full_resolution)
    size = _test_size(height, width, preprocessing)
    images = _resize(images, size, preprocessing.interpolation)
    free_y, free_x = size[0] - side, size[1] - side
    steps = [(i, num_crops - 1) for i in range(num_crops)] if num_crops > 1 else [(1, 2)]
    if width >= height:
        places = [(free_y // 2, free_x * i // n) for i, n in steps]
    else:
        places = [(free_y * i // n, free_x // 2) for i, n in steps]
    return np.stack([images[:, y : y + side, x : x + side] for y, x in places])


test_crops.__test__ = False  # pytest would collect it by its name


def crop_frame(image: np.ndarray | Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """Return the center crop (height, width, 3) uint8 of one frame (H, W, 3) uint8, as in `test_crops`."""
    return test_crops(image[None], preprocessing)[0, 0]


def shrink_frame(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return a frame (H, W, 3) uint8 as small as `crop_frame` may take it, which crops the same pixels from it."""
    height, width = image.shape[:2]
    size = _test_size(height, width, preprocessing)
    if size[0] * size[1] >= height * width:
        return image
    return _resize(_checked(image[None]), size, preprocessing.interpolation)[0]


def _test_size(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return height and width to which a frame is resized before a test crop."""
    if preprocessing.fit == "squash":
        return preprocessing.shape
    short = preprocessing.short_side
    # The long side is rounded down to whole pixels, as in torchvision.
    return (short, max(short, short * width // height)) if width >= height else (short * height // width, short)


def _checked(frames: Tensor | np.ndarray) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] not in (3, CHANNELS) or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(f"frames must be (T, H, W, 3) uint8, not {frames.shape} {frames.dtype}")
    return frames


def _jittered_box(
    height: int, width: int, fit: str, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Draw a crop (top, left, height, width) in source pixels."""
    short = min(height, width)
    whole_height, whole_width = (height, width) if fit == "squash" else (short, short)
    scales = augmentation.scales
    if augmentation.crop == "random":
        tall = wide = 1 / rng.uniform(1 / max(scales), 1 / min(scales))
        down, right = rng.random(2)
    else:
        pairs = [(a, b) for i, a in enumerate(scales) for j, b in enumerate(scales) if abs(i - j) <= 1]
        tall, wide = pairs[rng.integers(len(pairs))]
        down, right = crop_positions()[rng.integers(13)]
    if augmentation.crop == "center":
        down = right = 0.5
    crop_height, crop_width = max(1.0, whole_height * tall), max(1.0, whole_width * wide)
    return down * (height - crop_height), right * (width - crop_width), crop_height, crop_width


def crop_positions() -> list[tuple[float, float]]:
    """Return TSN's 13 fixed crop positions as (down, right) fractions of the free space."""
    corners_center = [(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)]
    edges = [(0.5, 0), (0.5, 1), (0, 0.5), (1, 0.5)]
    quarters = [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    return [(float(y), float(x)) for y, x in corners_center + edges + quarters]


def _whole_pixels(box: tuple[float, float, float, float], height: int, width: int) -> tuple[int, int, int, int]:
    """Round a box to whole pixels, at least one, inside the frame."""
    crop_height, crop_width = max(1, round(box[2])), max(1, round(box[3]))
    top = min(max(0, round(box[0])), height - crop_height)
    left = min(max(0, round(box[1])), width - crop_width)
    return top, left, crop_height, crop_width


def _resize(images: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Return images (T, H, W, C) at another size (height, width)."""
    if images.shape[1:3] == size:
        return images
    if not _HAS_TORCHVISION:
        method = Image.Resampling[interpolation.upper()]
        height, width = size
        return np.stack([np.asarray(Image.fromarray(image).resize((width, height), method)) for image in images])
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    # (T, H, W, C) -> (T, C, H, W), channels-last in memory: no copy
    stacked = torch.from_numpy(images).permute(0, 3, 1, 2)
    resized = F.resize(stacked, list(size), interpolation=InterpolationMode(interpolation), antialias=True)
    return resized.permute(0, 2, 3, 1).numpy()
