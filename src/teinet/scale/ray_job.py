"""A job on Ray: files in, rows out. A file that crashes its process costs its own row and no other one.

Rows of some files are one item (`pack`) between the stages, so that a task that Ray runs again repeats the same items.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute
import ray
import ray.data
from ray.data.dataset import MaterializedDataset
from ray.exceptions import RayError

from teinet.errors import CheckpointError, ConfigError, Interrupted, RunError, TeinetError, VideoError
from teinet.scale.parquet_rows import Results
from teinet.utils import worker_pool

pc: Any = pyarrow.compute  # whose functions are made when it is imported
Row = dict[str, Any]
Work = Callable[[str, worker_pool.Beat], list[Row]]  # the rows of a file; picklable
Advance = Callable[[int, int, int], object]

_STUCK_SECONDS = 600.0
_FILES = 128  # of a task at most: Ray takes some milliseconds for each task
_TRIES = 2  # of a file whose process ends, which others may have ended; a stuck one has one
_STORE_BYTES = 256 << 20  # of a core, in the memory that Ray's processes share


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The end of a job.

    Args:
        files: in the manifest.
        before: files whose rows an earlier command has written.
        failed: files of this command that cannot be read; their rows say why.
        seconds: that this command took.
    """

    files: int
    before: int
    failed: int
    seconds: float


@contextmanager
def session(address: str) -> Iterator[None]:
    """Connect to Ray inside the block: `local` starts it on this machine; an open connection is used as it is."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address == "local":
        cores = worker_pool.usable_cores()
        how |= {"num_cpus": cores, "object_store_memory": _STORE_BYTES * cores, "include_dashboard": False}
        os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")  # it ends our processes for others' memory
        os.environ.setdefault("RAY_worker_niceness", "0")  # as without Ray; its own 15 waits for all other programs
    try:
        ray.init(address=address, **how)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--ray {address}: cannot connect to Ray ({error})") from None
    try:
        yield
    finally:
        ray.shutdown()


def cluster() -> tuple[int, int]:
    """Return the numbers of cores and GPUs that Ray has."""
    has = ray.cluster_resources()
    return max(1, int(has.get("CPU", 1))), int(has.get("GPU", 0))


@dataclass(frozen=True)
class FileStage:
    """The stage that reads files: calls `work` on each, in this process unless that has ended here before.

    Args:
        work: returns the rows of a file.
        failed: returns the rows of a file that cannot be read, by its path and the reason.
        schema: of these rows.
        together: files of one item.
        starts: counts how often a task was started.
    """

    work: Work
    failed: Callable[[str, str], list[Row]]
    schema: pa.Schema
    together: int
    starts: Any

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yield the items of a block of paths."""
        paths = block["path"].to_pylist()
        first_time = ray.get(self.starts.count.remote(paths[0])) == 1
        read = self._read if first_time else self._read_apart
        for first in range(0, len(paths), self.together):
            yield pack(pa.Table.from_pylist(read(paths[first : first + self.together]), self.schema))

    def _read(self, paths: list[str]) -> list[Row]:
        rows = []
        with worker_pool.watched(_end_when_stuck):
            for path in paths:
                _end_when_stuck()
                rows += _attempt(self.work, self.failed, path, _end_when_stuck)
        faulthandler.cancel_dump_traceback_later()
        return rows

    def _read_apart(self, paths: list[str]) -> list[Row]:
        """Read in a process of its own, whose end is a file's failure."""
        rows: dict[str, list[Row]] = {}
        left = paths
        for _ in range(_TRIES):
            if not left:
                break
            tried, left = left, []
            apart = _Apart(self.work, self.failed)
            for done in worker_pool.run(apart, tried, workers=1, timeout=_STUCK_SECONDS):
                if not isinstance(done.value, worker_pool.TaskFailure):
                    rows[done.task] = done.value
                    continue
                rows[done.task] = self.failed(done.task, done.value.reason)
                if done.value.kind == "died":
                    left.append(done.task)
        return [row for path in paths for row in rows[path]]


