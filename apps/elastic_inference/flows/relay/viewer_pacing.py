"""Estimates how far a viewer is behind, by the pings that it has not answered yet. Pure: times in seconds of one clock.

Called by `viewer`. A socket says when it is full, but not what is unread at the other end: the viewer's kernel
accepts and acknowledges megabytes, and small messages never fill it. So a ping follows a frame now and then. A viewer
answers it when it has read that far. While an answer is overdue, the viewer is sent nothing. A viewer that has never
answered is limited by its socket and by the library's own pings alone.
"""

from __future__ import annotations

from collections import deque

# An answer is overdue after this time and after twice the viewer's best time. A viewer that reads 10 of 30 frames per
# second is about three times as far behind.
_MINIMUM_LIMIT_S = 0.2
# A ping and its answer cost about as much as sending two frames, so a viewer that keeps up gets few.
_PROBE_EVERY_S = 1.0
_PROBE_PAUSED_EVERY_S = 0.5
# A slow viewer gets a ping with nearly each frame until it has kept up for _SLOW_FOR_S; so does a new viewer.
_PROBE_SLOW_EVERY_S = 0.05
_SLOW_FOR_S = 2.0
_PROBE_NEW_EVERY_S = 0.1
_NEW_FOR_S = 1.0


class ViewerPacing:
    """The pings of one viewer."""

    def __init__(self) -> None:
        self._pending: deque[tuple[int, float]] = deque()
        self._count = 0
        self._probed_at_s = float("-inf")
        self._slow_until_s = self._new_until_s = float("-inf")
        self._paused = False
        self._best_s: float | None = None
        # Until then frames may be sent and no ping is due, so `may_send` and `sent` need not be called.
        self.quiet_until_s = float("-inf")

    def may_send(self, now_s: float) -> bool:
        """Whether to send another frame now: no ping is overdue."""
        if not self._pending or now_s - self._pending[0][1] <= self._limit_s():
            return True
        self._slow_until_s = now_s + _SLOW_FOR_S
        return False

    def sent(self, now_s: float) -> bytes | None:
        """Records a frame that was sent; returns the payload of the ping to send after it, if any."""
        if self._count == 0:
            self._new_until_s = now_s + _NEW_FOR_S
        since_s = now_s - self._probed_at_s
        if self._pending and self._best_s is None:
            return None
        if now_s < self._slow_until_s:
            if since_s < _PROBE_SLOW_EVERY_S:
                return None
        elif now_s < self._new_until_s:
            if since_s < _PROBE_NEW_EVERY_S:
                return None
        elif self._pending or since_s < (_PROBE_PAUSED_EVERY_S if self._paused else _PROBE_EVERY_S):
            return None
        self._count = (self._count + 1) & 0x7FFFFFFF
        self._probed_at_s = now_s
        self._paused = False
        self.quiet_until_s = float("-inf")
        self._pending.append((self._count, now_s))
        return b"pace" + self._count.to_bytes(4, "big")

    def paused(self) -> None:
        """Records that the socket is full: the next ping comes sooner."""
        self._paused = True
        self.quiet_until_s = float("-inf")

    def answered(self, payload: bytes, now_s: float) -> bool:
        """Records the answer to a ping; False for an old or foreign ping."""
        if len(payload) != 8 or payload[:4] != b"pace":
            return False
        number = int.from_bytes(payload[4:], "big")
        if all(number != each for each, _ in self._pending):
            return False
        while True:
            found, at_s = self._pending.popleft()
            if found == number:
                break
        took_s = now_s - at_s
        if took_s > self._limit_s():
            self._slow_until_s = now_s + _SLOW_FOR_S
        self._best_s = took_s if self._best_s is None else min(self._best_s, took_s)
        if not self._pending and not self._paused and now_s >= max(self._slow_until_s, self._new_until_s):
            self.quiet_until_s = self._probed_at_s + _PROBE_EVERY_S
        return True

    def waiting_s(self, now_s: float) -> float:
        """Age of the oldest unanswered ping; 0 if there is none or this viewer never answered one."""
        return now_s - self._pending[0][1] if self._pending and self._best_s is not None else 0.0

    def _limit_s(self) -> float:
        return float("inf") if self._best_s is None else max(_MINIMUM_LIMIT_S, 2 * self._best_s)
