"""Each frame has its own time and duration, those that ffmpeg's program gives, whatever the container's clock does."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from teinet.data.video.clocks import Continued
from teinet.data.video.reader import VideoReader
from teinet.errors import VideoError
from tests import miniatures

X264 = ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast")
UNEVEN = ("-vf", "select='not(mod(n,3))+not(mod(n,7))'", "-fps_mode", "vfr")


def source(rate: str, seconds: float) -> tuple[str, ...]:
    return "-f", "lavfi", "-i", f"testsrc2=size=64x48:rate={rate}:duration={seconds}"


@pytest.fixture
def truth(ffmpeg):
    """The seconds at which ffmpeg's program shows the frames of a file."""

    def times(path: Path) -> list[float]:
        tick = ("-enc_time_base", "1/90000")
        crc = ("-map", "0:v:0", "-fps_mode", "passthrough", *tick, "-f", "framecrc", "-")
        lines = ffmpeg("-i", path, *crc).decode().splitlines()
        numerator, denominator = next(line for line in lines if line.startswith("#tb")).split()[-1].split("/")
        stamps = [int(line.split(",")[2]) for line in lines if not line.startswith("#")]
        return [stamp * int(numerator) / int(denominator) for stamp in stamps]

    return times


def assert_times(path: Path, want: list[float], end: float) -> None:
    reader = VideoReader(path)
    np.testing.assert_allclose(reader.times, want, atol=2e-3)
    np.testing.assert_allclose([frame.time for frame in reader], want, atol=2e-3)
    np.testing.assert_allclose(reader.durations[:-1], np.diff(want), atol=4e-3)
    assert reader.end_time == pytest.approx(end, abs=5e-3)


@pytest.mark.parametrize("codec", ["bf=0", "bf=2"])
@pytest.mark.parametrize("uneven", [False, True])
def test_a_clock_that_starts_again_goes_on(ffmpeg, truth, tmp_path, codec, uneven):
    """Recordings of two seconds, appended to each other as `cat` does."""
    more = UNEVEN if uneven else ()
    part = tmp_path / "part.ts"
    ffmpeg(*source("10", 2), *more, *X264, "-x264-params", codec, part)
    (tmp_path / "thrice.ts").write_bytes(part.read_bytes() * 3)
    reader = VideoReader(tmp_path / "thrice.ts")
    alone = VideoReader(part)
    want = truth(tmp_path / "thrice.ts")
    if uneven:  # ffmpeg's program knows no duration of the last frame
        want = [k * alone.end_time + time for k in range(3) for time in truth(part)]
    assert_times(tmp_path / "thrice.ts", want, 3 * alone.end_time)
    assert reader.frame_rate == pytest.approx(len(alone) / alone.end_time, rel=0.02)
    assert [frame.index for frame in reader if frame.is_discontinuity] == [0, len(alone), 2 * len(alone)]
    second = reader.sample(range, alone.end_time, 2 * alone.end_time)
    assert second.indices.tolist() == list(range(len(alone), 2 * len(alone)))
    np.testing.assert_array_equal(second.images, alone.sample(range).images)


def test_a_clock_that_falls_back_is_no_jump_of_a_day(ffmpeg, truth, tmp_path):
    """FFmpeg takes it for the end of a clock's range of 33 bits."""
    for name, offset in (("late", "500"), ("early", "0")):
        ffmpeg(*source("10", 1), *X264, "-bf", "0", "-output_ts_offset", offset, tmp_path / f"{name}.ts")
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "late.ts").read_bytes() + (tmp_path / "early.ts").read_bytes())
    assert_times(both, truth(both), 2.0)


def test_a_clock_at_the_end_of_its_range(ffmpeg, tmp_path):
    ffmpeg(*source("10", 4), *X264, "-bf", "0", "-muxdelay", "0", "-output_ts_offset", "95441", tmp_path / "wrap.ts")
    assert_times(tmp_path / "wrap.ts", [i / 10 for i in range(40)], 4.0)


