"""A small hub on loopback: it answers what huggingface_hub asks to load and push a recognizer, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_right"


@dataclass
class Repository:
    """Files by commit, and commits by branch or tag."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        """Add a commit that writes files; return its hash."""
        sha = hashlib.sha1(f"{branch}{len(self.commits)}".encode()).hexdigest()
        self.commits[sha] = {**self.commits.get(self.refs.get(branch, ""), {}), **files}
        self.refs[branch] = sha
        return sha


class Hub(ThreadingHTTPServer):
    """The server; `requests` are (method, path) as they came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        self.moved: dict[str, str] = {}  # an old name to the new one
        self.storage: Hub | None = None  # another server, to which large files are redirected
        self.blobs: dict[str, bytes] = {}  # of large files, by their SHA-256
        self.upload_mode = "regular"
        self.cut = 0  # how many of the next downloads end in the middle
        self.broken = 0  # a status for each request to come

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, name: str, content: bytes, file: str = "model.safetensors", **facts: bool) -> str:
        """Add a repository, or a commit to its main branch."""
        repository = self.repositories.setdefault(name, Repository(**facts))
        return repository.commit("main", {file: content})

    def asked(self, method: str = "", part: str = "/resolve/") -> list[tuple[str, str]]:
        """Return the requests of a method for paths with `part`."""
        return [each for each in self.requests if method in each[0] and part in each[1]]


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: object = b"", cut: bool = False, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)

    def _refuse(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        known = {"X_Error_Code": code, "X_Error_Message": message}
        self._answer(status, {"error": message}, **{k: v for k, v in known.items() if v}, **headers)

    def do_HEAD(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ") or None
        hub.requests.append((self.command, path))
        hub.tokens.append(token)
        size = int(self.headers["Content-Length"] or 0)
        body = self.rfile.read(size)
        if hub.broken:
            return self._refuse(hub.broken, message="Sorry")
        if path.startswith("/stored/"):
            return self._stored(path.rpartition("/")[2], body)
        if token not in (None, TOKEN):
            return self._refuse(401, message="Invalid credentials in Authorization header")
        if path == "/":
            return self._answer(200)
        if "/resolve/" in path:
            return self._file(path, token)
        if path.startswith("/api/datasets/"):
            return self._data_set(path.strip("/").split("/"), body)
        if token is None:
            return self._refuse(401, message="Invalid username or password.")
        return self._write(path, body)

    do_GET = do_POST = do_PUT = do_HEAD  # noqa: N815

    def _file(self, path: str, token: str | None) -> None:
        hub = self.server
        name, _, rest = path.lstrip("/").partition("/resolve/")
        if name in hub.moved:
            return self._answer(307, Location=f"/{hub.moved[name]}/resolve/{rest}")
        repository = hub.repositories.get(name)
        if repository is None or (repository.private and token is None):
            return self._refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        revision = next((r for r in [*repository.refs, *repository.commits] if rest.startswith(f"{r}/")), None)
        if revision is None:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        if repository.gated:
            return self._refuse(403 if token else 401, "GatedRepo", "Access to this model is restricted")
        commit, file = repository.refs.get(revision, revision), rest[len(revision) + 1 :]
        if (content := repository.commits[commit].get(file)) is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
        sha = hashlib.sha256(content).hexdigest()
        if hub.storage is not None:
            hub.storage.blobs[sha] = content
            facts = {"X_Linked_Size": str(len(content)), "X_Linked_Etag": f'"{sha}"', "X_Repo_Commit": commit}
            place = f"http://localhost:{hub.storage.server_port}/stored/{sha}"  # another host, by its name
            return self._answer(302, Location=place, **facts)
        self._send(content, ETag=f'"{sha}"', X_Repo_Commit=commit)

    def _data_set(self, parts: list[str], body: bytes) -> None:
        """Say which commit a revision is, or what some paths or the entries of a folder are."""
        repository = self.server.repositories.get("/".join(parts[1:4]))
        if repository is None:
            return self._refuse(404, "RepoNotFound", "Repository not found")
        action, revision, *rest = parts[4:] or ("revision", "main")
        below = "/".join(rest)
        commit = repository.refs.get(revision, revision)
        if action == "revision":
            return self._answer(200, {"id": "/".join(parts[2:4]), "sha": commit, "tags": [], "siblings": []})
        files = repository.commits[commit]
        folders = {"/".join(file.split("/")[:depth]) for file in files for depth in range(1, file.count("/") + 1)}
        found: list[dict[str, object]] = [{"type": "directory", "oid": path, "path": path} for path in sorted(folders)]
        for path, content in files.items():
            found.append({"type": "file", "oid": hashlib.sha1(content).hexdigest(), "size": len(content), "path": path})
        if action == "paths-info":
            wanted = parse_qs(body.decode())["paths"]
            return self._answer(200, [each for each in found if each["path"] in wanted])
        recursive = "recursive=true" in self.path.lower()
        start = f"{below}/" if below else ""
        inside = [each for each in found if str(each["path"]).startswith(start)]
        self._answer(200, [each for each in inside if recursive or "/" not in str(each["path"])[len(start) :]])

    def _send(self, content: bytes, **headers: str) -> None:
        """Answer with a file, or with the rest of it, or cut it."""
        cut = self.command == "GET" and self.server.cut > 0
        self.server.cut -= cut
        first, _, last = (self.headers["Range"] or "bytes=0-").removeprefix("bytes=").partition("-")
        if (start := int(first)) or last:
            end = min(int(last or len(content)) + 1, len(content))
            span = f"bytes {start}-{end - 1}/{len(content)}"
            return self._answer(206, content[start:end], cut, Content_Range=span, **headers)
        self._answer(200, content, cut, **headers)

    def _stored(self, sha: str, body: bytes) -> None:
        if self.command == "PUT":
            assert hashlib.sha256(body).hexdigest() == sha
            self.server.blobs[sha] = body
        self._send(self.server.blobs.get(sha, b""))

    def _write(self, path: str, body: bytes) -> None:
        hub, parts = self.server, path.strip("/").split("/")
        if path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in hub.repositories
            hub.repositories.setdefault(name, Repository(private=asked.get("visibility") == "private"))
            hub.repositories[name].refs.setdefault("main", hub.repositories[name].commit("main", {}))
            return self._answer(409 if known else 200, {"url": f"{hub.address}/{name}", "error": "exists"})
        if path.endswith(".git/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            found = [{**o, "actions": {"upload": {"href": f"{hub.address}/stored/{o['oid']}"}}} for o in wanted]
            return self._answer(200, {"objects": found})
        name, action, revision = "/".join(parts[2:4]), parts[4], "/".join(parts[5:])
        repository = hub.repositories[name]
        if action == "branch":
            known = revision in repository.refs
            repository.refs.setdefault(revision, repository.refs["main"])
            return self._answer(409 if known else 200, {})
        if action == "preupload":
            files = [{"path": f["path"], "uploadMode": "regular" if f["path"].endswith(".md") else hub.upload_mode,
                      "shouldIgnore": False} for f in json.loads(body)["files"]]  # fmt: skip
            return self._answer(200, {"files": files})
        assert action == "commit", path
        files = {}
        for line in map(json.loads, body.splitlines()):
            key, value = line["key"], line["value"]
            if key == "header":
                repository.messages.append(value["summary"])
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert key == "lfsFile", key
                files[value["path"]] = hub.blobs[value["oid"]]
        sha = repository.commit(revision, files)
        self._answer(200, {"commitUrl": f"{hub.address}/{name}/commit/{sha}", "commitOid": sha})


@contextmanager
def running() -> Iterator[Hub]:
    """Run a hub during a block."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join(10)
