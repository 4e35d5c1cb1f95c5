"""Chooses the images of events: the frame that shows an object best. Pure; called by the event service.

A frame that shows several objects is one image. An image's name is `<stream id>/<epoch>-<order>`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import msgpack

from elastic_inference.domain import keys
from elastic_inference.domain.events.event import Event, EventKind, Phase
from elastic_inference.domain.events.missing import SENTENCES, Missing
from elastic_inference.domain.result import Detection, Result

log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]
# Another image is requested if it is better by this factor, and the last request was this long ago.
BETTER = 1.2
# Or if the frame has this many times the pixels, and shows the object nearly as well: the first image asks for frames
# of the camera's full size.
MORE_PIXELS = 2
AGAIN_MS = 1000.0
AFTER_FAILURE_MS = 5000.0
# The last part of an image's address: `<epoch>-<order>`.
FRAME_NUMBER = re.compile(r"\d{1,19}-\d{1,19}")


class ImageRule(StrEnum):
    """Which frame is best: the one with the largest object, or the one with the highest confidence."""

    LARGEST = "largest"
    CONFIDENCE = "confidence"


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """`rule` chooses the image; `base` stands before its path, empty for a relative address."""

    rule: ImageRule = ImageRule.LARGEST
    base: str = ""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A request for a frame to the pod that inferred it. `first`: an event has no image yet."""

    image: str
    stream: str
    order: int
    pod: str
    first: bool


@dataclass(slots=True)
class _Shown:
    """The images of an open event: the one that is kept, and the one requested last."""

    track: str
    kept: tuple[str, Box] | None = None
    asked: tuple[str, Box] | None = None
    score: float = 0.0
    pixels: int = 0  # of the image requested last, 0 if unknown
    asked_ms: float = float("-inf")
    reason: Missing | None = None

    def pack(self) -> list[Any]:
        """What another worker needs to continue, for `unpack`."""
        return [self.track, self.kept or self.asked, self.score]

    @classmethod
    def unpack(cls, packed: list[Any]) -> _Shown:
        """Parses what `pack` returned. Raises ValueError or TypeError for anything else."""
        track, found, score = packed
        kept = None
        if found is not None:
            image, box = found
            left, top, right, bottom = (float(edge) for edge in box)
            named = isinstance(image, str) and FRAME_NUMBER.fullmatch(image.rpartition("/")[2])
            if not (named and 0 <= left <= 1 and 0 <= top <= 1 and 0 <= right <= 1 and 0 <= bottom <= 1):
                raise ValueError("not an image and a box")
            kept = (image, (left, top, right, bottom))
        return cls(str(track), kept, kept, float(score))


class StreamImages:
    """The images of one stream's open events. Not thread-safe."""

    def __init__(self, stream: str, epoch: int, choice: ImageChoice, state: bytes = b"") -> None:
        """`state` is what `state()` returned at the last checkpoint; a malformed one is ignored."""
        self._prefix = f"{stream}/{epoch}-"
        self._stream = stream
        self._choice = choice
        self._open: dict[str, _Shown] = {}
        if state:
            try:
                self._open = {str(each): _Shown.unpack(packed) for each, packed in msgpack.unpackb(state).items()}
            except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
                log.warning("%s: open events start without images, as the saved ones can't be read: %s", stream, error)

    def state(self) -> bytes:
        """What the next worker needs to continue."""
        packed: bytes = msgpack.packb({event_id: shown.pack() for event_id, shown in self._open.items()})
        return packed

    def on_result(
        self, result: Result, events: Sequence[Event], at_ms: float
    ) -> tuple[list[Event], list[ImageRequest]]:
        """The events of a result with their images, and the images to request. `result` contains its tracks."""
        if not (events or self._open):
            return [], []
        seen = {str(each.attributes["track"]): each for each in result.detections if "track" in each.attributes}
        for event in events:
            starts = event.phase is not Phase.END or event.kind is EventKind.LINE
            if event.track and starts and event.id not in self._open:
                self._open[event.id] = self._begin(event.track, seen)
        requests = self._ask(result, seen, at_ms)
        return self.fill(events), requests

    def fill(self, events: Sequence[Event]) -> list[Event]:
        """Adds the known images to the events; forgets events that have ended."""
        return [self._fill(event) if event.track else event for event in events]

    def learn(self, image: str, reason: Missing | None) -> None:
        """Records that a requested image is now kept, or that it is missing."""
        for shown in self._open.values():
            if shown.asked is None or shown.asked[0] != image:
                continue
            shown.reason = reason
            if reason is None:
                shown.kept = shown.asked
            elif shown.kept is None:
                shown.score = 0.0  # any other frame is better

    def _begin(self, track: str, seen: dict[str, Detection]) -> _Shown:
        """An event of an object that this frame does not show gets the image of another event of the object."""
        shown = _Shown(track)
        if track not in seen:
            others = (each for each in self._open.values() if each.track == track and each.asked)
            if (other := next(others, None)) is not None:
                shown.kept, shown.asked, shown.reason = other.kept, other.kept or other.asked, other.reason
        return shown

    def _ask(self, result: Result, seen: dict[str, Detection], at_ms: float) -> list[ImageRequest]:
        """At most one request: for this frame, if it is the best one for any event."""
        image = f"{self._prefix}{result.order}"
        wanted = first = False
        pixels = (result.width or 0) * (result.height or 0)
        for shown in self._open.values():
            found = seen.get(shown.track)
            pause_ms = AGAIN_MS if shown.reason is None else AFTER_FAILURE_MS
            if found is None or 0 <= at_ms - shown.asked_ms < pause_ms:
                continue
            score = self._score(found)
            more = shown.pixels and pixels >= MORE_PIXELS * shown.pixels and score * BETTER >= shown.score
            if more or score > BETTER * shown.score:
                wanted, first, shown.pixels = True, first or shown.kept is None, pixels
                shown.asked, shown.score, shown.asked_ms, shown.reason = (image, found.box), score, at_ms, None
        if not wanted:
            return []
        if not keys.is_name(result.pod):
            self.learn(image, Missing.POD)
            return []
        return [ImageRequest(image, self._stream, result.order, result.pod, first)]

    def _score(self, found: Detection) -> float:
        if self._choice.rule is ImageRule.CONFIDENCE:
            return found.confidence
        left, top, right, bottom = found.box
        return max(1e-9, (right - left) * (bottom - top))

    def _fill(self, event: Event) -> Event:
        shown = self._open.pop(event.id, None) if event.phase is Phase.END else self._open.get(event.id)
        found, reason = None, None
        if shown is not None:
            found, reason = shown.kept or (shown.asked if shown.reason is None else None), shown.reason
        if found is None:
            return replace(event, snapshot_reason=SENTENCES[reason or Missing.HIDDEN])
        return replace(event, snapshot=self._address(event.id, found[0]), snapshot_box=found[1])

    def _address(self, event_id: str, image: str) -> str:
        frame = image.rpartition("/")[2]
        return f"{self._choice.base}/api/events/{quote(event_id, safe='')}/snapshot?image={frame}"
