"""A server as a process of its own: a thousand requests of many clients, clients that go, signals, its end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from teinet.cli.main import main
from teinet.cli.serve import names_of, read_token
from teinet.errors import ConfigError
from tests import miniatures
from tests.conftest import command, environment
from tests.serving.conftest import MANY

CLIPS, CLIENTS, REQUESTS = 24, 32, 1000
BOUNDARY = "0b0undary"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, recognizer) -> Path:
    folder = tmp_path_factory.mktemp("server")
    recognizer.save(folder / "net.safetensors")
    for kind in range(CLIPS):
        miniatures.write(folder / "videos" / f"{kind}.mp4", kind, length=5)
    miniatures.write(folder / "videos" / "long.mp4", 1, length=601)
    (folder / "uploads").mkdir()
    return folder


class Server:
    """`teinet serve` in a process of its own."""

    def __init__(self, folder: Path):
        words = (
            "serve",
            folder / "net.safetensors",
            "--port",
            0,
            "--rate",
            MANY,
            "--allow",
            folder / "videos",
            "--batch-size",
            16,
        )
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.uploads = folder / "uploads"
        self.process = subprocess.Popen(command(*words), env={**environment(), "TMPDIR": str(self.uploads)}, **pipes)
        line = self.process.stderr.readline()
        assert line.startswith("serving net at http://127.0.0.1:"), line + self.process.stderr.read()
        self.address = line.split()[-1]
        self.port = int(self.address.rstrip("/").rpartition(":")[2])

    def count(self, name: str) -> float:
        """A number of the server's metrics."""
        lines = urlopen(f"{self.address}metrics", timeout=10).read().decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def until(self, name: str, value: float) -> None:
        """Wait until a number of the metrics is this one."""
        end = time.monotonic() + 20
        while self.count(name) != value:
            assert time.monotonic() < end, (name, self.count(name))
            time.sleep(0.02)

    def files(self) -> list[Path]:
        return list(self.uploads.glob("*/*"))


@pytest.fixture(scope="module")
def server(folder) -> Iterator[Server]:
    made = Server(folder)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def body(path: Path) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    return head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def test_a_thousand_requests_of_many_clients_each_get_their_own_answer(server, folder, recognizer):
    clips = [folder / "videos" / f"{kind}.mp4" for kind in range(CLIPS)]
    bodies = [body(clip) for clip in clips]
    wanted = list(recognizer.predict_many(clips))
    scores = np.array([each.scores for each in wanted])
    apart = np.abs(scores[:, None] - scores).max(-1)[np.triu_indices(CLIPS, 1)]
    assert np.median(apart) > 1e-3

    def ask(client: int) -> list[tuple[int, int, dict]]:
        connection, found = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60), []
        for number in range(client, REQUESTS, CLIENTS):
            connection.request("POST", "/predict", bodies[number % CLIPS], HEADERS)
            answer = connection.getresponse()
            found.append((number % CLIPS, answer.status, json.loads(answer.read())))
        connection.close()
        return found

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [each for found in pool.map(ask, range(CLIENTS)) for each in found]
    assert len(answers) == REQUESTS and {code for _, code, _ in answers} == {200}
    for number, _, answer in answers:
        want = wanted[number].to_dict()
        assert answer["path"] == clips[number].name and answer["frame_indices"] == want["frame_indices"]
        got = {each["name"]: each["score"] for each in answer["labels"]}
        assert got == pytest.approx(dict(wanted[number].labels), abs=1e-5)
    assert server.count('teinet_clips_total{model="net"}') == REQUESTS and server.count("teinet_waiting") == 0
    assert not server.files()


def test_clients_that_go_leave_nothing_behind(server, folder):
    content = body(folder / "videos" / "long.mp4")
    with socket.create_connection(("127.0.0.1", server.port)) as client:  # in the middle of its upload
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {HEADERS['Content-Type']}\r\n"
        client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[: len(content) // 2])
        server.until("teinet_waiting", 1)
    server.until("teinet_waiting", 0)
    with socket.create_connection(("127.0.0.1", server.port)) as client:  # in the middle of live events
        source = folder / "videos" / "long.mp4"
        client.sendall(f"GET /live?source={source} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        seen = b""
        while b'"connected"' not in seen:
            seen += client.recv(4096)
        assert b"200 OK" in seen and server.count("teinet_live") == 1
    server.until("teinet_live", 0)
    assert not server.files()


def test_a_port_in_use_is_one_line(server, folder, capsys):
    assert main(["serve", str(folder / "net.safetensors"), "--port", str(server.port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"teinet serve: cannot serve at 127.0.0.1:{server.port} (Address already in use); "
        "choose another --port or --host"
    )


def test_at_its_end_requests_in_work_are_answered(server, folder):
    content = body(folder / "videos" / "0.mp4")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/predict")
    for name, value in (HEADERS | {"Content-Length": str(len(content))}).items():
        connection.putheader(name, value)
    connection.endheaders(content[:1000])
    job = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    job.request("POST", "/timelines", body(folder / "videos" / "long.mp4"), HEADERS)
    assert job.getresponse().status == 202
    server.until("teinet_waiting", 1)
    server.process.send_signal(signal.SIGTERM)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", server.port)).close()
        except OSError:
            break
    else:
        raise AssertionError("it takes new requests")
    connection.send(content[1000:])
    answer = connection.getresponse()
    assert answer.status == 200 and json.loads(answer.read())["path"] == "0.mp4"
    out, err = server.process.communicate(timeout=30)
    assert (server.process.returncode, out, err) == (0, "", "stopped\n")
    assert not list(server.uploads.iterdir())


def test_weights_get_names_and_tokens_are_words(tmp_path, monkeypatch, capsys):
    assert names_of(["fights", "runs/first", "a/net.safetensors", "b=a/net.safetensors"]) == {
        "fights": "fights",
        "first": "runs/first",
        "net": "a/net.safetensors",
        "b": "a/net.safetensors",
    }
    with pytest.raises(ConfigError, match="two models are called x; give one of them another name: NAME=b/x"):
        names_of(["a/x", "b/x"])
    monkeypatch.delenv("TEINET_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("TEINET_TOKEN", "from-environment\n")
    assert read_token(None) == "from-environment"
    (tmp_path / "token").write_text("from-file\n")
    assert read_token(str(tmp_path / "token")) == "from-file"
    (tmp_path / "token").write_text("s3cret two")
    for words, says in (
        (("--token-file", tmp_path / "token"), "a token is one word; the file has 2"),
        (("--token-file", tmp_path / "none"), "cannot be read"),
        (("--allow", tmp_path / "none"), "no such folder"),
        (("--port", 70000), "--port is 70000"),
        (("--rate", 0), "--rate is 0; it must be above 0"),
        (("--host", "no.such.host.invalid"), "cannot serve at no.such.host.invalid:8000"),
    ):
        assert main(["serve", "motion_pairs", *map(str, words)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line and "s3cret" not in line
