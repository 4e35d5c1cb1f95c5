"""How large the frames of a stream need to be: what pods and the websocket server write into the queue's Redis.

The push script answers with one number, so that a producer needs no round trip to ask. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

MAX_SIDE = 16384
# The answer to a push is the number of dropped frames, plus this times the size needed. `push.lua` has the same number.
ANSWER_UNIT = 4096
UNKNOWN = 0  # no pod has said what it needs, and nobody watches
WATCHED = 1
_SIDE_BITS = 1 << 15
_LETTERBOX = 1 << 30
_TEXT = re.compile(rb"(\d{1,5})x(\d{1,5}) (stretch|letterbox)")
# Pods decode a frame at full scale if they need more than half of it. A smaller frame saves little, and moved one box
# in five.
_WORTH = 0.5
# The scales at which pods decode JPEGs (`inference.jpeg`). A frame of such a size gives a model the same input as
# the full frame, and boxes move less. It is chosen if it has at most this many times the pixels of the smallest size.
_DECODED_AT = (1 / 8, 1 / 4, 1 / 2)
_MOST_PIXELS = 3.0
# The longer side, if the model letterboxes: such inputs can be small, and at 240x136 one face in six moved.
_LEAST_SIDE = 320


class FrameSize(NamedTuple):
    """How to encode a frame: its size in pixels; with `full_chroma`, without chroma subsampling."""

    width: int
    height: int
    full_chroma: bool = False


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The size of a model's input in pixels. With `letterbox` a frame keeps its proportions, else it is stretched."""

    width: int
    height: int
    letterbox: bool = False

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {'letterbox' if self.letterbox else 'stretch'}"

    @property
    def code(self) -> int:
        """The number for this size in the answer to a push."""
        return (_LETTERBOX if self.letterbox else 0) + self.width * _SIDE_BITS + self.height

    def scale(self, width: int, height: int) -> float:
        """The smallest scale at which a frame of this size still covers the model's input."""
        ratios = self.width / width, self.height / height
        return max(min(ratios), _LEAST_SIDE / max(width, height)) if self.letterbox else max(ratios)

    def with_room_for(self, other: ModelSize) -> ModelSize:
        """One size for both models."""
        return ModelSize(
            max(self.width, other.width), max(self.height, other.height), self.letterbox and other.letterbox
        )


def read_size(value: object) -> ModelSize | None:
    """Reads what a pod has written; None if it is invalid."""
    found = _TEXT.fullmatch(value) if isinstance(value, bytes) else None
    if found is None:
        return None
    width, height = int(found[1]), int(found[2])
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        return None
    return ModelSize(width, height, found[3] == b"letterbox")


def size_of(code: int) -> ModelSize | None:
    """The size in an answer, None for UNKNOWN, WATCHED and what is out of bounds."""
    sides = code % _LETTERBOX
    width, height = divmod(sides, _SIDE_BITS)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and code < 2 * _LETTERBOX):
        return None
    return ModelSize(width, height, code >= _LETTERBOX)


def reduced(width: int, height: int, models: Iterable[ModelSize]) -> FrameSize:
    """The size at which a frame of this size still covers the input of each model: proportions kept, never enlarged.

    Both sides are even, which encoders prefer. Models that letterbox, such as YOLO, need full chroma: cameras have
    already halved its size, and halving it again moved one box in eight.
    """
    models = tuple(models)
    scale = max((model.scale(width, height) for model in models), default=1.0)
    if scale > _WORTH:
        return FrameSize(width, height)
    decoded_at = next(each for each in _DECODED_AT if each >= scale)
    if decoded_at**2 <= _MOST_PIXELS * scale**2:
        scale = decoded_at
    return FrameSize(_even(width * scale), _even(height * scale), any(model.letterbox for model in models))


def _even(side: float) -> int:
    return max(16, 2 * -(-round(side) // 2))
