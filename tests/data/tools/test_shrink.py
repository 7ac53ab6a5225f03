"""Small copies show what the originals show, at the same times; ffmpeg's own program is the judge."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from teinet.data.lists.formats import read_listing
from teinet.data.tools.shrinking import shrink
from teinet.data.tools.small_copy import Shrinking, shrink_video
from teinet.data.video.image_folder import image_names
from teinet.data.video.index import frame_index
from teinet.data.video.reader import VideoReader
from teinet.errors import ConfigError

SMALL = Shrinking(short_side=64)


def shrunk(source: Path, target: Path, settings: Shrinking = SMALL) -> float:
    return shrink_video(str(source), target, settings, lambda: None)[0]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))))


@pytest.fixture(scope="module")
def shown(ffmpeg):
    """When ffmpeg's program shows the frames of a file, in seconds from the first one, and how long the last one."""

    def times(path: Path) -> tuple[np.ndarray, float]:
        text = ffmpeg("-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framecrc", "-").decode()
        base = Fraction(next(line for line in text.splitlines() if line.startswith("#tb")).split()[-1])
        rows = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
        pts = np.array([int(row[2]) for row in rows])
        return (pts - pts[0]) * float(base), int(rows[-1][3]) * float(base)

    return times


KINDS = (
    "b_frames.mp4", "variable_rate.mp4", "edit_list.mp4", "with_audio.mp4", "h264.mkv", "vp9.webm", "mpeg4_b.avi",
    "stream.ts", "animation.gif", "mjpeg.avi", "ten_bit.mp4", "odd_444.mp4", "one_frame.mp4", "fragments.mp4",
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_stays_at_its_time(name, videos, shown, tmp_path):
    copy = tmp_path / "copy.mp4"
    shift = shrunk(videos[name], copy)
    before, after = frame_index(str(videos[name])), frame_index(str(copy))
    assert after.num_frames == before.num_frames
    np.testing.assert_allclose(after.times, before.times - shift, atol=1e-6)
    (was, last_was), (now, last_now) = shown(videos[name]), shown(copy)
    np.testing.assert_allclose(now, was, atol=1e-4)  # other containers round; .flv and .mkv to a thousandth
    assert after.keys.tolist() == list(range(0, after.num_frames, 16))
    assert last_now == pytest.approx(last_was, abs=1e-3)
    if name != "variable_rate.mp4":  # whose header says less frames a second than it has
        assert after.frame_rate == pytest.approx(before.frame_rate, rel=1e-3)


def test_no_sound_one_stream_and_no_part_left(videos, ffmpeg, tmp_path):
    shrunk(videos["with_audio.mp4"], tmp_path / "copy.mp4")
    sound = ("-map", "0:a", "-f", "framecrc", "-")
    assert ffmpeg("-i", videos["with_audio.mp4"], *sound) and not ffmpeg("-i", tmp_path / "copy.mp4", *sound, ok=False)
    assert [p.name for p in tmp_path.iterdir()] == ["copy.mp4"]


@pytest.fixture(scope="module")
def smooth(ffmpeg, tmp_path_factory) -> dict[str, Path]:
    """Moving images without hard edges, in several ways of writing colors, and turned."""
    folder = tmp_path_factory.mktemp("smooth")
    ends = "x0=0:y0=0:x1=320:y1=180:c0=0x20c040:c1=0xe0a030:c2=0x3060d0:c3=0xc04080"
    source = "gradients=size={0}:rate=25:duration=0.6:speed=0.1:n=4:{1},format=gbrp"
    colors = "scale=out_color_matrix={0}:out_range={1},format={2},setparams=colorspace={0}:range={1}"
    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "8")
    made = {}
    for name, size, matrix, full, pixels in (
        ("bt709.mp4", "322x182", "bt709", "tv", "yuv420p"),
        ("full_range.mp4", "322x182", "bt709", "pc", "yuv420p"),
        ("bt601.mp4", "322x182", "smpte170m", "tv", "yuv444p"),
        ("odd.mp4", "323x181", "smpte170m", "tv", "yuv444p"),
        ("ten_bit.mp4", "322x182", "bt709", "tv", "yuv420p10le"),
        ("portrait.mp4", "182x322", "bt709", "tv", "yuv420p"),
    ):
        filters = f"{source.format(size, ends)},{colors.format(matrix, full, pixels)}"
        ffmpeg("-f", "lavfi", "-i", filters, "-colorspace", matrix, "-color_range", full, *x264, folder / name)
        made[name] = folder / name
    untold = folder / "untold.avi"  # says nothing of its colors
    ffmpeg("-f", "lavfi", "-i", source.format("322x182", ends), "-c:v", "mpeg4", "-q:v", "2", untold)
    made["untold.avi"] = untold
    for turn in (90, 180, 270):
        made[f"turned_{turn}.mp4"] = folder / f"turned_{turn}.mp4"
        ffmpeg("-display_rotation", str(turn), "-i", made["bt709.mp4"], "-c", "copy", folder / f"turned_{turn}.mp4")
    made["mirrored.mp4"] = folder / "mirrored.mp4"
    ffmpeg("-display_hflip", "-i", made["bt709.mp4"], "-c", "copy", folder / "mirrored.mp4")
    return made


SMOOTH = "bt709 full_range bt601 odd ten_bit untold portrait turned_90 turned_180 turned_270 mirrored".split()


