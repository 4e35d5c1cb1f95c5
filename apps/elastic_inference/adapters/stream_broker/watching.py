"""A pod's knowledge of which streams are watched, and when to ask again. Pure.

A pod asks about a stream at most once a second. While frames keep coming, the question is part of a publish and costs
no round trip. It asks about a stream that is new or was silent before it publishes the stream's frame, so that a new
viewer gets this frame. If the stream was watched, it publishes at once, and Redis tells how many clients got the image.
If none did, the pod asks before it sends the next one: a slow stream sends one image for nobody. It asks every 30 s all
the same, since a client that subscribes to a pattern gets images, but is no viewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

ASK_EVERY_S = 1.0
# An older answer does not decide whether a frame is published: that nobody watches, and that somebody does.
_TRUST_NOBODY_S = 2.0
_TRUST_SOMEBODY_S = 60.0
# A receiver of images does not replace the question for longer.
_ASK_ANYWAY_S = 30.0
_FORGET_AFTER_S = 600.0


class WatchTable:
    """The last answer for each stream. Not thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bool, float]] = {}
        self._asked_at: dict[str, float] = {}
        # Watched streams whose last image reached nobody.
        self._unheard: set[str] = set()
        self._swept_at = 0.0

    def unknown(self, stream_ids: Iterable[str], now_s: float) -> list[str]:
        """Streams to ask about before their frames are published, each once."""
        return [each for each in dict.fromkeys(stream_ids) if self._age_s(each, now_s) >= self._trust_s(each)]

    def due(self, stream_ids: Iterable[str], published: Set[str], now_s: float) -> list[str]:
        """Streams to ask about within a publish, each once. `published`: those whose images are in it."""
        return [
            each
            for each in dict.fromkeys(stream_ids)
            if self._age_s(each, now_s) >= ASK_EVERY_S and not (each in published and self._told(each, now_s))
        ]

    def learn(self, stream_id: str, watched: bool, now_s: float) -> None:
        """Records the answer for one stream."""
        self._known[stream_id] = (watched, now_s)
        self._asked_at[stream_id] = now_s
        self._unheard.discard(stream_id)
        if now_s - self._swept_at > _FORGET_AFTER_S:
            self._swept_at = now_s
            old = [key for key, (_, at) in self._known.items() if now_s - at > _FORGET_AFTER_S]
            for key in old:
                del self._known[key], self._asked_at[key]
            self._unheard &= self._known.keys()

    def reached(self, stream_id: str, receivers: int, now_s: float) -> None:
        """Records how many clients got an image of a stream that is known to be watched."""
        if receivers > 0:
            self._known[stream_id] = (True, now_s)
            self._unheard.discard(stream_id)
        else:
            self._unheard.add(stream_id)

    def forget(self) -> None:
        """Forgets all answers, after a broken connection."""
        self._known.clear()
        self._asked_at.clear()
        self._unheard.clear()

    def is_watched(self, stream_id: str) -> bool:
        """The last answer; False for a stream that was never asked about."""
        return self._known.get(stream_id, (False, 0.0))[0]

    def __len__(self) -> int:
        return len(self._known)

    def _told(self, stream_id: str, now_s: float) -> bool:
        """Whether the reply to the image will do as an answer."""
        return now_s - self._asked_at[stream_id] < _ASK_ANYWAY_S

    def _trust_s(self, stream_id: str) -> float:
        if not self.is_watched(stream_id):
            return _TRUST_NOBODY_S
        return ASK_EVERY_S if stream_id in self._unheard else _TRUST_SOMEBODY_S

    def _age_s(self, stream_id: str, now_s: float) -> float:
        known = self._known.get(stream_id)
        return float("inf") if known is None else now_s - known[1]
