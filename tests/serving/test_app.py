"""Answers over HTTP: those of the recognizer itself, and one line of JSON for everything that is refused."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from teinet import Recognizer
from teinet.data.video.index import cache_file
from teinet.export.formats import find_format
from teinet.serving import ServedModel
from teinet.serving.gate import PAGE
from tests import miniatures
from tests.serving.conftest import left_over


def send(client, path: Path, **fields):
    with path.open("rb") as file:
        return client.post("/predict", files={"file": (path.name, file)}, data=fields)


def same(answer: dict, want: dict) -> None:
    """The same prediction, scores up to rounding."""
    for one, other in zip(answer["labels"], want["labels"], strict=True):
        assert one["name"] == other["name"] and one["score"] == pytest.approx(other["score"], abs=1e-5)
    assert {**answer, "labels": 0, "model": 0, "path": 0} == {**want, "labels": 0, "model": 0, "path": 0}


def test_an_upload_is_answered_as_the_recognizer_answers(client, recognizer, videos):
    server = client()
    for kind in range(3):
        answer = send(server, videos / f"{kind}.mp4")
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        found = answer.json()
        assert found["model"] == "net" and found["path"] == f"{kind}.mp4"
        same(found, recognizer(videos / f"{kind}.mp4").to_dict())
    fields = {"views": "2x1", "top_k": 2, "start": 0.5, "end": 1.5}
    want = recognizer(videos / "0.mp4", **fields).to_dict()
    same(send(server, videos / "0.mp4", **fields).json(), want)
    with (videos / "0.mp4").open("rb") as file:
        same(server.post("/predict", files={"file": file}, params=fields).json(), want)
    assert not left_over(server)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_an_exported_file_is_served_in_its_place(client, recognizer, videos, tmp_path, format):
    """Its step too: timelines borrow a copy."""
    file = tmp_path / f"net{find_format(format).suffix}"
    recognizer.export(file, format=format)
    server = client(models={"net": ServedModel(Recognizer.load(file))})
    same(send(server, videos / "1.mp4").json(), recognizer(videos / "1.mp4").to_dict())
    with (videos / "film.mp4").open("rb") as film:
        started = server.post("/timelines", files={"file": ("film.mp4", film)}, data={"threshold": 0.2})
    assert started.status_code == 202, started.text


def test_an_address_under_an_allowed_folder_is_answered_too(client, recognizer, videos):
    server = client(allow=[str(videos)])
    path = str(videos / "1.mp4")
    answer = server.post("/predict", json={"address": path, "top_k": 1})
    assert answer.status_code == 200
    same(answer.json(), recognizer(path, top_k=1).to_dict())
    assert answer.json()["path"] == path
    missing = server.post("/predict", json={"address": str(videos / "no.mp4")})
    assert missing.status_code == 422 and missing.json() == {"error": "no such file or folder"}


def test_no_way_leads_out_of_the_allowed_folder(client, videos, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "inner-too").mkdir()
    for place in (tmp_path, tmp_path / "inner-too"):
        (place / "out.mp4").write_bytes((videos / "0.mp4").read_bytes())
    (inner / "link.mp4").symlink_to(tmp_path / "out.mp4")
    (inner / "folder").symlink_to(tmp_path)
    server = client(allow=[str(inner)])
    for address in (
        tmp_path / "out.mp4", inner / ".." / "out.mp4", tmp_path / "inner-too" / "out.mp4", inner / "link.mp4",
        inner / "folder" / "out.mp4", f"file://{inner}/link.mp4", f"{inner}/\0", "", "concat:/etc/passwd", "camera",
        "pipe:0", "-", "subfile:/etc/passwd", f"{inner}/../../../../../../etc/passwd", "rtsp://127.0.0.1/x", "/",
        "\ud800", "~/x", f"{inner}/\ud800",
    ):  # fmt: skip
        body = json.dumps({"address": str(address)}).encode()
        answer = server.post("/predict", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 403) and list(answer.json()) == ["error"], address
    none = client().post("/predict", json={"address": str(videos / "0.mp4")})
    assert none.status_code == 403 and none.json() == {
        "error": "this server opens no addresses (--allow); upload the file"
    }


def test_names_of_uploads_are_no_paths(client, videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server, content = client(), (videos / "0.mp4").read_bytes()
    for name, shown in (
        ("../../../../tmp/evil.mp4", "evil.mp4"), ("/etc/evil.mp4", "evil.mp4"), ("C:\\evil.mp4", "evil.mp4"),
        ("a\nb.mp4", "a b.mp4"), ("<b>.mp4", "<b>.mp4"), ("x" * 900, "x" * 200), ("é.mp4", "é.mp4"), (".", "."),
    ):  # fmt: skip
        answer = server.post("/predict", files={"file": (name, content)})
        assert answer.status_code == 200 and answer.json()["path"].replace("%0A", " ") == shown
    assert not list(tmp_path.iterdir()) and not left_over(server)


@pytest.mark.parametrize(("fields", "says"), [
    ({"topk": "3"}, "unknown field 'topk'. Did you mean 'top_k'?"),
    ({"top_k": "0"}, "top_k is '0': input should be greater than or equal to 1"),
    ({"top_k": "many"}, "top_k is 'many'"),
    ({"start": "nan"}, "start is 'nan'"),
    ({"start": "2", "end": "1"}, "no frames between 2 s and 1 s"),
    ({"views": "ten"}, "views 'ten' cannot be parsed"),
    ({"views": "9" * 18 + "x1"}, "this server looks at 30 views at most"),
    ({"views": "9" * 5000 + "x1"}, "views is '999"),
    ({"views": "40x3"}, "this server looks at 30 views at most"),
    ({"model": "other"}, "there is no model 'other': net."),
    ({"address": "/x"}, "send one video"),
])  # fmt: skip
def test_a_wrong_field_is_named(client, videos, fields, says):
    answer = send(client(), videos / "0.mp4", **fields)
    assert answer.status_code in (400, 422)
    (error,) = answer.json().values()
    assert says in error and "\n" not in error


def test_a_body_of_another_form_is_refused(client, videos):
    server = client()
    for code, how in (
        (415, {"content": b"x"}),
        (415, {"content": b"a=b", "headers": {"content-type": "application/x-www-form-urlencoded"}}),
        (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (400, {"json": ["x"]}),
        (400, {"json": {}}),
        (400, {"json": {"address": 3}}),
        (413, {"json": {"address": "x" * 100_000}}),
        (400, {"files": {"video": b"x"}}),
        (400, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
        (400, {"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=x"}}),
        (400, {"files": [("file", ("a.mp4", b"x")), ("file", ("b.mp4", b"x"))]}),
        (400, {"files": {"file": b"x"}, "params": {"top_k": 1}, "data": {"top_k": 2}}),
    ):
        answer = server.post("/predict", **how)
        assert answer.status_code == code and list(answer.json()) == ["error"], (how, answer.text)
    assert server.get("/predict").status_code == 405 and list(server.get("/predict").json()) == ["error"]
    assert server.get("/docs").status_code == server.get("/nothing").status_code == 404
    assert list(server.get("/nothing").json()) == ["error"]


def test_what_is_no_video_gets_the_reason_that_a_prediction_has(client, recognizer, videos, tmp_path):
    server = client()
    for name, content in (
        ("garbage.mp4", bytes(range(256)) * 99),
        ("empty.mp4", b""),
        ("notes.mp4", b"hello\n" * 99),
        ("cut.mp4", (videos / "0.mp4").read_bytes()[:3000]),
    ):
        (tmp_path / name).write_bytes(content)
        answer = send(server, tmp_path / name)
        assert answer.status_code == 422, name
        assert answer.json() == {"error": next(recognizer.predict_many([tmp_path / name])).error}
    assert not left_over(server)


def test_a_file_that_names_others_does_not_open_them(client, tmp_path):
    """FFmpeg reads both of them as the video that they name."""
    video, server = miniatures.write(tmp_path / "video.ts", 0), client(allow=[str(tmp_path)])
    (tmp_path / "a.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n")
    (tmp_path / "b.mp4").write_text("ffconcat version 1.0\nfile video.ts\n")
    for name, code in (("video.ts", 200), ("a.m3u8", 422), ("b.mp4", 422)):
        answer = server.post("/predict", json={"address": str(tmp_path / name)})
        assert answer.status_code == code, answer.text
        assert send(server, tmp_path / name).status_code == code


def test_what_is_too_large_or_too_long_is_refused(client, videos):
    size = (videos / "0.mp4").stat().st_size
    answer = send(client(limits={"upload_mb": size / 2e6}), videos / "0.mp4")
    assert answer.status_code == 413 and "--max-upload" in answer.json()["error"]
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + bytes(200_000)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    chunks = (body[at : at + 1000] for at in range(0, len(body), 1000))  # without a stated length
    answer = client(limits={"upload_mb": 0.1}).post("/predict", content=chunks, headers=headers)
    assert answer.status_code == 413 and "--max-upload" in answer.json()["error"]
    for name, limit, says in (("seconds", 1.0, "2 s; this server takes 1 s"), ("frames", 20, "21 frames")):
        server = client(limits={name: limit})
        answer = send(server, videos / "0.mp4")
        assert answer.status_code == 413 and says in answer.json()["error"]
        with (videos / "0.mp4").open("rb") as file:
            assert server.post("/timelines", files={"file": file}).status_code == 413
        assert not left_over(server)


def test_a_token_is_needed_where_one_is_set(client, videos, caplog):
    server = client(token="s3cret")
    for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic s3cret"}, {"authorization": "é"}):
        for path in ("/models", "/metrics", "/openapi.json", "/timelines/1", "/live?source=x", "/nothing"):
            answer = server.get(path, headers={k: v.encode() for k, v in headers.items()})
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert list(answer.json()) == ["error"] and "s3cret" not in answer.text
        with (videos / "0.mp4").open("rb") as file:
            assert server.post("/predict", files={"file": file}).status_code == 401
    headers = {"authorization": "Bearer s3cret"}
    assert server.get("/models", headers=headers).status_code == 200
    with (videos / "0.mp4").open("rb") as file:
        assert server.post("/predict", files={"file": file}, headers=headers).status_code == 200
    assert server.get("/health").json()["status"] == "ok"
    assert "s3cret" not in caplog.text + "".join(server.get(f"/{name}").text for name in ("", *PAGE))


def test_other_names_and_other_sites_are_refused_without_a_token(client, videos):
    server = client()
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}, {"host": "[::1"}):
        answer = server.get("/models", headers=headers)
        assert answer.status_code == 403 and list(answer.json()) == ["error"], headers
    assert server.get("/models", headers={"host": "localhost:9", "origin": "http://localhost:9"}).status_code == 200
    assert client(token="x").get("/health", headers={"host": "name.example"}).status_code == 200
    assert client(host="0.0.0.0").get("/health", headers={"host": "name.example"}).status_code == 200


def test_a_client_that_asks_too_often_has_to_wait(client):
    server = client(limits={"rate": 3})
    assert [server.get("/models").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = server.get("/models")
    assert int(answer.headers["retry-after"]) in range(1, 22) and "3 requests a minute" in answer.json()["error"]
    assert server.get("/health").status_code == 200


def test_a_full_queue_and_a_slow_request_are_answered(client, recognizer, videos, monkeypatch):
    free = threading.Event()
    monkeypatch.setattr(recognizer, "decode", lambda *_, **__: free.wait(30) and None)
    server = client(limits={"waiting": 2, "timeout": 1.5})
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(send, server, videos / "0.mp4") for _ in range(2)]
        until = time.monotonic() + 10
        while "teinet_waiting 2.0" not in server.get("/metrics").text and time.monotonic() < until:
            time.sleep(0.01)
        answer = send(server, videos / "0.mp4")
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
        for each in slow:
            assert each.result().status_code == 408 and "1.5 s (--timeout)" in each.result().json()["error"]
    free.set()
    monkeypatch.undo()
    until = time.monotonic() + 20
    while (answer := send(server, videos / "0.mp4")).status_code == 408 and time.monotonic() < until:
        pass  # a machine with other work may need more than 1.5 s
    assert answer.status_code == 200  # nothing is left of them


def test_a_defect_is_no_traceback_for_the_client(client, recognizer, videos, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(recognizer, "decode", broken)
    answer = send(client(), videos / "0.mp4")
    assert answer.status_code == 500 and answer.json() == {"error": "internal error; the server's log says more"}


def test_several_models_are_asked_by_name(client, recognizer, videos):
    server = client(models={"a": ServedModel(recognizer), "b": ServedModel(recognizer)})
    assert send(server, videos / "0.mp4", model="b").json()["model"] == "b"
    answer = send(server, videos / "0.mp4")
    assert answer.status_code == 400 and answer.json()["error"].endswith("a, b")
    listed = server.get("/models").json()["models"]
    assert [each["name"] for each in listed] == ["a", "b"] and listed[0]["class_names"] == list("abc")


def test_the_server_describes_itself(client, videos):
    server = client()
    send(server, videos / "0.mp4")
    server.get("/x" * 99)
    text = server.get("/metrics").text
    for line in (
        'teinet_requests_total{code="200",path="/predict"} 1.0',
        'teinet_requests_total{code="404",path="other"} 1.0',
        'teinet_request_seconds_count{path="/predict"} 1.0',
        'teinet_clips_total{model="net"} 1.0',
        "teinet_waiting 0.0",
    ):
        assert line in text
    paths = server.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/predict", "/timelines", "/timelines/{number}", "/live", "/models", "/health", "/metrics"}
    body = paths["/predict"]["post"]["requestBody"]["content"]
    assert set(body["application/json"]["schema"]["properties"]) == {
        "address", "model", "views", "top_k", "start", "end",
    }  # fmt: skip
    page = server.get("/")
    assert page.text == PAGE["index.html"] and "default-src 'none'" in page.headers["content-security-policy"]
    kinds = {Path(name).suffix: server.get(f"/{name}").headers["content-type"] for name in PAGE}
    assert kinds == {f".{kind}": f"text/{real}; charset=utf-8" for kind, real in
                     {"html": "html", "css": "css", "js": "javascript"}.items()}  # fmt: skip


def test_uploads_leave_nothing_in_the_cache_of_indices(client, videos):
    def size() -> int:
        return cache_file().stat().st_size if cache_file().exists() else 0

    server, before = client(), size()
    for _ in range(3):
        assert send(server, videos / "2.mp4").status_code == 200
    assert size() == before


def test_answers_are_ascii_whatever_the_names(client, videos):
    answer = send(client(), videos / "0.mp4", model="ü\ud800".encode("utf-8", "replace").decode())
    assert answer.status_code == 400 and answer.content.isascii()
    json.loads(answer.content)
