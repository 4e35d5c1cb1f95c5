"""Decides whether the thread that reads a source also encodes its frames, or another thread does.

Called by `stream`. Waking another thread costs CPU on a busy machine, and memory for another image; but a thread that
encodes does not read, and frames that are read late are old. The caller passes the time.
"""

from __future__ import annotations

# The reader's thread waits for Redis no longer than this.
WAIT_S = 0.1
# Encoding may take this share of the time between two frames. If it takes more this many times in a row, another thread
# encodes for a while. Below that share, another thread would not help much even if reading is late.
SHARE, TIMES = 0.3, 8
APART_S = 5.0


class AtOnce:
    """The decision for one stream, made in the thread that reads."""

    def __init__(self) -> None:
        self._came_at = float("-inf")
        self._since_s = 0.0  # between the last two frames
        self._long = 0
        self._apart_until = float("-inf")

    def allows(self, now: float) -> bool:
        """Call it once for each frame."""
        self._since_s, self._came_at = now - self._came_at, now
        return now >= self._apart_until

    def took(self, now: float) -> None:
        """Records that a frame was encoded and pushed in the reader's thread."""
        spent_s = now - self._came_at
        self._long = self._long + 1 if spent_s > SHARE * self._since_s else 0
        if self._long >= TIMES or spent_s > max(WAIT_S, self._since_s):
            self._long = 0
            self._apart_until = now + APART_S
