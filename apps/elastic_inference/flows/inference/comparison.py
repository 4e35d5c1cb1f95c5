"""Compares the detections of two models on the same frames, and decides whether the new one has failed. Pure.

Used before a switch, on the frames of the last seconds, and by the canary, on sampled frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from elastic_inference.domain.model_wish import Figures, ModelFailure, TrialLimits
from elastic_inference.domain.result import Detection

# Boxes of one label that overlap by at least this much are the same object, as in the dashboard's compare view.
SAME_IOU = 0.5
# The newest frames that count.
WINDOW = 200
# The running model has found many: this many objects, in this many frames.
MANY_OBJECTS, MANY_FRAMES = 5, 3
# The time of fewer frames says little; agreement over fewer detections neither.
TIMED_FRAMES = 5
AGREED_OBJECTS = 20
# This many frames may fail, if they are less than this share: a broken frame may fail in any model.
FAILED_FRAMES, FAILED_SHARE = 3, 0.1


class ModelFailedError(Exception):
    """A model is not taken, or no longer tried; the message is a sentence."""

    def __init__(self, reason: ModelFailure, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Frame:
    found: int
    other_found: int
    shared: int
    confidence: float
    other_confidence: float
    other_s: float


class Comparison:
    """Two models on the same frames. Not thread-safe."""

    def __init__(self, limits: TrialLimits) -> None:
        self._limits = limits
        self._frames: deque[_Frame] = deque(maxlen=WINDOW)
        self._failed: deque[bool] = deque(maxlen=WINDOW)
        self.count = 0

    def add(self, running: Sequence[Detection], other: Sequence[Detection], other_s: float) -> None:
        """A frame with the detections of both, and the CPU seconds that the other model took for it."""
        self.count += 1
        self._failed.append(False)
        self._frames.append(
            _Frame(len(running), len(other), shared(running, other), _sum(running), _sum(other), other_s)
        )

    def add_failed(self) -> None:
        """A frame that the running model has inferred, and the other one cannot."""
        self._failed.append(True)

    def figures(self, running_s: float | None) -> Figures:
        """The means of the window; `running_s` is the running model's CPU time for a frame, None if unknown."""
        frames = self._frames
        found, other = sum(each.found for each in frames), sum(each.other_found for each in frames)
        both = found + other
        return Figures(
            frames=self.count,
            agreement=2 * sum(each.shared for each in frames) / both if both else None,
            confidence=sum(each.confidence for each in frames) / found if found else None,
            canary_confidence=sum(each.other_confidence for each in frames) / other if other else None,
            frame_s=running_s,
            canary_frame_s=sum(each.other_s for each in frames) / len(frames) if frames else None,
        )

    def check(self, running_s: float | None) -> None:
        """Raises ModelFailedError if the other model has failed. `running_s` as in `figures`."""
        failed = sum(self._failed)
        if failed >= FAILED_FRAMES and failed > FAILED_SHARE * len(self._failed):
            raise ModelFailedError(ModelFailure.FRAMES, f"It could not infer {failed} of {len(self._failed)} frames.")
        frames = self._frames
        found, other = sum(each.found for each in frames), sum(each.other_found for each in frames)
        if found >= MANY_OBJECTS and sum(each.found > 0 for each in frames) >= MANY_FRAMES and not other:
            raise ModelFailedError(
                ModelFailure.NOTHING_FOUND,
                f"It found nothing on {len(frames)} frames where the running model found {found} objects.",
            )
        agreement = self.figures(None).agreement
        if agreement is not None and found + other >= AGREED_OBJECTS and agreement < self._limits.min_agreement:
            raise ModelFailedError(
                ModelFailure.DISAGREES,
                f"Its agreement with the running model is {agreement:.2f}, over {len(frames)} frames; at least "
                f"{self._limits.min_agreement:g} was asked for.",
            )
        limit = self._limits.max_time_factor
        if running_s and len(frames) >= TIMED_FRAMES:
            # The median: the first frame of another size is slow.
            other_s = sorted(each.other_s for each in frames)[len(frames) // 2]
            if other_s > limit * running_s:
                raise ModelFailedError(
                    ModelFailure.SLOW,
                    f"A frame takes {other_s * 1000:.1f} ms of CPU time, {other_s / running_s:.1f} times as much as "
                    f"with the running model; at most {limit:g} times was asked for.",
                )


def shared(running: Sequence[Detection], other: Sequence[Detection]) -> int:
    """How many detections both have: label and box agree. Each counts once; the most confident choose first."""
    left = sorted(other, key=lambda each: -each.confidence)
    count = 0
    for one in sorted(running, key=lambda each: -each.confidence):
        best, best_overlap = -1, SAME_IOU
        for index, each in enumerate(left):
            if each.label == one.label and (value := overlap(one.box, each.box)) >= best_overlap:
                best, best_overlap = index, value
        if best >= 0:
            del left[best]
            count += 1
    return count


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (xyxy)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both)


def _sum(detections: Sequence[Detection]) -> float:
    return sum(each.confidence for each in detections)
