"""Shifts what Python takes for the time of day by EI_CLOCK_OFFSET seconds; the monotonic clock stays right.

For processes that call `time.sleep`, as a pod does: with a monotonic clock that stays right, libfaketime 0.9.10 makes
that fail (EINVAL).
"""

import os
import time

_offset_s = int(os.environ["EI_CLOCK_OFFSET"])
_time, _time_ns = time.time, time.time_ns


def _shifted() -> float:
    return _time() + _offset_s


def _shifted_ns() -> int:
    return _time_ns() + _offset_s * 10**9


time.time, time.time_ns = _shifted, _shifted_ns
