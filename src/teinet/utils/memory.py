"""Settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import os
import sys

# Of malloc.h: the free memory at the end of the heap that is returned to the system, and the number of blocks that are
# mapped separately (and unmapped when freed): by default all blocks above 32 MiB. And the number of heaps: by default
# threads have their own, and the network could not reuse the memory of the threads that decoded.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_ALL, _NONE, _ONE = 2**31 - 1, 0, 1


def keep_freed_memory() -> bool:
    """Keep freed memory in the process, so that the system does not clear its pages again; return true on success.

    A network frees and allocates the same hundreds of megabytes in each pass; on a CPU it runs up to twice as fast if
    it gets the same pages again. This affects the process and its children, with glibc only, unless
    MALLOC_TRIM_THRESHOLD_ is set; the process keeps its peak size. Call it at the start, before large arrays are made.
    """
    if not sys.platform.startswith("linux") or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_ARENA_MAX")
    settings = {_TRIM_THRESHOLD: _ALL, _MMAP_MAX: _NONE, _ARENA_MAX: _ONE}
    os.environ |= zip(names, map(str, settings.values()))
    return min(mallopt(*setting) for setting in settings.items()) == 1
