"""A headless Chromium that is driven by the DevTools protocol, and a server on loopback for it."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from websockets.sync.client import connect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
# Nothing is resolved but this machine; no service of the browser's maker is asked for anything.
WORDS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0",
    "--autoplay-policy=no-user-gesture-required", "--disable-background-timer-throttling",
)  # fmt: skip


def find_chromium() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def serving(folder: Path, headers: dict[str, str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder on loopback; yield its address and the paths that were asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

        def log_request(self, *_: object) -> None:
            asked.append(self.path)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", asked
    finally:
        server.shutdown()
        server.server_close()


class Browser:
    """One page of a Chromium; a context manager, which ends the browser.

    Args:
        program: path of the Chromium.
        words: more arguments for it.
        gpu: let it use the machine's GPU, also for WebGPU.
    """

    def __init__(self, program: str, *words: str, gpu: bool = False):
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-")
        usual = {*WORDS, "--enable-unsafe-webgpu"} - {"--disable-gpu"} if gpu else WORDS
        self._process = subprocess.Popen(
            [program, *usual, f"--user-data-dir={self._folder.name}", *words, "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._numbers = itertools.count(1)
        self.addresses: list[str] = []  # of everything that the page and its workers asked for
        self.messages: list[str] = []  # of its console, and exceptions
        port = Path(self._folder.name, "DevToolsActivePort")
        try:
            _until(lambda: port.exists() and port.read_text().count("\n"), 60, "Chromium did not start")
            number, path = port.read_text().split("\n")[:2]
            self._socket = connect(f"ws://127.0.0.1:{number}{path}", max_size=None, proxy=None).__enter__()
            target = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")["targetId"]
            self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network"):
                self.call(f"{domain}.enable")
            self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and all its processes."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait(30)
        self._folder.cleanup()

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol for the page."""
        return self._call(method, self._session, **values)

    def open(self, address: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=address)

    def evaluate(self, script: str) -> Any:
        """Return the JSON value of a JavaScript expression, after it is awaited."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"].get("exception", {}).get("description") or str(found))
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 60) -> Any:
        """Return the first true value of an expression; TimeoutError, with what the console says, if there is none."""
        return _until(lambda: self.evaluate(script), seconds, f"{script} is not true; console: {self.messages[-5:]}")

    def choose(self, selector: str, path: Path) -> None:
        """Give a file to an input of the page."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def cpu_seconds(self) -> float:
        """Return the processor's time of all pages and their workers so far."""
        processes = self._call("SystemInfo.getProcessInfo")["processInfo"]
        return sum(each["cpuTime"] for each in processes if each["type"] == "renderer")

    def screenshot(self, path: Path, width: int, height: int, *, dark: bool = False, whole: bool = False) -> None:
        """Write a PNG of the page as a screen of this size shows it; `whole` with what is below."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        time.sleep(0.4)
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def _call(self, method: str, session: str | None = None, **values: Any) -> dict[str, Any]:
        number = self._send(method, session, values)
        while True:
            answer = json.loads(self._socket.recv(timeout=120))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def _send(self, method: str, session: str | None, values: dict[str, Any]) -> int:
        number = next(self._numbers)
        self._socket.send(
            json.dumps({"id": number, "method": method, "params": values} | ({"sessionId": session} if session else {}))
        )
        return number

    def _note(self, event: dict[str, Any]) -> None:
        method, values = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.addresses.append(values["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.messages.append(" ".join(str(each.get("value", each.get("description"))) for each in values["args"]))
        elif method == "Runtime.exceptionThrown":
            self.messages.append(values["exceptionDetails"].get("exception", {}).get("description", str(values)))
        elif method == "Target.attachedToTarget":  # a worker: see its requests too
            own = values["sessionId"]
            for each in ("Network.enable", "Runtime.enable", "Runtime.runIfWaitingForDebugger"):
                self._send(each, own, {})


def _until(holds: Any, seconds: float, problem: str) -> Any:
    end = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > end:
            raise TimeoutError(problem)
        time.sleep(0.05)
    return found