@dataclass(frozen=True)
class _Apart:
    func: Work  # whose module the pool imports once for all its processes
    failed: Callable[[str, str], list[Row]]

    def __call__(self, path: str, beat: worker_pool.Beat) -> list[Row]:
        return _attempt(self.func, self.failed, path, beat)


def _attempt(work: Work, failed: Callable[[str, str], list[Row]], path: str, beat: worker_pool.Beat) -> list[Row]:
    try:
        return work(path, beat)
    except VideoError as error:
        return failed(path, error.reason)
    except CheckpointError:  # no file's fault
        raise
    except TeinetError as error:
        return failed(path, str(error))
    except Exception as error:  # of a million files, one must not stop the others
        return failed(path, f"{type(error).__name__}: {error}")


def _end_when_stuck() -> None:
    """End this process unless this is called again in time; nothing else stops a decoder that hangs."""
    faulthandler.dump_traceback_later(_STUCK_SECONDS, exit=True)


class FileActor:
    """A stage of files whose process keeps what its work has loaded."""

    def __init__(self, stage: FileStage):
        self._stage = stage

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yield the items of a block of paths."""
        return self._stage(block)


class _Starts:
    def __init__(self):
        self._counts = Counter[str]()

    def count(self, key: str) -> int:
        self._counts[key] += 1
        return self._counts[key]


def count_starts() -> Any:
    """Return the actor that counts how often each task of a job was started."""
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Starts).remote()


def pack(rows: pa.Table) -> pa.Table:
    """Return rows as one item."""
    with pa.BufferOutputStream() as sink:
        with pa.ipc.new_stream(sink, rows.schema) as file:
            file.write_table(rows)
        return pa.table({"item": pa.array([sink.getvalue().to_pybytes()], pa.large_binary())})


def unpack(items: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of each item, without a copy."""
    for item in items["item"]:
        yield pa.ipc.open_stream(item.as_buffer()).read_all()


def run_job(
    paths: pa.Array,
    results: Results,
    stages: Callable[[MaterializedDataset], ray.data.Dataset],
    *,
    address: str = "local",
    advance: Advance | None = None,
) -> Summary:
    """Do what is missing: send the files through the stages, and write the rows of each as they come.

    Args:
        paths: all files of the job.
        results: takes the rows, and knows which files are done.
        stages: adds the stages to a dataset of paths; they end in items.
        address: of Ray, see `session`.
        advance: is called with the numbers of files that are done, were done before, and are in the job.

    Raises:
        Interrupted: by Ctrl-C; rows so far are written.
        RunError: Ray cannot continue.
    """
    began, before = time.monotonic(), results.finished()
    rest = paths.filter(pc.invert(pc.is_in(paths, before)))
    known, done, failed = len(paths) - len(rest), 0, 0
    try:
        with session(address) if len(rest) else nullcontext():
            for rows in _stream(rest, stages) if len(rest) else ():
                results.add(rows)
                done += pc.count_distinct(rows["path"]).as_py()
                failed += pc.count_distinct(rows["path"].filter(pc.is_valid(rows["error"]))).as_py()
                if advance is not None:
                    advance(done + known, known, len(paths))
    except KeyboardInterrupt:
        raise Interrupted(f"stopped after {done + known} of {len(paths)} files; the same command continues") from None
    except RayError as error:
        said = str(error).partition("\n\nThe above exception")[0].strip().splitlines()[-1]
        reached = f"Ray stopped after {done + known} of {len(paths)} files"
        raise RunError(f"{reached}: {said}; the same command continues") from None
    finally:
        results.write()
    if done != len(rest):
        raise RunError(f"Ray returned {done} of {len(rest)} files; the same command continues with the others")
    return Summary(files=len(paths), before=known, failed=failed, seconds=time.monotonic() - began)


def _stream(paths: pa.Array, stages: Callable[[MaterializedDataset], ray.data.Dataset]) -> Iterator[pa.Table]:
    size = max(1, min(_FILES, len(paths) // (16 * cluster()[0])))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # an item is a block
    blocks = [pa.table({"path": paths[first : first + size]}) for first in range(0, len(paths), size)]
    found = stages(ray.data.from_arrow(blocks))
    for items in found.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from unpack(items)
