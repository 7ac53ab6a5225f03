"""Work in processes that can be killed: a hanging task is named, a dying one too, and the others are done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from teinet.errors import VideoError
from teinet.utils import worker_pool as pool
from teinet.utils.files import replacing


def act(task: tuple[str, Any], beat: pool.Beat) -> object:
    kind, value = task
    if kind == "sleep":
        time.sleep(value)
    elif kind == "slow":  # long, but alive
        for _ in range(8):
            time.sleep(value / 8)
            beat()
    elif kind == "write":
        with replacing(Path(value)) as part:
            part.touch()
            time.sleep(60)
    elif kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "raise":
        raise VideoError("x.mp4", "odd")
    return value


def test_each_task_is_answered_once_whatever_happens_to_the_others():
    tasks = [("value", i) for i in range(6)] + [("sleep", 60), ("crash", 0), ("slow", 3.0), ("value", 6)]
    began = time.monotonic()
    done = list(pool.run(act, tasks, workers=2, timeout=1.5))
    assert time.monotonic() - began < 40
    assert sorted(d.task for d in done) == sorted(tasks)
    answers = {d.task: d.value for d in done}
    stuck, died = answers.pop(("sleep", 60)), answers.pop(("crash", 0))
    assert stuck.kind == "stuck" and "1.5 s" in stuck.reason
    assert died.kind == "died" and "SIGSEGV" in died.reason
    assert all(value == task[1] for task, value in answers.items())


def test_what_work_raises_is_raised_here_and_nobody_is_left_behind():
    with pytest.raises(VideoError, match="odd") as caught:
        list(pool.run(act, [("sleep", 30), ("raise", 0)], workers=2, timeout=60))
    assert "in act" in str(caught.value.__cause__)


def test_a_stop_ends_at_once_and_leaves_nothing_half_written(tmp_path):
    stop = threading.Event()
    tasks = [("value", 1), ("write", str(tmp_path / "x")), ("sleep", 60)]
    answers = pool.run(act, tasks, workers=1, timeout=60, stop=stop)
    assert next(answers).value == 1
    threading.Thread(target=lambda: (wait_for(lambda: list(tmp_path.iterdir())), stop.set())).start()
    began = time.monotonic()
    assert list(answers) == [] and stop.is_set()
    assert time.monotonic() - began < 20
    assert list(tmp_path.iterdir()) == []


def wait_for(condition, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def test_without_processes():
    assert [d.value for d in pool.run(act, [("value", 1), ("value", 2)], workers=0, timeout=1)] == [1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_command_leaves_no_process_behind(tmp_path):
    code = (
        "import os, tests.utils.test_worker_pool as t\n"
        "from teinet.utils import worker_pool as pool\n"
        "if __name__ == '__main__':\n"
        "    for done in pool.run(t.act, [('value', 1), ('sleep', 300)], workers=1, timeout=600):\n"
        "        print('first', flush=True)\n"
    )
    (tmp_path / "main.py").write_text(code)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = [sys.executable, str(tmp_path / "main.py")]
    environment = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True) as process:
        assert process.stdout.readline() == b"first\n"
        session = process.pid
        assert len(_session(session)) > 1
        process.kill()
        process.wait()
    wait_for(lambda: not _session(session), 20)
    assert _session(session) == []


def _session(number: int) -> list[str]:
    """The processes of a session that are not yet gone."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                state, _, _, session = file.read().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == number and state != "Z":
            found.append(name)
    return found


def test_tasks_that_end_their_process_at_once_are_all_named():
    done = list(pool.run(act, [("crash", i) for i in range(12)], workers=2, timeout=10))
    assert sorted(d.task[1] for d in done) == list(range(12))
    assert all(d.value.kind == "died" for d in done)


def test_a_long_task_in_this_process_ends_at_a_heartbeat_after_a_signal():
    stop = threading.Event()

    def long(task: int, beat: pool.Beat) -> int:
        for turn in range(1000):
            time.sleep(0.01)
            if turn == 3:
                stop.set()
            beat()
        return task

    begun = time.monotonic()
    assert list(pool.run(long, [1, 2], workers=0, timeout=9, stop=stop)) == []
    assert time.monotonic() - begun < 5
