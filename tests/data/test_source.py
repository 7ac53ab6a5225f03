"""What a source is called, and what kind it is; what cannot be opened."""

from __future__ import annotations

import pytest

from teinet.data.source import Source
from teinet.errors import ConfigError, VideoError
from tests import miniatures


@pytest.mark.parametrize(
    ("word", "name", "address", "kind"),
    [
        ("camera", "camera", "camera", "camera"),
        ("camera:2", "camera:2", "camera:2", "camera"),
        ("/dev/video1", "/dev/video1", "/dev/video1", "camera"),
        ("rtsp://host/live", "rtsp://host/live", "rtsp://host/live", "stream"),
        ("rtsp://me:secret@host:554/a?b=c", "rtsp://host:554/a?b=c", "rtsp://me:secret@host:554/a?b=c", "stream"),
        ("front door=rtsp://me:x@host/a", "front door", "rtsp://me:x@host/a", "stream"),
        ("http://host/a=b.ts", "http://host/a=b.ts", "http://host/a=b.ts", "stream"),
        ("-", "standard input", "pipe:0", "pipe"),
        ("hall=film.mp4", "hall", "film.mp4", "file"),
        ("dir/a=b.mp4", "dir/a=b.mp4", "dir/a=b.mp4", "file"),
        ("file:///tmp/film.mp4", "/tmp/film.mp4", "/tmp/film.mp4", "file"),
    ],
)
def test_words_are_read_as_sources(word, name, address, kind):
    assert Source.parse(word) == Source(name, address, kind)


def test_a_file_that_is_there_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").touch()
    assert Source.parse("a=b.mp4").kind == "file" and Source.parse("a=b.mp4").address == "a=b.mp4"


@pytest.mark.parametrize("word", ["", "  "])
def test_nothing_is_no_source(word):
    with pytest.raises(ConfigError, match="no name"):
        Source.parse(word)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("absent.mp4", "no such file"),
        ("/dev/video99", "no camera"),
        ("camera:99", "no camera"),
        ("rtsp://me:secret@127.0.0.1:9/x", "refused"),
        ("nonsense://x", "cannot be opened"),
    ],
)
def test_what_is_not_there_is_said_in_one_line_without_passwords(word, message):
    with pytest.raises(VideoError, match=message) as caught, Source.parse(word).open():
        pass
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_sound_alone_is_no_video(tmp_path):
    import av
    import numpy as np

    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.rate = 8000
        out.mux(stream.encode(sound))
    with pytest.raises(VideoError, match="no video"), Source.parse(str(path)).open():
        pass


def test_a_file_opens(tmp_path):
    path = miniatures.write(tmp_path / "a.mp4", 3)
    with Source.parse(str(path)).open() as (container, stream):
        assert sum(1 for _ in container.decode(stream)) == 10
