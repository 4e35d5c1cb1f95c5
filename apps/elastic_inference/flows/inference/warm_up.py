"""Times a model before its first frame, so that a new pod knows its capacity. Called by `inference_service`."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np
import simplejpeg

from elastic_inference.domain.frame import Frame
from elastic_inference.flows.inference.engine import Engine
from elastic_inference.flows.inference.frame_detector import FrameDetector, make_detectors

# Long enough to see how many cores the other pods of a node leave. A hundred cores would be busy for the whole of it.
CORES_S = 0.1
# An accelerator's pod uses no CPU meanwhile, and needs a while for its full speed.
DEVICE_S = 1.0
# Frames per request after its slow first one; their CPU time differs by a few per cent.
MIN_FRAMES = 2
_FRAME_SIZE = (768, 432)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A pod's capacity before its first frame: frames a second, and the cores used meanwhile."""

    fps: float
    cores: float


def warm_up(engine: Engine, fixed: float | None = None) -> WarmUp:
    """Runs the engine's requests on a synthetic frame. The first frame of each is not timed.

    `fixed` is the quota in cores: then the CPU time of a few frames says enough, and the start stays short. Otherwise
    it runs for CORES_S to see how many cores are available. Raises RuntimeError if OpenVINO fails, ModelError for
    scores outside 0..1, and whatever the adapter raises if it cannot read the outputs.
    """
    if engine.on_cpu and fixed is not None:
        # Spare requests share the streams of the others.
        return _Timing(make_detectors(engine, 0.5, count=engine.streams), 0.0).run().under(fixed)
    return _Timing(make_detectors(engine, 0.5), CORES_S if engine.on_cpu else DEVICE_S).run().measured


class _Timing:
    """Starts all detectors together after their first frame, and lets each finish its last."""

    def __init__(self, detectors: Sequence[FrameDetector], seconds: float) -> None:
        self._detectors = detectors
        self._seconds = seconds
        self._frame = synthetic_frame()
        self._counts = [0] * len(detectors)
        self._failures: list[Exception] = []
        # Passed twice: when all are ready, and when the end time is set.
        self._barrier = threading.Barrier(len(detectors) + 1)
        self._until_s = 0.0
        self.spent_s = self.used_s = 0.0

    @property
    def measured(self) -> WarmUp:
        """Measured by the clock."""
        return WarmUp(sum(self._counts) / self.spent_s, self.used_s / self.spent_s)

    def under(self, cores: float) -> WarmUp:
        """Calculated from the CPU time: under a quota, the first few frames still run at full speed."""
        used_s = self.used_s or self.spent_s * cores
        return WarmUp(sum(self._counts) / used_s * cores, cores)

    def run(self) -> _Timing:
        threads = [
            threading.Thread(target=self._work, args=(index,), name=f"warm-up-{index}")
            for index in range(len(self._detectors))
        ]
        for thread in threads:
            thread.start()
        began_s = used_s = 0.0
        try:
            self._barrier.wait()
            began_s, used_s = time.monotonic(), time.process_time()
            self._until_s = began_s + self._seconds
            self._barrier.wait()
        except threading.BrokenBarrierError:
            pass  # the failure is raised below
        for thread in threads:
            thread.join()
        for error in self._failures:
            if not isinstance(error, threading.BrokenBarrierError):
                raise error
        self.spent_s, self.used_s = time.monotonic() - began_s, time.process_time() - used_s
        return self

    def _work(self, index: int) -> None:
        detector = self._detectors[index]
        try:
            detector.check(self._frame)
            self._barrier.wait()
            self._barrier.wait()
            while time.monotonic() < self._until_s or self._counts[index] < MIN_FRAMES:
                detector.infer(self._frame)
                self._counts[index] += 1
        except Exception as error:  # noqa: BLE001  raised again by `run`, in the caller's thread
            self._failures.append(error)
            self._barrier.abort()


def infer_once(detectors: Sequence[FrameDetector]) -> None:
    """Lets all detectors infer a frame at the same time, so that each stream of the engine has its slow first one.

    Raises what the first of them raises that fails.
    """
    frame, failures = synthetic_frame(), list[Exception]()

    def work(detector: FrameDetector) -> None:
        try:
            detector.infer(frame)
        except Exception as error:  # noqa: BLE001  raised again in the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(each,), name="first-frame") for each in detectors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def synthetic_frame(size: tuple[int, int] = _FRAME_SIZE, seed: int = 1) -> Frame:
    """A frame with soft shapes, about as hard to decode as a camera's: some 50 kB at 768x432."""
    width, height = size
    shape = (height // 4, width // 4, 3)
    # Not with numpy's random generators: importing them takes longer than this.
    noise = np.frombuffer(Random(seed).randbytes(math.prod(shape)), np.uint8).reshape(shape)  # noqa: S311
    image = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), 60, "BGR", "420")
    return Frame("warm-up", "warm-up", data, width=width, height=height)


def limit_opencv() -> None:
    """Keeps OpenCV in the calling thread: its own threads would compete with the workers."""
    cv2.setNumThreads(1)
