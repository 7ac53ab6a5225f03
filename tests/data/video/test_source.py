"""What a source is called, and what kind it is; what cannot be opened."""

from __future__ import annotations

import socket

import pytest

from teinet.data.video.source import Source
from teinet.errors import ConfigError, VideoError
from tests import miniatures


@pytest.mark.parametrize(("word", "name", "address", "kind"), [
    ("camera", "camera", "camera", "camera"), ("camera:2", "camera:2", "camera:2", "camera"),
    ("/dev/video1", "/dev/video1", "/dev/video1", "camera"),
    ("rtsp://host/live", "rtsp://host/live", "rtsp://host/live", "stream"),
    ("rtsp://me:secret@host:554/a?b=c", "rtsp://host:554/a?b=c", "rtsp://me:secret@host:554/a?b=c", "stream"),
    ("front door=rtsp://me:x@host/a", "front door", "rtsp://me:x@host/a", "stream"),
    ("http://host/a=b.ts", "http://host/a=b.ts", "http://host/a=b.ts", "stream"),
    ("-", "standard input", "pipe:0", "pipe"), ("hall=film.mp4", "hall", "film.mp4", "file"),
    ("dir/a=b.mp4", "dir/a=b.mp4", "dir/a=b.mp4", "file"),
    ("file:///tmp/film.mp4", "/tmp/film.mp4", "/tmp/film.mp4", "file"),
])  # fmt: skip
def test_words_are_read_as_sources(word, name, address, kind):
    assert Source.parse(word) == Source(name, address, kind)


def test_a_file_that_is_there_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").touch()
    assert Source.parse("a=b.mp4").kind == "file" and Source.parse("a=b.mp4").address == "a=b.mp4"


@pytest.mark.parametrize(("address", "shown"), [
    ("rtsp://admin:p@ss@10.0.0.7/live", "rtsp://10.0.0.7/live"),
    ("rtsp://admin:pa/ss@10.0.0.7:554/live", "rtsp://10.0.0.7:554/live"),
    ("rtsp://admin:12/34@10.0.0.7/live", "rtsp://10.0.0.7/live"),
    ("rtsp://admin:12?3@10.0.0.7/live", "rtsp://10.0.0.7/live"),
    ("rtsp://a.b:12?3@10.0.0.7/live", "rtsp://10.0.0.7/live"),
    ("rtsp://admin:12/3?4@10.0.0.7/live", "rtsp://10.0.0.7/live"), ("http://door:80/a?b=c", "http://door:80/a?b=c"),
    ("rtsp://admin:p?a#ss@10.0.0.7/live", "rtsp://10.0.0.7/live"), ("rtsp://admin@10.0.0.7/a@b", "rtsp://10.0.0.7/a@b"),
    ("http://10.0.0.7/cam?user=admin&pwd=secret", "http://10.0.0.7/cam?user=***&pwd=***"),
    ("http://10.0.0.7/cam?channel=1&access_token=a/b?c", "http://10.0.0.7/cam?channel=1&access_token=***"),
    ("rtsp://10.0.0.7/user=admin_password=tlJ_x_channel=1_stream=0.sdp",
     "rtsp://10.0.0.7/user=***_password=***_channel=1_stream=0.sdp"),
    ("http://10.0.0.7:80/a?to=me@example.org", "http://10.0.0.7:80/a?to=me@example.org"),
    ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
])  # fmt: skip
def test_passwords_of_all_kinds_are_left_out(address, shown):
    source = Source.parse(address)
    assert source.name == shown and source.address == address
    assert (address in repr(source)) == (address == shown)


def test_an_error_that_repeats_the_address_tells_no_password(monkeypatch):
    address = "rtsp://admin:p@ss@127.0.0.1:9/x?pwd=hidden"

    def fail(*args, **options):
        raise ValueError(f"cannot find a protocol for '{address}', moved to http://admin:p@ss@other/y")

    monkeypatch.setattr("av.open", fail)
    with pytest.raises(VideoError) as caught, Source.parse(address).open():
        pass
    said = str(caught.value)
    assert "ss@" not in said and "hidden" not in said and "moved to http://other/y" in said


def test_a_stream_that_does_not_answer_is_said_in_words():
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes the connection, and says nothing
        silent = Source.parse(f"http://127.0.0.1:{server.getsockname()[1]}/x.ts")
        with pytest.raises(VideoError, match=r"cannot be opened \(no response for 0\.2 s\)"), silent.open(patience=0.2):
            pass


@pytest.mark.parametrize("word", ["", "  "])
def test_nothing_is_no_source(word):
    with pytest.raises(ConfigError, match="a source is empty"):
        Source.parse(word)


@pytest.mark.parametrize(("word", "message"), [
    ("absent.mp4", "no such file"), ("/dev/video99", "no camera"), ("camera:99", "no camera"),
    ("rtsp://me:secret@127.0.0.1:9/x", "refused"), ("nonsense://x", "cannot be opened"),
])  # fmt: skip
def test_what_is_not_there_is_said_in_one_line_without_passwords(word, message):
    with pytest.raises(VideoError, match=message) as caught, Source.parse(word).open():
        pass
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_sound_alone_is_no_video(videos):
    with pytest.raises(VideoError, match="no video"), Source.parse(str(videos["only_audio.mp4"])).open():
        pass


def test_a_file_opens(tmp_path):
    with Source.parse(str(miniatures.write(tmp_path / "a.mp4", 3))).open() as (container, stream):
        assert sum(1 for _ in container.decode(stream)) == 10


def test_a_number_is_a_camera_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Source.parse("1") == Source("camera:1", "camera:1", "camera")
    (tmp_path / "1").touch()
    assert Source.parse("1").kind == "file"
