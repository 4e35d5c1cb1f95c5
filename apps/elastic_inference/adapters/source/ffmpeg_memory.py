"""Bounds the memory that FFmpeg takes in one block: it collects a frame of any size before it hands it out.

Called by `container`. PyAV has no function for this, so it is FFmpeg's own, of the library that PyAV has loaded.
"""

from __future__ import annotations

import ctypes

from av import _core

# Beside images: a key frame as it was sent, a file's index.
_OTHER_BYTES = 32 << 20
# Of one plane; formats that take more need images below the largest size.
_BYTES_A_PIXEL = 4


def bound_blocks(pixels: int) -> int:
    """Lets FFmpeg take blocks for images of at most `pixels`, in the whole process; returns the bound, in bytes.

    Without it, a camera that never ends a frame takes what comes until the read's time-out: gigabytes.
    """
    most = _OTHER_BYTES + _BYTES_A_PIXEL * pixels
    # A symbol is also looked for in the libraries that the module was linked with.
    set_most = ctypes.CDLL(_core.__file__).av_max_alloc
    set_most.argtypes, set_most.restype = (ctypes.c_size_t,), None
    set_most(most)
    return most
