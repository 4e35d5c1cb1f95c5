"""What becomes of one frame: decoded, fitted to the model, inferred, read. And the warm-up that times it.

Called by the inference flow, one `FrameWorker` a thread. Knows no queue and no broker.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg

from elastic_inference.domain.frame import Frame
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.base import Placement, PreparedModel, Resize, fit, place
from elastic_inference.flows.inference.engine import Engine, Slot
from elastic_inference.flows.inference.jpeg import JpegDecoder

# Enough for a first estimate, short enough for a pod that has a tenth of a core.
WARM_UP_S = 1.0
_WARM_UP_SIZE = (768, 432)


class DecoderStack:
    """Decoders that workers share. The last one given is taken first: its buffer is still in the processor's cache.

    Any thread may call: `list.append` and `list.pop` are atomic.
    """

    def __init__(self, colour: str) -> None:
        self._colour = colour
        self._free: list[JpegDecoder] = []

    def take(self) -> JpegDecoder:
        """A decoder that nobody else has now."""
        try:
            return self._free.pop()
        except IndexError:
            return JpegDecoder(self._colour)

    def give(self, decoder: JpegDecoder) -> None:
        """Takes it back; its last picture is no longer valid."""
        self._free.append(decoder)


def make_workers(engine: Engine, threshold: float) -> list[FrameWorker]:
    """A worker for each of the engine's requests."""
    decoders = DecoderStack(engine.prepared.colour)
    return [FrameWorker(engine, slot, threshold, decoders) for slot in engine.slots()]


class FrameWorker:
    """Infers frame after frame with one request and buffers that are used again. One thread at a time."""

    def __init__(self, engine: Engine, slot: Slot, threshold: float, decoders: DecoderStack) -> None:
        """`threshold` is the least confidence of a detection; the workers of a pod share `decoders`."""
        self._slot = slot
        self._adapter = engine.adapter
        self._prepared = engine.prepared
        self._threshold = threshold
        self._decoders = decoders
        self._size = (0, 0)
        self._least = (0, 0)
        self._placement = Placement()

    def infer(self, frame: Frame) -> list[Detection]:
        """The frame's detections, the surest first.

        Raises InvalidFrameError for a JPEG that can't be decoded, RuntimeError where OpenVINO fails.
        """
        prepared = self._prepared
        if (frame.width, frame.height) != self._size:
            self._size = (frame.width, frame.height)
            self._least = needed_size(frame.width, frame.height, prepared)
            self._placement = place(frame.width, frame.height, prepared)
        decoder = self._decoders.take()
        try:
            picture = decoder.decode(frame.data, frame.width, frame.height, *self._least)
            fit(picture, prepared, out=self._slot.input)
        finally:
            self._decoders.give(decoder)
        outputs = self._slot.infer()
        return self._adapter.decode(outputs, self._placement, self._threshold)


def needed_size(width: int, height: int, prepared: PreparedModel) -> tuple[int, int]:
    """The least size (w, h) in pixels at which a decoded frame still covers the model's input."""
    if prepared.resize is Resize.STRETCH:
        return prepared.width, prepared.height
    ratio = min(prepared.width / width, prepared.height / height)
    return round(width * ratio), round(height * ratio)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What a pod can do, measured before its first frame: frames a second, and cores used meanwhile."""

    fps: float
    cores: float


def warm_up(engine: Engine, seconds: float = WARM_UP_S) -> WarmUp:
    """Runs all of the engine's requests on a made-up picture. The first frame of each is not timed.

    Raises RuntimeError where OpenVINO fails, anything where the adapter can't read the outputs.
    """
    workers = make_workers(engine, 0.5)
    frame = made_up_frame()
    failures: list[Exception] = []
    counts = [0] * len(workers)
    ready = threading.Barrier(len(workers) + 1)
    until = 0.0

    def run(index: int) -> None:
        try:
            workers[index].infer(frame)
            ready.wait()
            ready.wait()
            while time.monotonic() < until or counts[index] == 0:
                workers[index].infer(frame)
                counts[index] += 1
        except Exception as error:  # noqa: BLE001  raised again below, in the caller's thread
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=run, args=(index,), name=f"warm-up-{index}") for index in range(len(workers))]
    for thread in threads:
        thread.start()
    began_s = used_s = 0.0
    try:
        ready.wait()
        began_s, used_s = time.monotonic(), time.process_time()
        until = began_s + seconds
        ready.wait()
    except threading.BrokenBarrierError:
        pass  # the failure is raised below
    for thread in threads:
        thread.join()
    real = [error for error in failures if not isinstance(error, threading.BrokenBarrierError)]
    if real:
        raise real[0]
    spent_s = time.monotonic() - began_s
    return WarmUp(sum(counts) / spent_s, (time.process_time() - used_s) / spent_s)


def made_up_frame(size: tuple[int, int] = _WARM_UP_SIZE, seed: int = 1) -> Frame:
    """A picture with soft shapes, about as hard to decode as a camera's: 768x432, some 50 kB."""
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    picture = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), 60, "BGR", "420")
    return Frame("warm-up", "warm-up", data, width=width, height=height)


def limit_opencv() -> None:
    """Keeps OpenCV in the calling thread: its own threads would compete with the workers'."""
    cv2.setNumThreads(1)
