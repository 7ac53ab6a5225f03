"""Whatever is wrong with a file ends in one VideoError of one line that says what; sound files are unharmed."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from teinet.data.video.reader import VideoReader, is_video
from teinet.errors import VideoError


def reason(path) -> str:
    """The reason given by reading frames and by counting them, which must be the same single line."""
    said = []
    for call in (lambda path: len(VideoReader(path)), lambda path: VideoReader(path).sample(range)):
        with pytest.raises(VideoError) as caught:
            call(path)
        assert caught.value.path == str(path) and "\n" not in str(caught.value)
        said.append(caught.value.reason)
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize(("content", "expected"), [
    (b"", "the file is empty (0 bytes)"), (b"hello world\n" * 50, "not a video, but a text file"),
    ("<html>h\u00e9llo</html>".encode(), "not a video, but a text file"),
    (bytes(5000), "not a video that FFmpeg can read"),
    (np.random.default_rng(0).bytes(5000), "not a video that FFmpeg can read"),
])  # fmt: skip
def test_files_that_are_no_video(content, expected, tmp_path):
    path = tmp_path / "file.mp4"
    path.write_bytes(content)
    assert reason(path).startswith(expected)


def test_missing_file_and_folders_without_images(tmp_path):
    assert reason(tmp_path / "nowhere.mp4") == "no such file or folder"
    assert "no numbered images" in reason(tmp_path)
    (tmp_path / "notes.txt").write_text("1")
    (tmp_path / "cover.jpg").write_bytes(b"")
    assert "no numbered images" in reason(tmp_path)


def test_pipes_and_devices_are_refused_before_anybody_waits_for_them(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it for reading would wait for a writer
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    assert reason(tmp_path / "pipe.mp4") == reason(tmp_path / "zero.mp4") == "not a regular file"
    os.mkfifo(tmp_path / "1.jpg")
    assert reason(tmp_path) == "its image 1.jpg is not a regular file"


def test_audio_only(videos):
    assert reason(videos["only_audio.mp4"]) == "has no video, only audio"


@pytest.mark.parametrize("share", [0.01, 0.1, 0.35, 0.5, 0.8])
@pytest.mark.parametrize(
    "name", "b_frames.mp4 faststart.mp4 fragments.mp4 with_audio.mp4 vp9.webm h264.mkv mpeg4_b.avi stream.flv".split()
)
def test_a_video_cut_off_anywhere_is_refused(name, share, videos, tmp_path):
    """Where the container shows that data is missing, no part of it passes for the whole."""
    whole = videos[name].read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(len(whole) * share)])
    assert reason(path).startswith("cut off")


def test_cut_off_says_which_frame_and_a_file_fixed_is_read_again(videos, tmp_path):
    whole, path = videos["faststart.mp4"].read_bytes(), tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    assert 20 < int(re.fullmatch(r"cut off: frame (\d+) of 75 cannot be read", reason(path))[1]) < 60
    path.write_bytes(whole)
    assert len(VideoReader(path)) == 75


def test_a_whole_video_in_which_nothing_decodes(videos, tmp_path):
    """The container is sound, every byte of the images is zero."""
    whole = bytearray(videos["faststart.mp4"].read_bytes())
    start = whole.index(b"mdat") + 4
    whole[start:] = bytes(len(whole) - start)
    path = tmp_path / "zeros.mp4"
    path.write_bytes(whole)
    assert reason(path) == "none of its frames can be decoded"


def test_nothing_is_written_to_the_terminal(videos, tmp_path):
    """libav's own messages go to the process's stderr, past Python: only a child process shows them."""
    whole = videos["b_frames.mp4"].read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 3 : len(whole) // 3 + 2000] = os.urandom(2000)
    (tmp_path / "damaged.mp4").write_bytes(damaged)
    (tmp_path / "cut.mp4").write_bytes(videos["faststart.mp4"].read_bytes()[:30000])
    code = (
        "import av, sys; from teinet.data.video.reader import VideoReader; from teinet.errors import VideoError\n"
        "for path in sys.argv[1:]:\n"
        "    av.logging.set_level(av.logging.ERROR)  # as torchvision before 0.26 does\n"
        "    try: VideoReader(path).sample(range)\n"
        "    except VideoError: pass\n"
    )
    command = [sys.executable, "-c", code, *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.fixture
def image_folder(tmp_path):
    """Images 8, 9, 10, 11 with their number as gray level; names that sort otherwise as text."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (8, 9, 10, 11):
        Image.new("RGB", (30, 20), (number * 10,) * 3).save(folder / f"img_{number}.png")
    return folder


