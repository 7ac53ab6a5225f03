"""Freed memory that stays with the process: its pages are not asked of the system again."""

import os
import subprocess
import sys

import pytest

LARGE = """
import resource, sys
import numpy
from teinet.utils.memory import keep_freed_memory

kept = sys.argv[1] == "keep" and keep_freed_memory()
for _ in range(6):
    numpy.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    numpy.ones(10_000_000)  # 80 MB each: above what any threshold of the C library reaches
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

THREADS = """
import resource, sys, threading
import numpy
from teinet.utils.memory import keep_freed_memory

kept = sys.argv[1] == "keep" and keep_freed_memory()

def fill():
    [numpy.ones(2_000_000) for _ in range(10)]  # 16 MB each

thread = threading.Thread(target=fill)
thread.start()
thread.join()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(program, how):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    command = [sys.executable, "-c", program, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return map(int, done.stdout.split())


@pytest.mark.parametrize("program", [LARGE, THREADS], ids=["large", "threads"])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_freed_memory_is_used_again_without_the_system(program):
    """Large blocks, and what a thread has freed."""
    kept, few = faults(program, "keep")
    if not kept:
        pytest.skip("another C library")
    _, many = faults(program, "plain")
    assert 4 * few < many  # the heap's layout has to settle first, so some blocks are still asked for
