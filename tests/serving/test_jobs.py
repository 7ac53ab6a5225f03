"""Timelines in the background and live events: what the commands print, bounded, cancelled on request."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack

import pytest

from teinet.detection import Watch, timeline
from teinet.detection.events import Rules
from teinet.errors import Interrupted
from teinet.recognition import Recognizer
from teinet.serving import ServedModel
from teinet.serving.jobs import Job, Jobs
from teinet.serving.limits import Limits, RateLimiter, Refused
from tests.serving.conftest import left_over

RULES = {"threshold": 0.7, "off_threshold": 0.65, "min_duration": 0.2}


def start(server, path, **fields):
    with path.open("rb") as file:
        return server.post("/timelines", files={"file": (path.name, file)}, data=fields)


def ended(server, number: str) -> dict:
    until = time.monotonic() + 30
    while (found := server.get(f"/timelines/{number}").json())["state"] in ("waiting", "running"):
        assert time.monotonic() < until and 0 <= found["progress"] <= 1
        time.sleep(0.02)
    return found


def test_a_timeline_has_the_events_that_the_command_prints(client, recognizer, videos):
    server = client(allow=[str(videos)])
    answer = start(server, videos / "film.mp4", **RULES)
    assert answer.status_code == 202 and answer.headers["location"] == f"/timelines/{answer.json()['id']}"
    found = ended(server, answer.json()["id"])
    want = timeline(recognizer, videos / "film.mp4", rules=Rules(**RULES)).to_dict()
    assert want["events"]
    assert (found["state"], found["progress"], found["error"], found["model"]) == ("done", 1.0, None, "net")
    assert {**{name: found[name] for name in want}, "path": want["path"]} == want and found["path"] == "film.mp4"
    assert not left_over(server)
    by_address = server.post("/timelines", json={"address": str(videos / "film.mp4"), **RULES}).json()
    assert ended(server, by_address["id"])["events"] == found["events"]
    assert server.delete(f"/timelines/{found['id']}").json()["state"] == "done"
    gone = server.get(f"/timelines/{found['id']}")
    assert gone.status_code == 404 and "no such timeline" in gone.json()["error"]


def test_a_wrong_timeline_is_refused_at_once(client, videos, tmp_path):
    server = client()
    (tmp_path / "garbage.mp4").write_bytes(bytes(1000))
    assert start(server, tmp_path / "garbage.mp4").status_code == 422
    for fields, says in (
        ({"threshold": 2}, "threshold is 2"),
        ({"frame_interval": -1}, "interval"),
        ({"top_k": 1}, "unknown field"),
    ):
        answer = start(server, videos / "film.mp4", **fields)
        assert answer.status_code == 400 and says in answer.json()["error"]
    assert not left_over(server)


def test_timelines_are_bounded_and_cancelled(client, recognizer, videos):
    free = threading.Event()

    def slow() -> Recognizer:
        free.wait(30)
        return recognizer

    server = client(models={"net": ServedModel(recognizer, slow)}, limits={"jobs": 2})
    running, waiting = (start(server, videos / "film.mp4").json()["id"] for _ in range(2))
    answer = start(server, videos / "film.mp4")
    assert answer.status_code == 503 and "retry-after" in answer.headers
    assert len(left_over(server)) == 2
    assert server.delete(f"/timelines/{waiting}").json()["state"] == "cancelled"
    assert len(left_over(server)) == 1  # its file is removed at once
    assert server.delete(f"/timelines/{running}").json()["state"] == "cancelled"
    free.set()
    until = time.monotonic() + 20
    while left_over(server):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert server.get(f"/timelines/{running}").status_code == 404
    assert ended(server, start(server, videos / "0.mp4").json()["id"])["state"] == "done"


def test_results_are_kept_for_a_while_and_failures_say_why():
    now = [0.0]
    jobs, files = Jobs(Limits(keep=60), now=lambda: now[0]), ExitStack()
    closed = threading.Event()
    files.callback(closed.set)

    def broken(job: Job):
        raise Interrupted("cancelled") if job.stop.is_set() else RuntimeError("secret detail")

    job = Job("net", "film.mp4")
    jobs.add(job, broken, files)
    jobs._pool.shutdown()
    assert closed.is_set() and jobs.get(job.id).to_dict()["error"] == "internal error; the server's log says more"
    now[0] = 59.0
    assert jobs.get(job.id).state == "failed"
    now[0] = 61.0
    with pytest.raises(Refused, match="no such timeline"):
        jobs.get(job.id)


def test_a_client_gets_its_requests_back_over_time():
    now = [0.0]
    rates = RateLimiter(60, now=lambda: now[0])
    for _ in range(60):
        rates.check("a")
    with pytest.raises(Refused) as error:
        rates.check("a")
    assert error.value.headers == {"Retry-After": "2"}
    rates.check("b")
    now[0] = 1.5
    rates.check("a")
    with pytest.raises(Refused):
        rates.check("a")


def test_live_events_are_those_of_a_watch(client, recognizer, videos):
    server, source = client(allow=[str(videos)]), str(videos / "1.mp4")
    answer = server.get("/live", params={"source": source, **RULES})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    found = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    want = [notice.to_dict() for notice in Watch(recognizer, [source], rules=Rules(**RULES))]
    for notice in (*found, *want):
        assert notice.pop("wall_time")
    assert [each["type"] for each in want][-1] == "finished" and len(want) > 2
    assert found == want
    assert "teinet_live 0.0" in server.get("/metrics").text


def test_live_sources_that_cannot_be_opened_are_refused(client, videos, tmp_path):
    server = client(allow=[str(videos), "rtsp://127.0.0.1:9/"])
    (videos / "garbage.mp4").write_bytes(bytes(1000))
    for params, code in (
        ({"source": str(videos / "no.mp4")}, 422), ({"source": str(videos / "garbage.mp4")}, 422),
        ({"source": str(tmp_path)}, 403), ({"source": "rtsp://127.0.0.1:9/x"}, 422), ({}, 400),
        ({"source": "http://127.0.0.1:9/x"}, 403), ({"source": str(videos / "1.mp4"), "threshold": 7}, 400),
        ({"source": str(videos / "1.mp4"), "start": 1}, 400),
    ):  # fmt: skip
        answer = server.get("/live", params=params)
        assert answer.status_code == code and list(answer.json()) == ["error"], (params, answer.text)
    assert "teinet_live 0.0" in server.get("/metrics").text
