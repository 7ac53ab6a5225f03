"""How this process treats memory that it has freed."""

from __future__ import annotations

import ctypes
import os
import sys

# Of malloc.h: how much free memory at the heap's end goes back to the system, and how many blocks may come from the
# system by themselves (and go back as soon as they are freed): by default all above 32 MiB, whatever the threshold.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_ALL, _NONE = 2**31 - 1, 0


def keep_freed_memory() -> bool:
    """Keep freed memory for the next use, instead of having the system clear it page by page again; True if so now.

    A network frees and takes the same hundreds of megabytes in every pass. Holds for this process and its children,
    with glibc only, unless MALLOC_TRIM_THRESHOLD_ is set. Memory peaks as before, but does not fall afterwards.
    """
    if not sys.platform.startswith("linux") or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    os.environ |= {"MALLOC_TRIM_THRESHOLD_": str(_ALL), "MALLOC_MMAP_MAX_": str(_NONE)}
    return bool(mallopt(_MMAP_MAX, _NONE)) and bool(mallopt(_TRIM_THRESHOLD, _ALL))
