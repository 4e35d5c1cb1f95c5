"""Keeping freed memory for the next frame, on glibc.

Called at the start of a service that handles pictures. By default glibc gives freed pictures back to the kernel and
takes them again page by page: measured 15 page faults a 50 kB frame in batches of 16, twice the CPU time.
"""

from __future__ import annotations

import ctypes

# From malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MIB = 1024 * 1024


def keep_freed_memory(limit_bytes: int = 32 * _MIB) -> bool:
    """Lets malloc keep up to `limit_bytes` of freed memory; whether it can (False without glibc)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    done = (
        mallopt(_M_MMAP_THRESHOLD, 32 * _MIB),
        mallopt(_M_TRIM_THRESHOLD, limit_bytes),
        mallopt(_M_TOP_PAD, min(limit_bytes, 4 * _MIB)),
    )
    return all(done)
