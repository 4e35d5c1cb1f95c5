"""Takes one frame through the model: decode, preprocess, infer, read the outputs.

Called by the `workers`, one `FrameDetector` per thread, and by `warm_up`. Independent of the queue and the broker.
"""

from __future__ import annotations

import logging
from typing import Any

from elastic_inference.adapters.jpeg_planes import Canvas
from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason, StaleFrameError
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters import check_scores
from elastic_inference.flows.inference.adapters.preprocessing import (
    Letterbox,
    PreparedModel,
    Resize,
    begin_input,
    letterbox_of,
    paste,
)
from elastic_inference.flows.inference.engine import Engine, InferenceRequest
from elastic_inference.flows.inference.jpeg import JpegDecoder

log = logging.getLogger(__name__)
_MAX_DETAIL = 200


class DecoderStack:
    """Decoders that the workers share. The last one returned is handed out first: its buffer is still in the CPU cache.

    Thread-safe: `list.append` and `list.pop` are atomic.
    """

    def __init__(self, colour: str, budget: ByteBudget | None = None, wait_s: float | None = None) -> None:
        """`budget` limits the memory of all images being decoded; an image waits for it for at most `wait_s`."""
        self._colour = colour
        self._budget = budget
        self._wait_s = wait_s
        self._free: list[JpegDecoder] = []

    def borrow(self) -> JpegDecoder:
        """Returns a decoder that nobody else uses."""
        try:
            return self._free.pop()
        except IndexError:
            return JpegDecoder(self._colour, self._budget, self._wait_s)

    def give_back(self, decoder: JpegDecoder) -> None:
        """Returns a decoder; its last image is no longer valid."""
        decoder.release()
        self._free.append(decoder)


def make_detectors(
    engine: Engine,
    threshold: float,
    budget: ByteBudget | None = None,
    wait_s: float | None = None,
    count: int | None = None,
) -> list[FrameDetector]:
    """A detector for each of the engine's requests; `budget` limits the memory of images being decoded."""
    decoders = DecoderStack(engine.prepared.colour, budget, wait_s)
    return [FrameDetector(engine, request, threshold, decoders) for request in engine.requests(count)]


class FrameDetector:
    """Infers frame after frame with one request, and reuses its buffers. Not thread-safe."""

    def __init__(self, engine: Engine, request: InferenceRequest, threshold: float, decoders: DecoderStack) -> None:
        """`threshold` is the minimum confidence of a detection; the detectors of a pod share `decoders`."""
        self._request = request
        self._adapter = engine.adapter
        self._prepared = engine.prepared
        self._threshold = threshold
        self._decoders = decoders
        # Calculated again when the size of the frames changes.
        self._frame_size = (0, 0)
        self._min_size = (0, 0)
        self._letterbox = Letterbox()
        # The part of the input that frames of this size cover; the rest stays as it was filled.
        self._canvas = Canvas(request.input[0])
        self.damaged = False

    def infer(self, frame: Frame) -> list[Detection]:
        """The frame's detections, highest confidence first; sets `damaged` if a part of the image was missing.

        Raises InvalidFrameError for a JPEG that cannot be decoded, StaleFrameError if it waited too long for memory,
        RuntimeError if OpenVINO fails.
        """
        outputs = self._outputs(frame)
        return self._adapter.decode(outputs, self._letterbox, self._threshold)

    def check(self, frame: Frame) -> list[Detection]:
        """Like `infer`, but also raises ModelError if the scores are not within 0..1."""
        outputs = self._outputs(frame)
        check_scores(self._adapter, outputs)
        return self._adapter.decode(outputs, self._letterbox, self._threshold)

    def _outputs(self, frame: Frame) -> list[NDArray[Any]]:
        if (frame.width, frame.height) != self._frame_size:
            self._frame_size = (frame.width, frame.height)
            self._min_size = min_decoded_size(frame.width, frame.height, self._prepared)
            self._letterbox = letterbox_of(frame.width, frame.height, self._prepared)
            self._canvas = Canvas(begin_input(frame.width, frame.height, self._prepared, self._request.input))
        decoder = self._decoders.borrow()
        try:
            self._load(decoder, frame)
        finally:
            self._decoders.give_back(decoder)
        return self._request.infer()

    def _load(self, decoder: JpegDecoder, frame: Frame) -> None:
        """Decodes the frame into the request's input. The decoded image lives no longer than this call.

        Any failure here is the image's fault, not the model's.
        """
        try:
            if not decoder.decode_into(self._canvas, frame.data, self._frame_size, self._min_size):
                paste(decoder.decode(frame.data, *self._frame_size, *self._min_size), self._canvas.image)
            self.damaged = decoder.damaged
        except (InvalidFrameError, StaleFrameError):
            raise
        except Exception as error:
            log.debug("decoding failed", exc_info=True)
            raise InvalidFrameError(
                InvalidReason.NOT_JPEG, f"the image cannot be decoded: {error!r}"[:_MAX_DETAIL]
            ) from None


def min_decoded_size(width: int, height: int, prepared: PreparedModel) -> tuple[int, int]:
    """The minimum size (w, h) in pixels at which a decoded frame still covers the model's input."""
    if prepared.resize is Resize.STRETCH:
        return prepared.width, prepared.height
    ratio = min(prepared.width / width, prepared.height / height)
    return round(width * ratio), round(height * ratio)
