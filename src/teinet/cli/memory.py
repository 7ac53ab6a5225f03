"""Settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import os
import sys

# Of malloc.h: the free memory at the end of the heap that is returned to the system, and the number of blocks that are
# mapped separately (and unmapped when freed): by default all blocks above 32 MiB.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_ALL, _NONE = 2**31 - 1, 0


def keep_freed_memory() -> bool:
    """Keep freed memory in the process, so that the system does not clear its pages again; return true on success.

    A network frees and allocates the same hundreds of megabytes in each pass. This affects the process and its
    children, with glibc only, unless MALLOC_TRIM_THRESHOLD_ is set. Peak memory stays the same, but does not fall.
    """
    if not sys.platform.startswith("linux") or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    os.environ |= {"MALLOC_TRIM_THRESHOLD_": str(_ALL), "MALLOC_MMAP_MAX_": str(_NONE)}
    return bool(mallopt(_MMAP_MAX, _NONE)) and bool(mallopt(_TRIM_THRESHOLD, _ALL))
