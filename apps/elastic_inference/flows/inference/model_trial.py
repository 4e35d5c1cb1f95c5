"""Tries a model on frames that the running one has inferred: before a switch, and as a canary. In the models thread.

On the CPU, the trial's model has one thread: that of the caller. So its CPU time is known exactly, also while the pod
infers at full load, and it is no part of the pod's load.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.domain import keys
from elastic_inference.domain.errors import InvalidFrameError, ModelError, StaleFrameError
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.model_wish import ModelFailure, TrialLimits
from elastic_inference.domain.result import Detection, Result
from elastic_inference.flows.inference.comparison import Comparison, ModelFailedError
from elastic_inference.flows.inference.engine import Engine, reason
from elastic_inference.flows.inference.frame_detector import make_detectors
from elastic_inference.flows.inference.warm_up import synthetic_frame

log = logging.getLogger(__name__)

# Frames of the warm-up that are timed, after the slow first one.
_WARM_FRAMES = 3
_MAX_FACTOR = 100.0


class Trial:
    """A model under trial. Not thread-safe."""

    def __init__(
        self,
        engine: Engine,
        threshold: float,
        limits: TrialLimits,
        budget: ByteBudget | None = None,
        wait_s: float | None = None,
    ) -> None:
        """`threshold`, `budget` and `wait_s` are those of the detectors; see `make_detectors`."""
        self._detector = make_detectors(engine, threshold, budget, wait_s, 1)[0]
        self._timed = engine.inline
        self.comparison = Comparison(limits)
        self._warm_s = 0.0
        self._spent_s: list[float] = []

    def warm_up(self) -> None:
        """Infers a synthetic frame a few times. Raises ModelFailedError."""
        frame = synthetic_frame()
        try:
            self._detector.check(frame)
            began_s = time.thread_time()
            for _ in range(_WARM_FRAMES):
                self._detector.infer(frame)
        except ModelError as error:
            raise ModelFailedError(ModelFailure.SCORES, str(error)) from None
        except Exception as error:
            # OpenVINO fails, or the adapter cannot read the outputs.
            log.debug("the warm-up failed", exc_info=True)
            raise ModelFailedError(ModelFailure.LOAD, f"It cannot be run: {reason(error)}.") from None
        self._warm_s = (time.thread_time() - began_s) / _WARM_FRAMES

    def add(self, result: Result, jpeg: bytes) -> Sequence[Detection] | None:
        """Infers a frame that the running model has inferred; None if it cannot. Raises ModelFailedError for scores."""
        name, kind = keys.split_stream_id(result.stream) or ("", "")
        frame = Frame(name, kind, jpeg, result.seq, result.ts, result.age_ms, result.width, result.height)
        began_s = time.thread_time()
        try:
            found = self._detector.check(frame)
        except (InvalidFrameError, StaleFrameError):
            return None  # the image's fault
        except ModelError as error:
            raise ModelFailedError(ModelFailure.SCORES, str(error)) from None
        except Exception:  # noqa: BLE001  counted, and too many of them are a failure
            self.comparison.add_failed()
            return None
        spent_s = time.thread_time() - began_s if self._timed else 0.0
        self._spent_s.append(spent_s)
        del self._spent_s[:-100]
        self.comparison.add(result.detections, found, spent_s)
        return found

    def running_s(self, frame_s: float | None) -> float | None:
        """The running model's time for a frame, if the two can be compared: only on the CPU."""
        return frame_s if self._timed else None

    def factor(self, frame_s: float | None) -> float:
        """How many times as long this model takes for a frame as the running one; 1 if unknown."""
        spent = sorted(self._spent_s) or [self._warm_s]
        if not self._timed or not frame_s:
            return 1.0
        return min(_MAX_FACTOR, max(1 / _MAX_FACTOR, spent[len(spent) // 2] / frame_s))