def test_times_that_damage_has_exchanged_are_kept():
    """The clock has not started again where packets are still decoded in order."""
    clock = Continued()
    found = [
        clock(time, 0.1, decoded) for time, decoded in ((0.0, 0), (0.3, 1), (0.1, 2), (0.4, 3), (0.0, 0), (0.1, 1))
    ]
    times = [time for time, _ in found]
    assert times == pytest.approx([0.0, 0.3, 0.1, 0.4, 0.5, 0.6])
    assert [restarted for _, restarted in found] == [False] * 4 + [True, False]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_sound_that_begins_before_the_images(ffmpeg, truth, tmp_path, suffix):
    path = tmp_path / f"late.{suffix}"
    sound = ("-f", "lavfi", "-i", "sine=duration=4")
    ffmpeg(*sound, "-itsoffset", "1.5", *source("25", 2), "-map", "0", "-map", "1", *X264, "-c:a", "aac", path)
    reader = VideoReader(path)
    assert reader.times[0] == pytest.approx(1.5, abs=0.05) and reader.duration == pytest.approx(2.0, abs=2e-3)
    assert_times(path, [reader.times[0] + i / 25 for i in range(50)], reader.times[0] + 2.0)
    with pytest.raises(VideoError, match="no frames between 0 s and 1 s"):
        reader.frames_shown(0, 1)


def test_an_edit_list_that_skips(ffmpeg, truth, tmp_path):
    ffmpeg(*source("25", 4), *UNEVEN, *X264, "-bf", "2", tmp_path / "whole.mp4")
    ffmpeg("-ss", "0.93", "-i", tmp_path / "whole.mp4", "-c", "copy", tmp_path / "cut.mp4")
    want = truth(tmp_path / "cut.mp4")
    assert_times(tmp_path / "cut.mp4", want, want[-1] + VideoReader(tmp_path / "whole.mp4").durations[-1])


