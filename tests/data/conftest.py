"""Small videos made by ffmpeg's own program, and what that program decodes from them: the truth for teinet.data."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., bytes]:
    """Run ffmpeg's program (of the imageio-ffmpeg wheel: another build than the one in PyAV) and return its output."""
    program = pytest.importorskip("imageio_ffmpeg", reason="ground truth comes from its ffmpeg").get_ffmpeg_exe()

    def run(*arguments: str | Path, ok: bool = True) -> bytes:
        command = [program, "-v", "error", "-nostdin", "-y", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, timeout=60)
        if done.returncode < 0:
            pytest.skip(f"ffmpeg's program crashed, {done.returncode}")  # FFmpeg 7.0 does on a damaged stream
        assert done.returncode == 0 or not ok, done.stderr.decode(errors="replace")
        return done.stdout

    return run


@pytest.fixture(scope="session")
def truth(ffmpeg) -> Callable[..., np.ndarray]:
    """Decode all frames of a file with ffmpeg's program: (N, H, W, 3) RGB, or with luma=True the stored (N, H, W) Y."""

    def decode(path: Path, height: int, width: int, luma: bool = False, pixels: str = "yuv420p") -> np.ndarray:
        output = ffmpeg(
            "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo",
            "-pix_fmt", pixels if luma else "rgb24", "-",
        )  # fmt: skip
        data = np.frombuffer(output, np.uint8)
        if not luma:
            return data.reshape(-1, height, width, 3)
        chroma = {"yuv420p": 2 * (-(-height // 2)) * (-(-width // 2)), "yuv444p": 2 * height * width}
        size = height * width + chroma[pixels.replace("yuvj", "yuv")]
        return data.reshape(-1, size)[:, : height * width].reshape(-1, height, width)

    return decode


@pytest.fixture(scope="session")
def videos(ffmpeg, tmp_path_factory) -> dict[str, Path]:
    """Videos of many kinds, 1 to 3 s, by name."""
    folder = tmp_path_factory.mktemp("videos")
    pattern = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=3")
    short = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=1")
    odd = ("-f", "lavfi", "-i", "testsrc2=size=161x121:rate=25:duration=1")
    yuv = ("-pix_fmt", "yuv420p")
    x264 = ("-c:v", "libx264", "-preset", "veryfast")
    made: dict[str, Path] = {}

    def make(name: str, *arguments: str | Path) -> None:
        made[name] = folder / name
        ffmpeg(*arguments, folder / name)

    make("b_frames.mp4", *pattern, *yuv, *x264, "-bf", "3", "-g", "12")
    source = made["b_frames.mp4"]
    make("open_gop.mp4", *pattern, *yuv, *x264, "-bf", "3", "-g", "12", "-x264-params", "open-gop=1:scenecut=0")
    make("refresh.mp4", *pattern, *yuv, *x264, "-g", "12", "-x264-params", "intra-refresh=1")
    closed = ("-flags", "+cgop", "-sc_threshold", "1000000000")
    make("mpeg4_b.mp4", *pattern, "-c:v", "mpeg4", "-bf", "2", "-g", "12", *closed)
    x265 = ("-c:v", "libx265", "-preset", "ultrafast")
    make("hevc.mkv", *pattern, *yuv, *x265, "-x265-params", "log-level=none:keyint=15:open-gop=0")
    make("ten_bit.mp4", *short, "-pix_fmt", "yuv420p10le", *x264)
    make("vp9.webm", *pattern, *yuv, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "20")
    hidden = ("-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "300k")
    make("vp8_hidden.webm", *pattern, *yuv, "-c:v", "libvpx", *hidden)
    make("mpeg4_b.avi", *pattern, "-c:v", "mpeg4", "-bf", "2", "-g", "12")
    make("msmpeg4.avi", *short, "-c:v", "msmpeg4v2")
    make("mjpeg.avi", *short, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p")
    make("edit_list.mp4", "-ss", "0.9", "-i", source, "-c", "copy")
    make("stream.ts", "-i", source, "-c", "copy")
    make("stream.flv", "-i", source, "-c", "copy")
    make("h264.mkv", "-i", source, "-c", "copy")
    make("variable_rate.mp4", *pattern, *yuv, "-vf", "select='not(mod(n,3))+not(mod(n,7))'", "-fps_mode", "vfr", *x264)
    make("odd_444.mp4", *odd, "-pix_fmt", "yuv444p", *x264)
    make("odd_420.webm", *odd, *yuv, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
    bt709 = "scale=out_color_matrix=bt709:out_range={0},format=yuv420p,setparams=colorspace=bt709:range={0}"
    make("bt709.mp4", *short, "-vf", bt709.format("tv"), "-colorspace", "bt709", *x264)
    make("full_range.mp4", *short, "-vf", bt709.format("pc"), "-colorspace", "bt709", "-color_range", "pc", *x264)
    # H.264 says full range by its pixel format, too; these do not
    full = ("-vf", "scale=out_range=pc", "-color_range", "pc")
    make("full_range.webm", *short, *full, *yuv, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
    make("full_range_ten_bit.mp4", *short, *full, "-pix_fmt", "yuv420p10le", *x264)
    make("one_frame.mp4", *short, *yuv, "-frames:v", "1", *x264)
    make("one_frame.png", *short, "-frames:v", "1")
    make("animation.gif", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10:duration=2")
    make(
        "transparent.gif", "-f", "lavfi",
        "-i", "testsrc2=size=160x120:rate=10:duration=1,format=rgba,colorchannelmixer=aa=0.4",
    )  # fmt: skip
    for turn in (90, 180, 270):
        make(f"rotated_{turn}.mp4", "-display_rotation", str(turn), "-i", source, "-c", "copy")
    make("flipped_90.mp4", "-display_rotation", "90", "-display_hflip", "-i", source, "-c", "copy")
    make("mirrored.mp4", "-display_hflip", "-i", source, "-c", "copy")
    make("with_audio.mp4", "-f", "lavfi", "-i", "sine=duration=3", "-i", source, "-c:v", "copy", "-c:a", "aac")
    make("faststart.mp4", "-i", source, "-c", "copy", "-movflags", "+faststart")
    make("fragments.mp4", "-i", source, "-c", "copy", "-movflags", "frag_keyframe+empty_moov")
    make("only_audio.mp4", "-f", "lavfi", "-i", "sine=duration=1")
    return made


@pytest.fixture(scope="session")
def real_clips() -> list[Path]:
    folder = Path(__file__).parents[3] / "shared" / "data" / "clips"
    if not folder.is_dir():
        pytest.skip(f"the real clips are not there ({folder.name})")
    return sorted(path for path in folder.iterdir() if path.suffix in (".mp4", ".avi", ".gif"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep the tests' index cache out of the user's home, and every test's memory its own."""
    from teinet.data.video.index import clear_memory

    monkeypatch.setenv("TEINET_CACHE", str(tmp_path_factory.getbasetemp() / "teinet-cache"))
    clear_memory()
