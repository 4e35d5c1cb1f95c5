"""What pods and viewers need of one stream, by the queue's answers: the frame size, and whether it is watched.

Called by `stream` and `pusher`. Safe for several threads: each answer replaces one entry.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from elastic_inference.domain.image_size import UNKNOWN, WATCHED, FrameSize, ModelSize, reduced, size_of

# Each push brings an answer. If frames come less often than this, the queue is asked.
ASK_EVERY_S = 0.4
# An older answer is ignored: frames then have their full size.
TRUST_S = 3.0


class StreamNeeds:
    """The newest answer of each inference type."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[int, float]] = {}

    def learn(self, infer_type: str, answer: int, now: float | None = None) -> None:
        """Records what the queue of one type has answered, now."""
        self._answers[infer_type] = answer, time.monotonic() if now is None else now

    def due(self, infer_type: str, now: float) -> bool:
        """Whether the queue should be asked."""
        return now - self._answers.get(infer_type, (UNKNOWN, float("-inf")))[1] >= ASK_EVERY_S

    def watched(self, types: Iterable[str], now: float) -> bool:
        """Whether somebody watches the stream; also true while unknown."""
        return any(code == WATCHED for code in self._codes(types, now))

    def known_watched(self, types: Sequence[str], now: float) -> bool | None:
        """Whether somebody watches the stream; None if not all queues have answered lately."""
        answers = [self._answers.get(each, (UNKNOWN, float("-inf"))) for each in types]
        codes = [code for code, at in answers if now - at <= TRUST_S]
        if WATCHED in codes:
            return True
        return False if len(codes) == len(types) else None

    def size(self, types: Iterable[str], width: int, height: int, now: float) -> FrameSize:
        """The size at which a frame of this size is needed: its own if somebody watches or a need is unknown."""
        models: list[ModelSize] = []
        for code in self._codes(types, now):
            model = size_of(code)
            if model is None:
                return FrameSize(width, height)
            models.append(model)
        return reduced(width, height, models)

    def _codes(self, types: Iterable[str], now: float) -> Iterable[int]:
        for each in types:
            code, at = self._answers.get(each, (UNKNOWN, 0.0))
            yield WATCHED if now - at > TRUST_S else code
