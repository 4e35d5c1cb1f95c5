"""A pod's knowledge of which streams are watched, and when to ask again. Pure.

A pod asks about a stream at most once a second. While frames keep coming, the question is part of a publish and costs
no round trip. It asks about a stream that is new or was silent before it publishes the stream's frame, so that a new
viewer gets this frame. If the stream was watched, it publishes at once and asks with the publish: the worst case is one
image for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

ASK_EVERY_S = 1.0
# An older answer does not decide whether a frame is published: that nobody watches, and that somebody does.
_TRUST_NOBODY_S = 2.0
_TRUST_SOMEBODY_S = 60.0
_FORGET_AFTER_S = 600.0


class WatchTable:
    """The last answer for each stream. Not thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bool, float]] = {}
        self._swept_at = 0.0

    def unknown(self, stream_ids: Iterable[str], now_s: float) -> list[str]:
        """Streams to ask about before their frames are published, each once."""
        return [
            each
            for each in dict.fromkeys(stream_ids)
            if self._age_s(each, now_s) >= (_TRUST_SOMEBODY_S if self.is_watched(each) else _TRUST_NOBODY_S)
        ]

    def due(self, stream_ids: Iterable[str], now_s: float) -> list[str]:
        """Streams to ask about within a publish, each once."""
        return [each for each in dict.fromkeys(stream_ids) if self._age_s(each, now_s) >= ASK_EVERY_S]

    def learn(self, stream_id: str, watched: bool, now_s: float) -> None:
        """Records the answer for one stream."""
        self._known[stream_id] = (watched, now_s)
        if now_s - self._swept_at > _FORGET_AFTER_S:
            self._swept_at = now_s
            old = [key for key, (_, at) in self._known.items() if now_s - at > _FORGET_AFTER_S]
            for key in old:
                del self._known[key]

    def forget(self) -> None:
        """Forgets all answers, after a broken connection."""
        self._known.clear()

    def is_watched(self, stream_id: str) -> bool:
        """The last answer; False for a stream that was never asked about."""
        return self._known.get(stream_id, (False, 0.0))[0]

    def __len__(self) -> int:
        return len(self._known)

    def _age_s(self, stream_id: str, now_s: float) -> float:
        known = self._known.get(stream_id)
        return float("inf") if known is None else now_s - known[1]
