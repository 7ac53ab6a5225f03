"""Stores on loopback: an S3 server, and a server of HTTP ranges that counts what it sends."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BUCKET = "bucket"


class S3:
    """An S3 server with one bucket; `put` uploads a file or a folder."""

    def __init__(self, client: Any):
        self.client = client

    def put(self, source: Path, key: str) -> str:
        files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
        for path in files:
            name = key if path == source else f"{key}/{path.relative_to(source).as_posix()}"
            self.client.upload_file(str(path), BUCKET, name)
        return f"s3://{BUCKET}/{key}"

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=key)


@contextmanager
def s3_server() -> Iterator[S3]:
    """Run the server, to which this process and the commands that it starts go."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        login = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in {**login, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        try:
            yield S3(client)
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            server.stop()


class Web:
    """An HTTP server of a folder; `sent` counts the bytes of bodies, `requests` holds (method, path).

    With `seconds` it sends each body in twenty parts that take as long altogether.
    """

    def __init__(self, folder: Path, *, ranges: bool = True, seconds: float = 0.0):
        self.folder, self.ranges, self.sent, self.requests = folder, ranges, 0, list[tuple[str, str]]()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                web.requests.append((self.command, self.path))
                path = web.folder / self.path.lstrip("/").partition("?")[0]
                if self.path.startswith("/locked/") or not path.is_file():
                    self.send_response(403 if self.path.startswith("/locked/") else 404)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                content, status = path.read_bytes(), 200
                total, first, asked = len(content), 0, self.headers.get("Range", "")
                tag = hashlib.md5(content).hexdigest()
                if web.ranges and asked.startswith("bytes="):
                    begin, _, end = asked.removeprefix("bytes=").partition("-")
                    first, status = int(begin), 206
                    content = content[first : int(end) + 1 if end else None]
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", tag)
                if status == 206:
                    self.send_header("Content-Range", f"bytes {first}-{first + len(content) - 1}/{total}")
                self.end_headers()
                if body:
                    web.sent += len(content)
                    size = len(content) // 20 + 1 if seconds else max(1, len(content))
                    for at in range(0, len(content), size):
                        self.wfile.write(content[at : at + size])
                        time.sleep(seconds / 20)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Web:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def clear_cache() -> None:
    """Remove all remote files from the tests' cache, and forget what is known of objects."""
    from teinet.data import remote
    from teinet.data.video.index import cache_file, clear_memory

    for path in Path(os.environ["TEINET_CACHE"], "remote").glob("*"):
        path.unlink(missing_ok=True)
    for function in (remote._status, remote._sizes):
        function.cache_clear()
    cache_file().unlink(missing_ok=True)
    clear_memory()
