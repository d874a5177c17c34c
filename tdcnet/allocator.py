"""The C library's allocator, set for a program that frees and takes large blocks all the time."""

from __future__ import annotations

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
VARIABLES = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Lets the process keep memory that it frees, instead of returning every large block to the system.

    By glibc's default each tensor above some megabytes is fresh memory, and the system clears it page by page when it
    is first written: on a CPU that can cost more than the arithmetic on it. Costs nothing but that the process stays
    as large as it once was. For programs, not for libraries: call it once, before the work starts.

    Returns:
        whether it was done: not where the C library is another one, nor where the user has set the allocator by one
        of the environment variables of :data:`VARIABLES`.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in VARIABLES):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018, musl has no such function, and its mallopt is not this one
        return bool(library.mallopt(MMAP_MAX, 0)) and bool(library.mallopt(TRIM_THRESHOLD, -1))
    except (AttributeError, OSError):
        return False
