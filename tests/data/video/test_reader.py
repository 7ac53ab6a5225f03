"""Frames are those of ffmpeg's own program, by index: luma to the bit, RGB within 2 levels, from any start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest

from teinet.data.video import container
from teinet.data.video import index as frame_index
from teinet.data.video.frames import decode
from teinet.data.video.pixels import display_matrix, upright
from teinet.data.video.reader import VideoReader, is_video
from teinet.detection.events import Rules
from teinet.detection.scorer import interval_for
from teinet.errors import ConfigError, VideoError

NAMES = (
    "b_frames.mp4 open_gop.mp4 refresh.mp4 mpeg4_b.mp4 hevc.mkv ten_bit.mp4 vp9.webm vp8_hidden.webm mpeg4_b.avi "
    "msmpeg4.avi mjpeg.avi edit_list.mp4 stream.ts stream.flv h264.mkv variable_rate.mp4 odd_444.mp4 odd_420.webm "
    "bt709.mp4 full_range.mp4 full_range.webm full_range_ten_bit.mp4 one_frame.mp4 one_frame.png animation.gif "
    "transparent.gif rotated_90.mp4 rotated_180.mp4 rotated_270.mp4 flipped_90.mp4 mirrored.mp4 with_audio.mp4 "
    "faststart.mp4 fragments.mp4"
).split()
SEEKABLE = ("b_frames.mp4", "mpeg4_b.mp4", "hevc.mkv", "vp9.webm", "edit_list.mp4", "h264.mkv", "with_audio.mp4")


def luma(path: Path) -> np.ndarray:
    """The stored Y plane of every frame, upright."""
    planes = []
    for frame in VideoReader(path):
        plane = frame.raw.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        planes.append(upright(display_matrix(frame.raw), rows).copy())
    return np.stack(planes)


def pixel_format(path: Path) -> str:
    with av.open(str(path), **container._LENIENT) as opened:
        return opened.streams.video[0].codec_context.pix_fmt


def assert_same_as_ffmpeg(path: Path, truth) -> None:
    frames = VideoReader(path).sample(range)
    got, (height, width) = frames.images, frames.images.shape[1:3]
    expected = truth(path, height, width)
    assert len(got) == len(expected) == frames.num_frames == len(VideoReader(path))
    assert (np.maximum(got, expected) - np.minimum(got, expected)).max() <= 2
    if (pixels := pixel_format(path)) in ("yuv420p", "yuvj420p", "yuv444p"):
        np.testing.assert_array_equal(luma(path), truth(path, height, width, luma=True, pixels=pixels))


@pytest.mark.parametrize("name", NAMES)
def test_every_frame_is_ffmpegs(name, videos, truth):
    assert_same_as_ffmpeg(videos[name], truth)


def test_every_frame_of_real_clips_is_ffmpegs(real_clips, truth):
    assert len(real_clips) >= 10
    for path in real_clips[::2]:
        assert_same_as_ffmpeg(path, truth)


@pytest.mark.parametrize("name", NAMES)
def test_any_choice_of_frames_is_the_same_as_all_of_them(name, videos):
    path = videos[name]
    everything = VideoReader(path).sample(range).images
    rng = np.random.default_rng(0)
    n = len(everything)
    choices = [rng.integers(n, size=rng.integers(1, 9)) for _ in range(12)]
    for choice in (*choices, np.array([n - 1]), np.array([n - 1, 0, 0])):
        frames = VideoReader(path).sample(lambda _, choice=choice: choice)
        assert (frames.images == everything[choice]).all()
        np.testing.assert_array_equal(frames.indices, choice)


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """The timestamps of the frames that were decoded."""
    seen: list[int] = []
    monkeypatch.setattr("teinet.data.video.reader.decode", lambda *a: (seen.append(f.pts) or f for f in decode(*a)))
    return seen


@pytest.mark.parametrize("name", SEEKABLE)
def test_late_frames_are_reached_without_decoding_all_before_them(name, videos, decoded):
    """Fewer frames are decoded than lie before the last one: it jumped, and did not have to start again."""
    n = len(VideoReader(videos[name]))
    VideoReader(videos[name]).sample(lambda n: [n - 1])
    assert 0 < len(decoded) < n // 2
    decoded.clear()
    VideoReader(videos[name]).sample(lambda n: [0, n - 1])
    assert 0 < len(decoded) < n // 2 + 2


def test_keyframes_that_are_no_clean_start_are_not_jumped_to(videos):
    """Open GOPs have frames that reach across, gradual refresh has no whole image to start from."""
    assert frame_index.frame_index(str(videos["b_frames.mp4"])).keys.tolist() == [0, 12, 24, 36, 48, 60, 72]
    assert frame_index.frame_index(str(videos["open_gop.mp4"])).keys.tolist() == [0]
    assert frame_index.frame_index(str(videos["refresh.mp4"])).keys.tolist() == [0]


def test_decoding_stops_after_the_last_frame(videos, decoded):
    VideoReader(videos["variable_rate.mp4"]).sample(lambda n: [2, 1, 2])
    assert len(decoded) == 3


def test_wrong_timestamps_in_the_index_cost_time_and_not_frames(videos):
    path = str(videos["b_frames.mp4"])
    everything = VideoReader(path).sample(range).images
    index = frame_index.frame_index(path)
    lying = VideoReader(path)
    lying._known = replace(index, pts=index.pts + 7)
    assert (lying.frames_at([3, 40, 70]).images == everything[[3, 40, 70]]).all()
    assert len(frame_index.frame_index(path).keys) == 0  # and it is remembered that jumping does not work


@pytest.mark.parametrize(("name", "options"), [
    ("tff.mp4", ("-c:v", "libx264", "-x264-params", "tff=1")),
    ("tff.mpg", ("-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ilme+ildct")),
])  # fmt: skip
def test_interlaced_frames_have_ffmpegs_colors(name, options, ffmpeg, truth, tmp_path):
    """The program converts the chroma of both fields together."""
    fields = "testsrc2=size=160x120:rate=50:duration=0.4,tinterlace=interleave_top"
    ffmpeg("-f", "lavfi", "-i", fields, "-pix_fmt", "yuv420p", *options, tmp_path / name)
    assert next(iter(VideoReader(tmp_path / name))).raw.interlaced_frame
    assert_same_as_ffmpeg(tmp_path / name, truth)


def test_threads_do_not_change_the_frames(videos):
    for name in ("b_frames.mp4", "vp9.webm", "edit_list.mp4"):
        one, many = (VideoReader(videos[name], threads=threads).sample(range) for threads in (1, "auto"))
        assert (one.images == many.images).all()


def test_times_are_those_of_the_frames(videos):
    reader, shown = VideoReader(videos["variable_rate.mp4"]), [n for n in range(75) if n % 3 == 0 or n % 7 == 0]
    np.testing.assert_allclose(reader.sample(range).times, np.array(shown) / 25, atol=1e-6)
    np.testing.assert_allclose(reader.durations[:-1], np.diff(shown) / 25, atol=1e-6)
    assert reader.durations[-1] > 0 and reader.frame_rate == pytest.approx((len(shown) - 1) / shown[-1] * 25, rel=0.02)
    np.testing.assert_allclose(VideoReader(videos["stream.ts"]).sample(range).times, np.arange(75) / 25, atol=1e-3)


def test_a_span_holds_the_frames_shown_in_it(videos):
    path = videos["b_frames.mp4"]
    everything = VideoReader(path).sample(range).images
    for start, end, expected in ((0.4, 0.8, range(10, 20)), (None, 0.2, range(5)), (2.8, None, range(70, 75))):
        frames = VideoReader(path).sample(range, start=start, end=end)
        assert frames.indices.tolist() == list(expected) and frames.num_frames == len(expected)
        assert (frames.images == everything[list(expected)]).all()
    with pytest.raises(VideoError, match=r"no frames between 7 s and 9 s; the video ends at 3\.00 s"):
        VideoReader(path).sample(range, start=7, end=9)


def test_facts_are_of_the_size_after_rotation(videos):
    video = VideoReader(videos["rotated_90.mp4"])
    assert (video.size, video.codec) == ((120, 160), "h264")
    assert (len(video), video.frame_rate) == (75, 25.0)
    assert video.duration == video.end_time == pytest.approx(3.0)
    assert len(VideoReader(videos["edit_list.mp4"])) == 52  # of 63 packets, 11 lie before the cut


def test_a_size_that_changes_midstream_is_scaled_to_the_first(ffmpeg, tmp_path):
    parts = []
    for i, size in enumerate(("160x120", "80x60")):
        parts.append(tmp_path / f"{i}.ts")
        source = f"testsrc2=size={size}:rate=25:duration=0.4"
        ffmpeg("-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", "-c:v", "libx264", parts[-1])
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = VideoReader(tmp_path / "both.ts").sample(range)
    assert frames.images.shape == (20, 120, 160, 3)
    assert frames.images[:10].std() > 20 and frames.images[10:].std() > 20


def test_a_choice_outside_the_video_is_the_callers_mistake(videos):
    for choice, wrong in (([3, 75], "frame 75 is out"), ([-1], "frame -1 is out"), ([], "no frame was chosen")):
        with pytest.raises(IndexError, match=rf"b_frames\.mp4: {wrong}.*; there are 75 frames, 0 to 74$"):
            VideoReader(videos["b_frames.mp4"]).frames_at(choice)


def test_arguments_of_another_type_are_said_in_one_line(videos):
    reader = VideoReader(videos["b_frames.mp4"])
    for call, says in (
        (lambda: reader.sample(range, start="1"), "start is '1'; it must be a number"),
        (lambda: reader.frames_shown(end="1"), "end is '1'; it must be a number"),
        (lambda: reader.seconds_shown("0"), "start is '0'; it must be a number"),
        (lambda: reader.frames_at([1.5]), r"frames are chosen by whole numbers, got 1\.5"),
        (lambda: reader.frames_at("12"), "frames are chosen by whole numbers, got '12'"),
        (lambda: VideoReader("a.mp4", patience="3"), "patience is '3'; it must be a number"),
        (lambda: VideoReader("a.mp4", threads="many"), "threads takes a number of at least 1"),
        (lambda: VideoReader("a.mp4", max_damaged=3), "max_damaged is 3; it is a share"),
        (lambda: VideoReader("a.mp4", max_damaged="0.1"), r"max_damaged is '0\.1'; it must be a number"),
        (lambda: Rules(threshold="0.5"), r"threshold is '0\.5'; it must be a number"),
        (lambda: interval_for(Mock(frame_interval=1), "0.2"), r"frame_interval is '0\.2'; it must be a number"),
    ):
        with pytest.raises(ConfigError, match=says):
            call()
    assert reader.frames_shown(np.float32(0.0), 1) == reader.frames_shown(0, np.int64(1))


def test_is_video_goes_by_suffix(tmp_path):
    assert is_video("a/b.MP4") and is_video("x.webm") and is_video("x.gif")
    assert not is_video("notes.txt") and not is_video(tmp_path)