def test_a_folder_of_images_is_a_video_in_numeric_order(image_folder):
    assert is_video(image_folder)
    video = VideoReader(image_folder)
    assert (len(video), video.size, video.frame_rate, video.duration, video.codec) == (4, (30, 20), None, None, "png")
    frames = video.sample(range)
    assert frames.images[:, 0, 0, 0].tolist() == [80, 90, 100, 110]
    assert np.isnan(frames.times).all()
    assert VideoReader(image_folder).sample(lambda n: [3, 0, 3]).images[:, 5, 5, 1].tolist() == [110, 80, 110]


@pytest.mark.parametrize("pattern", ["img_{:05d}.jpg", "{:05d}.jpg", "{:06d}.JPG", "frame{}.jpeg", "v2_{:03d}.png"])
def test_usual_names_of_images(pattern, tmp_path):
    for number in (1, 2, 3, 12):
        Image.new("L", (16, 16), number * 15).save(tmp_path / pattern.format(number))
    gray = VideoReader(tmp_path).sample(range).images.mean((1, 2, 3))
    np.testing.assert_allclose(gray, [15, 30, 45, 180], atol=2)


def test_images_are_upright_rgb_of_the_first_ones_size(tmp_path):
    left_dark = Image.fromarray(np.array([[0, 200]], np.uint8).repeat(20, 0).repeat(20, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter: what is on the left goes to the top
    left_dark.save(tmp_path / "1.jpg", exif=exif, quality=95)
    Image.new("RGBA", (10, 10), (250, 0, 0, 255)).save(tmp_path / "2.png")
    frames = VideoReader(tmp_path).sample(range).images
    assert frames.shape == (2, 40, 20, 3)
    assert frames[0, :15].max() < 60 < 150 < frames[0, 25:].min()
    assert frames[1, 5, 5].tolist() == [250, 0, 0]


def test_gray_levels_of_16_bits_are_ffmpegs(ffmpeg, tmp_path):
    """A ramp over all levels, as images and as lossless video, gives the same frames."""
    ramp = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    (tmp_path / "depth").mkdir()
    for number in range(3):
        Image.fromarray(np.roll(ramp, 300 * number)).save(tmp_path / "depth" / f"{number}.png")
    images = VideoReader(tmp_path / "depth").sample(range).images
    pattern = ("-start_number", "0", "-i", tmp_path / "depth" / "%d.png")
    raw = ffmpeg(*pattern, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    np.testing.assert_array_equal(images, np.frombuffer(raw, np.uint8).reshape(3, 48, 64, 3))
    ffmpeg(*pattern, "-c:v", "ffv1", "-pix_fmt", "gray16le", tmp_path / "depth.mkv")
    np.testing.assert_array_equal(images, VideoReader(tmp_path / "depth.mkv").sample(range).images)
    assert abs(images[0].mean() - 127.5) < 1


def test_a_damaged_image_is_named(image_folder):
    whole = (image_folder / "img_10.png").read_bytes()
    (image_folder / "img_10.png").write_bytes(whole[:60])
    with pytest.raises(VideoError, match=r"img_10\.png is damaged"):
        VideoReader(image_folder).sample(range)
    assert len(VideoReader(image_folder).sample(lambda n: [0, 1, 3]).images) == 3  # the others are sound


def test_a_folder_has_no_clock(image_folder):
    with pytest.raises(VideoError, match="no timestamps"):
        VideoReader(image_folder).sample(range, start=1.0)


@pytest.mark.parametrize("suffix", ["nfo", "asc", "diz", "ice", "vt", "art"])
@pytest.mark.parametrize("text", ["v", "hello\n" * 100, "\x1b[31mred\x1b[0m\n" * 30])
def test_text_that_ffmpeg_would_draw_is_no_video(suffix, text, tmp_path):
    path = tmp_path / f"a.{suffix}"
    path.write_text(text)
    assert reason(path) == "not a video, but a text file"