def test_a_picture_that_stands(ffmpeg, tmp_path):
    """Frames at 0, 40, ... 200 ms, then one that stands from 1 s on; nothing begins between 0.24 and 1 s."""
    stamps = [*range(0, 240, 40), 1000]
    for suffix, options in (("mp4", X264), ("mkv", X264), ("webm", ("-c:v", "libvpx"))):
        path = tmp_path / f"still.{suffix}"
        chosen = "+".join(f"eq(n,{stamp // 40})" for stamp in stamps)
        ffmpeg(*source("25", 2), "-vf", f"select='{chosen}'", "-fps_mode", "vfr", *options, path)
        reader = VideoReader(path)
        np.testing.assert_allclose(reader.times, np.array(stamps) / 1000, atol=1e-3)
        assert reader.frames_shown(0.3, 0.9) == range(5, 6)  # it stands there
        assert reader.frames_shown(0.1, 0.2) == range(2, 5)  # from within the frame at 0.08 s
        assert reader.frames_shown(0.2, 1.01) == range(5, 7)
        assert reader.seconds_shown(0.3, 0.9) == pytest.approx(0.6)
        assert reader.seconds_shown() == pytest.approx(1.04, abs=2e-3) == reader.end_time
        assert reader.rate_of(range(5)) == pytest.approx(25, abs=0.1)
        frames = reader.sample(range, 0.3, 0.9)
        np.testing.assert_array_equal(frames.images[0], reader.frames_at([5]).images[0])
        with pytest.raises(VideoError, match=r"no frames between 2 s and 3 s; the video ends at 1\.04 s"):
            reader.frames_shown(2, 3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_last_picture_that_stands(ffmpeg, tmp_path, suffix):
    """Half a second of frames, the last of which is shown for eight more."""
    ffmpeg(*source("25", 0.48), *X264, "-bf", "0", tmp_path / "short.mp4")
    with av.open(str(tmp_path / "short.mp4")) as old, av.open(str(tmp_path / f"still.{suffix}"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        packets[-1].duration = round(8 / packets[-1].time_base)
        for packet in packets:
            packet.stream = stream
            new.mux(packet)
    reader = VideoReader(tmp_path / f"still.{suffix}")
    assert reader.end_time == pytest.approx(0.44 + 8, abs=2e-3) and reader.durations[-1] == pytest.approx(8, abs=2e-3)
    assert reader.frames_shown(5, 6) == range(11, 12) and reader.frames_shown(5) == range(11, 12)


@pytest.mark.parametrize("rate", [0.5, 0.1])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
def test_low_rates(ffmpeg, tmp_path, rate, suffix):
    path = tmp_path / f"slow.{suffix}"
    ffmpeg(*source(str(rate), 5 / rate), *(("-c:v", "mpeg4") if suffix == "avi" else X264), path)
    reader = VideoReader(path)
    assert reader.frame_rate == pytest.approx(rate) and reader.end_time == pytest.approx(5 / rate)
    assert reader.frames_shown(1.25 / rate, 1.75 / rate) == range(1, 2)


def test_a_recording_without_durations(ffmpeg, tmp_path):
    """A browser's webm: the container has ticks of a millisecond and no rate."""
    stamps = [0, 31, 65, 110, 160, 195, 241, 270]
    with av.open(str(tmp_path / "rec.webm"), "w") as out:
        stream = out.add_stream("libvpx", rate=25)
        stream.width = stream.height = 32
        stream.codec_context.time_base = Fraction(1, 1000)
        packets = []
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(miniatures.frames(5, 10)[number], format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            packets += stream.encode(frame)
        for packet in packets + stream.encode():
            packet.duration = 0
            out.mux(packet)
    data = bytearray((tmp_path / "rec.webm").read_bytes())
    place = data.find(b"\x23\xe3\x83")  # DefaultDuration: made an empty element
    if place >= 0:
        length = 3 + 1 + (data[place + 3] & 0x7F)
        data[place : place + length] = b"\xec" + bytes([0x80 | (length - 2)]) + bytes(length - 2)
    (tmp_path / "rec.webm").write_bytes(data)
    reader = VideoReader(tmp_path / "rec.webm")
    assert reader.times * 1000 == pytest.approx(stamps, abs=0.5)
    assert reader.frame_rate == pytest.approx(7 / 0.27, rel=0.01)
    assert 0.27 <= reader.end_time < 0.33


@pytest.mark.parametrize(("name", "rate", "options"), [
    ("raw.h264", 10, X264), ("raw.hevc", 10, ("-c:v", "libx265", "-x265-params", "log-level=none")),
    ("raw.m2v", 25, ("-c:v", "mpeg2video")),
])  # fmt: skip
def test_raw_streams_have_the_rate_that_their_frames_state(ffmpeg, tmp_path, name, rate, options):
    ffmpeg(*source(str(rate), 2), "-pix_fmt", "yuv420p", *options, tmp_path / name)
    reader = VideoReader(tmp_path / name)
    assert reader.frame_rate == pytest.approx(rate) and reader.duration == pytest.approx(2.0, abs=1e-3)
    np.testing.assert_allclose([frame.time for frame in reader], reader.times, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 25])
def test_dv_has_its_standards_rate(ffmpeg, tmp_path, count):
    dv = ("-pix_fmt", "yuv420p", "-c:v", "dvvideo", "-frames:v", str(count))
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=720x576:rate=25:duration=1", *dv, tmp_path / "clip.dv")
    reader = VideoReader(tmp_path / "clip.dv")
    assert (len(reader), reader.frame_rate, reader.duration) == (count, pytest.approx(25), pytest.approx(count / 25))
    with reader.open() as frames:
        assert frames.frame_interval == pytest.approx(0.04)


@pytest.mark.parametrize("name", ["one.mp4", "one.mkv", "one.ts", "one.webm", "one.avi", "one.h264"])
def test_one_frame(ffmpeg, tmp_path, name):
    codec = {"webm": "libvpx", "avi": "mpeg4"}.get(name[4:], "libx264")
    ffmpeg(*source("25", 0.04), "-pix_fmt", "yuv420p", "-c:v", codec, tmp_path / name)
    reader = VideoReader(tmp_path / name)
    assert (len(reader), reader.frame_rate, reader.end_time) == (1, pytest.approx(25), pytest.approx(0.04))
    assert reader.frames_shown(0.02, 0.03) == range(1)
