"""Memory follows what the network sees: few whole frames are held, however many and however large they are."""

from __future__ import annotations

import gc
import struct
import tracemalloc
import zlib

import av
import numpy as np
import pytest
from PIL import Image

from teinet.data.dataset import Draw, TrainingClips
from teinet.data.lists.rows import Row, to_clips
from teinet.data.sampling import Sampling
from teinet.data.transforms import Augmentation, Preprocessing, test_crops
from teinet.data.video import frames as video_frames
from teinet.data.video.reader import VideoReader
from teinet.data.video.writer import write_video
from teinet.data.view_loading import load_views
from teinet.errors import VideoError

HEIGHT, WIDTH, COUNT = 960, 1280, 24
WHOLE = 3 * HEIGHT * WIDTH  # bytes of a frame: 3.7 MB, 88 MB all of them
SMALL = Preprocessing(size=28, short_side=32)


def image(number: int) -> np.ndarray:
    rows, columns = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")
    return np.stack([(rows + 9 * number) % 256, columns % 256, 0 * rows + 8 * number], -1).astype(np.uint8)


@pytest.fixture(scope="module", params=["video", "images"])
def large(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    if request.param == "video":
        return str(write_video(folder / "large.mp4", np.stack([image(number) for number in range(COUNT)]), 25))
    for number in range(COUNT):
        Image.fromarray(image(number)).save(folder / f"{number:03}.jpg")
    return str(folder)


def peak(work) -> int:
    """Return the most bytes that numpy and Python allocate during `work`."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_views_of_a_large_video_hold_few_whole_frames(large):
    len(VideoReader(large))
    assert peak(lambda: load_views(large, Sampling(num_frames=8), SMALL, "3x3")) < 8 * WHOLE
    assert peak(lambda: VideoReader(large).frames_at(range(COUNT))) > COUNT * WHOLE  # the measure sees them


def test_a_training_clip_of_a_large_video_holds_few_whole_frames(large):
    clips = to_clips([Row(path=large, label="a"), Row(path=large, label="b")], source="list")
    data = TrainingClips(clips, Sampling(num_frames=16), SMALL, Augmentation(hflip=True))
    assert peak(lambda: data[Draw(0, 1)]) < 8 * WHOLE


@pytest.mark.parametrize("fitting", [1, 3, 100])
def test_frames_resized_in_parts_are_those_resized_together(large, fitting, monkeypatch):
    monkeypatch.setattr(video_frames, "_WHOLE_BYTES", fitting * WHOLE)
    loaded = load_views(large, Sampling(num_frames=4), SMALL, "2x3")
    for clip in range(2):
        together = test_crops(VideoReader(large).frames_at(loaded.indices[clip]).images, SMALL, 3, True)
        assert np.array_equal(loaded.frames[3 * clip : 3 * clip + 3], together)


def test_a_decoded_frame_is_freed_at_once(tmp_path):
    """Not when Python next looks for cycles: by then hundreds of frames may have come."""
    path = write_video(tmp_path / "a.mp4", np.zeros((40, 48, 64, 3), np.uint8), 25)
    gc.collect()
    gc.disable()
    try:
        for frame in VideoReader(path):
            _ = frame.image
        left = sum(type(item) is av.VideoFrame for item in gc.get_objects())
    finally:
        gc.enable()
    assert left < 5


def test_a_few_bytes_that_claim_a_huge_frame_are_refused(tmp_path):
    """A GIF of one pixel on a canvas of 16000 x 16000, which took 2.5 GB, and a PNG without pixels."""
    gif = tmp_path / "bomb.gif"
    canvas, pixel = struct.pack("<HH", 16000, 16000), struct.pack("<HHHH", 0, 0, 1, 1)
    colors = b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    gif.write_bytes(b"GIF89a" + canvas + colors + b"," + pixel + b"\0\2\2D\1\0;")
    with pytest.raises(VideoError, match=r"16000x16000.*too large"):
        VideoReader(gif).frames_at([0])
    png = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0), b"IDAT"):
        png += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(png)
    with pytest.raises(VideoError, match=r"1\.png is too large"):
        VideoReader(tmp_path / "images").frames_at([0])
