"""Plant small faults in a copy of the package, one at a time: do the tests nearest to each notice it?

    python benchmarks/planted_faults.py                  # all, two at a time; continues after a stop
    python benchmarks/planted_faults.py causal gate      # those whose name holds one of the words
    python benchmarks/planted_faults.py --check          # only whether every fault still fits its file

A fault counts as caught only where its tests pass without it. Each runs on a copy of the repository of its own; the
working tree is never touched. The faults are in planted_faults.toml. Exit code: 0 where all are caught, 1 where one is
missed or does not fit its file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import date
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
PROCESSES: set[subprocess.Popen] = set()  # that run now
VERDICTS = {0: "missed", 1: "caught"}  # by pytest's exit code; any other means that the tests did not run


class Fault(NamedTuple):
    """One change of one file: `old`, which stands there once, becomes `new`.

    Args:
        name: "room: what is wrong".
        tests: words for pytest: files of tests/, and options such as `-k name`.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str

    @property
    def stands(self) -> int:
        """How often `old` stands in its file; 0 where there is no such file."""
        path = ROOT / self.file
        return path.read_text(encoding="utf-8").count(self.old) if path.exists() else 0


FAULTS = [
    Fault(**row) for row in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["fault"]
]


def run(tests: str, fault: Fault | None, timeout: float) -> dict:
    """Run pytest on a copy of the repository, with a fault or, for None, as it is; returns what it found."""
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        copy = Path(name) / "repository"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "runs", "dist", "teinet-demo"))
        if (shared := ROOT.parent / "shared").is_dir():  # real data, read only
            (Path(name) / "shared").symlink_to(shared)
        if fault is not None:
            path = copy / fault.file
            path.write_text(path.read_text(encoding="utf-8").replace(fault.old, fault.new), encoding="utf-8")
        words = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "--basetemp", f"{name}/tmp"]
        words += [f"tests/{word}" if ".py" in word else word for word in shlex.split(tests)]
        environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
        began = time.monotonic()
        process = subprocess.Popen(
            words, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        PROCESSES.add(process)
        try:
            output, _ = process.communicate(timeout=timeout)
            verdict = VERDICTS.get(process.returncode, "broken")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the tests' own processes too
            output, verdict = process.communicate()[0], "timed out"
        finally:
            PROCESSES.discard(process)
    failed = [line.split()[1] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    found = {"verdict": verdict, "by": failed[0] if failed else "", "seconds": round(time.monotonic() - began, 1)}
    if verdict in ("broken", "timed out"):
        found["output"] = output[-600:]
    return found


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def state_of_code() -> str:
    """What outcomes depend on, as far as it is cheap to tell."""
    files = sorted(path for room in ("src", "tests", "benchmarks") for path in (ROOT / room).rglob("*.[pc]*[yp]"))
    return digest(*(path.read_bytes() for path in files if path.suffix in (".py", ".cpp")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("words", nargs="*", help="only faults whose name holds one of these")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "planted_faults.json")
    parser.add_argument("--jobs", type=int, default=2, help="tests that run at a time (2)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds that a fault's tests may take (600)")
    parser.add_argument("--check", action="store_true", help="run nothing: say which faults do not fit their file")
    args = parser.parse_args()
    chosen = [f for f in FAULTS if not args.words or any(word in f.name for word in args.words)]
    stale = [fault for fault in chosen if fault.stands != 1]
    for fault in stale:
        print(f"{fault.name}: its text stands {fault.stands} times in {fault.file}", file=sys.stderr)
    if args.check:
        return int(bool(stale))

    journal = args.output.with_suffix(".partial.jsonl")
    known = {}
    if journal.exists():
        known = {row["key"]: row for row in map(json.loads, journal.read_text(encoding="utf-8").splitlines())}
    code = state_of_code()
    todo: dict[str, tuple[str, Fault | None]] = {}
    for fault in chosen:
        if fault not in stale:
            todo[digest(fault.tests, code)] = fault.tests, None
            todo[digest(*fault, code)] = fault.tests, fault
    console = Console(stderr=True)
    with ThreadPoolExecutor(args.jobs) as pool, journal.open("a", encoding="utf-8") as file:
        running = {pool.submit(run, *job, args.timeout): key for key, job in todo.items() if key not in known}
        try:
            for number, future in enumerate(as_completed(running), 1):
                key = running[future]
                known[key] = {"key": key, **future.result()}
                file.write(json.dumps(known[key]) + "\n")
                file.flush()
                tests, fault = todo[key]
                says = known[key]["verdict"] if fault else {"missed": "pass"}.get(known[key]["verdict"], "fail")
                console.print(f"{number}/{len(running)} {fault.name if fault else tests}: {says}", highlight=False)
        except BaseException:  # Ctrl-C: what was found is kept
            pool.shutdown(wait=False, cancel_futures=True)
            for process in PROCESSES:
                os.killpg(process.pid, signal.SIGKILL)
            raise

    rows = []
    for fault in chosen:
        row = {"name": fault.name, "file": fault.file, "tests": fault.tests}
        if fault in stale:
            rows.append({**row, "verdict": "stale", "by": "", "seconds": 0.0})
            continue
        clean = known[digest(fault.tests, code)]
        found = known[digest(*fault, code)]
        row |= {key: value for key, value in found.items() if key != "key"}
        if clean["verdict"] != "missed":  # the tests fail without a fault too, so they prove nothing
            row |= {"verdict": "tests fail without it", "by": clean["by"]}
        rows.append(row)
    table = Table("fault", "verdict", "by", "seconds")
    for row in rows:
        table.add_row(row["name"], row["verdict"], row["by"].partition("::")[2], str(row["seconds"]))
    Console().print(table)
    caught = sum(row["verdict"] == "caught" for row in rows)
    print(f"{caught} of {len(rows)} caught")
    if len(chosen) == len(FAULTS):
        facts = {"date": date.today().isoformat(), "machine": f"{machine()}, {os.cpu_count()} cores"}
        args.output.write_text(
            json.dumps({**facts, "caught": caught, "faults": rows}, indent=1) + "\n", encoding="utf-8"
        )
        journal.unlink()
    return int(caught < len(rows))


def machine() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
