"""Freed memory that stays with the process: its pages are not asked of the system again."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy
from teinet.cli.memory import keep_freed_memory

kept = sys.argv[1] == "keep" and keep_freed_memory()
for _ in range(6):
    numpy.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    numpy.ones(10_000_000)  # 80 MB each: above what any threshold of the C library reaches
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    command = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return map(int, done.stdout.split())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_large_blocks_are_used_again_without_the_system():
    kept, few = faults("keep")
    if not kept:
        pytest.skip("another C library")
    _, many = faults("plain")
    assert 4 * few < many  # the heap's layout has to settle first, so some blocks are still asked for
