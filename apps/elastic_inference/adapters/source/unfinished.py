"""Bounds what a camera sends without completing a frame: FFmpeg collects a frame of any size in memory.

Called by `http_stream` and `network`, whose connections pass through this package.
"""

from __future__ import annotations

from collections.abc import Callable

# A key frame of 33 million pixels has a few megabytes. A file of which FFmpeg must first read the end has more.
MAX_UNFINISHED_BYTES = 32 << 20


class Unfinished:
    """Counts bytes since the last complete packet. One thread adds, another one may reset."""

    def __init__(self, what: str, times: int = 1) -> None:
        """`what` names the camera in the error; `times` as much may come where several streams are read."""
        self._most = times * MAX_UNFINISHED_BYTES
        self._count = 0
        self.error = f"{what} has sent {self._most >> 20} MB without a complete frame: check the format of its stream."

    @property
    def too_much(self) -> bool:
        """Whether more has come than any frame has."""
        return self._count > self._most

    def add(self, count: int) -> bool:
        """Counts bytes that arrive; returns whether they are still few enough."""
        self._count += count
        return not self.too_much

    def resetting(self, on_data: Callable[[], None]) -> Callable[[], None]:
        """`on_data`, which is called for each packet, with a reset before it."""

        def both() -> None:
            if not self.too_much:
                self._count = 0
            on_data()

        return both