@pytest.mark.parametrize("name", SMOOTH)
def test_the_images_are_the_originals_resized(name, smooth, truth, tmp_path):
    size = width, height = (64, 114) if name in ("portrait", "turned_90", "turned_270") else (114, 64)
    source = smooth[name + (".avi" if name == "untold" else ".mp4")]
    originals = truth(source, *VideoReader(source).size[::-1])
    expected = np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BICUBIC)) for f in originals])
    for quality, least, cast in ((23, 33, 3), (2, 36, 2)):
        copy = tmp_path / f"{quality}.mp4"
        shrunk(source, copy, Shrinking(short_side=64, quality=quality))
        found = truth(copy, height, width)
        assert VideoReader(copy).size == size and found.shape == expected.shape
        assert psnr(found, expected) > least
        assert np.abs(found.mean((0, 1, 2)) - expected.mean((0, 1, 2))).max() < cast
        assert np.array_equal(VideoReader(copy).sample(range).images, found)  # ours reads as ffmpeg does


@pytest.mark.parametrize(("short_side", "size", "expected"), [
    (256, (320, 240), (320, 240)), (240, (1280, 720), (426, 240)), (256, (341, 257), (340, 256)),
    (256, (161, 121), (160, 120)), (256, (720, 1280), (256, 456)), (16, (4000, 20), (3200, 16)), (64, (1, 1), (2, 2)),
])  # fmt: skip
def test_sizes_are_even_and_never_larger(short_side, size, expected):
    assert Shrinking(short_side=short_side).size(*size, even=True) == expected


@pytest.mark.parametrize("wrong", [{"short_side": 8}, {"keyframes": 0}, {"quality": 52}, {"quality": -1}])
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(ConfigError, match="they must be at least"):
        Shrinking(**wrong)


@pytest.fixture
def folders(tmp_path) -> Path:
    """Folders of images: wide ones, .png by a pattern next to others, small ones, one that is broken."""
    root = tmp_path / "frames"
    ramp = np.tile(np.arange(160, dtype=np.uint8), (90, 1))
    for clip, suffix in (("1", "jpg"), ("2", "png"), ("3", "jpg"), ("4", "JPG")):
        (root / clip).mkdir(parents=True)
        for number in range(1, 4):
            image = Image.fromarray(np.stack([ramp, 255 - ramp, np.full_like(ramp, 60 * number)], 2))
            if clip == "3":
                image = image.resize((32, 24))
            exif = Image.Exif()
            exif[0x0112] = 6 if clip == "4" else 1
            image.save(root / clip / f"img_{number:05d}.{suffix}", quality=95, exif=exif)
            if clip == "2":
                Image.new("RGB", (10, 10)).save(root / clip / f"flow_{number:05d}.png")
    (root / "5").mkdir()
    (root / "5" / "1.jpg").write_bytes(b"no image")
    rows = "1,x\n2/img_%05d.png,x\n3,y\n4,y\n5,y\n"
    (tmp_path / "list.csv").write_text(f"path,label\n{''.join('frames/' + line for line in rows.splitlines(True))}")
    return tmp_path / "list.csv"


def test_folders_of_images_become_smaller_images_of_the_same_names(folders, tmp_path):
    out = tmp_path / "small"
    report = shrink(read_listing(folders), out, Shrinking(short_side=45), workers=0)
    paths = [row.path for row in read_listing(report.list).rows]
    assert [os.path.relpath(p, out / "frames") for p in paths] == ["1", "2/img_%05d.png", "3", "4"]
    assert [os.path.basename(row.path) for row, _ in report.unreadable] == ["5"]
    assert image_names(paths[0]) == ("img_00001.jpg", "img_00002.jpg", "img_00003.jpg")
    assert image_names(paths[1]) == ("img_00001.png", "img_00002.png", "img_00003.png")
    small = (folders.parent / "frames" / "3" / "img_00001.jpg").read_bytes()
    assert (Path(paths[2]) / "img_00001.jpg").read_bytes() == small  # not encoded again
    for i, size in ((0, (80, 45)), (1, (80, 45)), (3, (45, 80))):
        found = VideoReader(paths[i]).sample(range).images
        original = VideoReader(read_listing(folders).rows[i].path).sample(range).images
        expected = np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BICUBIC)) for f in original])
        assert psnr(found, expected) > 34
    with Image.open(Path(paths[3]) / "img_00001.JPG") as upright:
        assert upright.size == (45, 80) and upright.format == "JPEG" and upright.getexif().get(0x0112, 1) == 1


def test_real_clips(shared, truth, tmp_path):
    """A frame of each of a few real videos, half as high."""
    folder = shared / "data" / "clips"
    for source in sorted(folder.glob("*.avi"))[:2] + sorted(folder.glob("*.mp4"))[:1] + sorted(folder.glob("*.gif")):
        shrunk(source, tmp_path / "copy.mp4", Shrinking(short_side=128))
        whole, copy = (VideoReader(path).sample(lambda n: [n // 2]) for path in (source, tmp_path / "copy.mp4"))
        assert whole.num_frames == copy.num_frames
        size = (copy.images.shape[2], copy.images.shape[1])
        expected = np.asarray(Image.fromarray(whole.images[0]).resize(size, Image.Resampling.BICUBIC))
        assert psnr(copy.images[0], expected) > 30, source
