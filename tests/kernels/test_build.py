"""Where the compiled form cannot be had, plain torch gives the result, and one line says why."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from teinet.kernels import available_forms, build
from teinet.layers import TIM

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler here")
QUICK = "-std=c++17 -O0 -fopenmp -shared -fPIC".split()


@pytest.fixture(scope="module")
def compiler(tmp_path_factory) -> Path:
    """A compiler that hands out what it compiled at first, for compiling takes seconds."""
    folder = tmp_path_factory.mktemp("compiler")
    made, real = folder / "made.so", build.compiler()
    script = f"""#!/bin/sh
[ "$1" = --version ] && exit
for last; do :; done
if [ ! -f {made} ]; then {real} "$@" && cp "$last" {made}; else cp {made} "$last"; fi
"""
    (folder / "c++").write_text(script)
    (folder / "c++").chmod(0o755)
    return folder / "c++"


@pytest.fixture
def load(tmp_path, monkeypatch, caplog, compiler):
    """Loads the kernels again, from an empty cache folder; returns the library and what the log was told."""
    monkeypatch.setenv("TEINET_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "FLAGS", QUICK)
    monkeypatch.setenv("CXX", str(compiler))
    caplog.set_level(logging.DEBUG, logger="teinet")

    def again():
        build.native.cache_clear()
        build.function.cache_clear()
        caplog.clear()
        return build.native(), [f"{record.levelname} {record.message}" for record in caplog.records]

    yield again
    build.native.cache_clear()
    build.function.cache_clear()


def check() -> None:
    """What was loaded computes: frame t is the sum of itself and its neighbors."""
    tim = TIM(8, num_frames=4)
    torch.nn.init.ones_(tim.weight)
    y = tim(torch.ones(4, 8, 2, 2).contiguous(memory_format=torch.channels_last))
    assert y[:, 0, 0, 0].tolist() == [2.0, 3.0, 3.0, 2.0]


@needs_compiler
def test_compiled_once_and_found_again(load, tmp_path, monkeypatch):
    library, said = load()
    (file,) = (tmp_path / "kernels").iterdir()
    assert library is not None and said == [f"DEBUG compiling the kernels for this processor, once: {file}"]
    check()
    made = file.stat().st_mtime_ns
    library, said = load()
    assert library is not None and not said
    assert [f.stat().st_mtime_ns for f in (tmp_path / "kernels").iterdir()] == [made]


@needs_compiler
def test_a_cache_that_cannot_be_written_costs_only_time(load, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("TEINET_CACHE", str(blocked))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    library, (line,) = load()
    assert library is not None
    assert line.startswith("WARNING compiling the kernels for this process only") and str(blocked) in line
    assert list(tmp_path.iterdir()) == [blocked]  # nothing is left behind
    check()


@needs_compiler
def test_a_file_that_another_user_could_have_written_is_not_run(load, tmp_path):
    load()
    (file,) = (tmp_path / "kernels").iterdir()
    file.unlink()  # this process runs the old one, whose pages must stay
    file.write_bytes(b"not to be loaded")
    file.chmod(0o777)
    library, (line,) = load()
    assert library is not None
    assert f"{file} belongs to another user or can be written by others" in line


@needs_compiler
def test_a_lenient_umask_does_not_make_a_file_that_is_then_refused(load):
    before = os.umask(0o002)
    try:
        load()
        library, said = load()
    finally:
        os.umask(before)
    assert library is not None and not said


@needs_compiler
def test_a_damaged_file_is_not_used(load, tmp_path, monkeypatch):
    load()
    (file,) = (tmp_path / "kernels").iterdir()
    other = tmp_path / "other"
    monkeypatch.setenv("TEINET_CACHE", str(other))
    (other / "kernels").mkdir(mode=0o700, parents=True)
    (other / "kernels" / file.name).write_bytes(b"\x7fELF")
    library, (line,) = load()
    assert library is not None and "file too short" in line


@needs_compiler
def test_a_file_is_on_the_disk_before_it_has_its_name(load, tmp_path, monkeypatch):
    """A power cut would leave an empty one, which no later process replaces."""
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(os.fstat(handle).st_ino) or sync(handle))
    monkeypatch.setattr(os, "replace", lambda a, b: done.append("replaced") or replace(a, b))
    load()
    (file,) = (tmp_path / "kernels").iterdir()
    assert done == [file.stat().st_ino, "replaced"]


@needs_compiler
def test_a_compiler_that_does_not_understand_is_quoted(load, monkeypatch):
    monkeypatch.setattr(build, "FLAGS", [*QUICK, "--no-such-flag"])
    monkeypatch.delenv("CXX")
    library, said = load()
    assert library is None
    assert "--no-such-flag" in said[-1] and said[-1].startswith("WARNING the temporal modules run in plain torch")


def test_without_a_compiler_one_line_says_so(load, monkeypatch):
    monkeypatch.setenv("CXX", "nothing-of-this-name")
    library, (line,) = load()
    assert library is None
    assert line.startswith("WARNING the temporal modules run in plain torch") and "nothing-of-this-name" in line
    check()
    assert "cpu" not in available_forms()


def test_the_environment_can_ask_for_a_form():
    code = """
import torch
from teinet.kernels import fuses
fuses(torch.ones(4, 8, 2, 2).contiguous(memory_format=torch.channels_last))
"""
    environment = {**os.environ, "TEINET_KERNELS": "fast"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "it must be one of reference, cpu, triton" in done.stderr
