"""How far one viewer is behind, by the pings it has not answered yet. Pure: times in seconds of one clock.

The socket tells when it takes no more, but not what lies unread at the other end: the viewer's kernel accepts megabytes
and acknowledges them, and small messages never fill it. So now and then a ping follows a frame. A viewer answers it
when it has read that far; until then, past a limit, it is sent nothing. A viewer that has never answered is left to
its socket, and to the library's own pings. Called by `viewer`.
"""

from __future__ import annotations

from collections import deque

# An answer that takes longer than this, and than twice the viewer's best, comes from a viewer that reads too slowly.
# A viewer that reads 10 of 30 frames a second is about three times as far behind.
_LEAST_LIMIT_S = 0.2
# A ping and its answer cost about as much as two frames sent: few pings while all is well.
_PROBE_EVERY_S = 1.0
_PROBE_PAUSED_EVERY_S = 0.5
# A slow viewer gets one with nearly each frame until it has kept up for so long; a new one is watched as closely.
_PROBE_SLOW_EVERY_S = 0.05
_SLOW_FOR_S = 2.0
_PROBE_NEW_EVERY_S = 0.1
_NEW_FOR_S = 1.0


class Pace:
    """One viewer's."""

    def __init__(self) -> None:
        self._pending: deque[tuple[int, float]] = deque()
        self._count = 0
        self._probed_at_s = float("-inf")
        self._slow_until_s = self._new_until_s = float("-inf")
        self._paused = False
        self._best_s: float | None = None
        # Until then a frame may go out and no ping is due, so that neither `may_send` nor `sent` need be asked.
        self.quiet_until_s = float("-inf")

    def may_send(self, now_s: float) -> bool:
        """Whether another frame may go out: no ping has been waiting for longer than the limit."""
        if not self._pending or now_s - self._pending[0][1] <= self._limit_s():
            return True
        self._slow_until_s = now_s + _SLOW_FOR_S
        return False

    def sent(self, now_s: float) -> bytes | None:
        """A frame went out; the payload of the ping that should follow it, if any."""
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
        """The socket took no more: reason to look sooner."""
        self._paused = True
        self.quiet_until_s = float("-inf")

    def answered(self, payload: bytes, now_s: float) -> bool:
        """The viewer answered a ping; False when it was none of ours or an old one."""
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
        """For how long the oldest ping has not been answered; 0 where none is open or none ever was answered."""
        return now_s - self._pending[0][1] if self._pending and self._best_s is not None else 0.0

    def _limit_s(self) -> float:
        return float("inf") if self._best_s is None else max(_LEAST_LIMIT_S, 2 * self._best_s)
