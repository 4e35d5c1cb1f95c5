"""The minimum size of a decoded frame, shared decoders, and the frame of the warm-up."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import simplejpeg

from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import jpeg_size
from elastic_inference.flows.inference.adapters import PreparedModel, Resize
from elastic_inference.flows.inference.adapters.preprocessing import begin_input
from elastic_inference.flows.inference.arrays import Image
from elastic_inference.flows.inference.frame_detector import DecoderStack, FrameDetector, min_decoded_size
from elastic_inference.flows.inference.jpeg import JpegDecoder, divisor
from elastic_inference.flows.inference.warm_up import synthetic_frame


def prepared(width: int, height: int, resize: Resize = Resize.STRETCH) -> PreparedModel:
    return PreparedModel(None, "input", width, height, resize=resize)


def test_a_stretched_frame_must_cover_both_sides() -> None:
    assert min_decoded_size(1280, 720, prepared(300, 300)) == (300, 300)


def test_a_letterboxed_frame_must_cover_its_part_only() -> None:
    minimum = min_decoded_size(1280, 720, prepared(416, 416, Resize.LETTERBOX))
    assert minimum == (416, 234)
    assert divisor(1280, 720, *minimum) == 2


def test_a_decoder_is_used_by_one_at_a_time_and_again() -> None:
    decoders = DecoderStack("BGR")
    first, second = decoders.borrow(), decoders.borrow()
    assert first is not second
    decoders.give_back(second)
    decoders.give_back(first)
    assert decoders.borrow() is first


@pytest.mark.parametrize("size", [(768, 432), (1280, 720)])
def test_the_synthetic_frame_is_like_a_cameras(size: tuple[int, int]) -> None:
    frame = synthetic_frame(size)
    assert jpeg_size(frame.data) == size == (frame.width, frame.height)
    assert 0.5 < len(frame.data) * 8 / (size[0] * size[1]) < 4
    with pytest.raises(InvalidFrameError):
        DecoderStack("BGR").borrow().decode(frame.data[: len(frame.data) // 2], *size, 300, 300)


class FailingDecoder(JpegDecoder):
    """Fails as a library might on an image that nobody has thought of."""

    def decode(self, *_: object, **__: object) -> Image:
        raise ValueError("the buffer is too small")

    def decode_into(self, *_: object) -> bool:
        raise ValueError("the buffer is too small")


def test_whatever_fails_in_decoding_is_the_images_fault() -> None:
    decoders = DecoderStack("BGR")
    decoders.give_back(FailingDecoder("BGR"))
    engine: Any = SimpleNamespace(adapter=None, prepared=prepared(32, 32))
    request: Any = SimpleNamespace(input=np.zeros((1, 32, 32, 3), np.uint8))
    detector = FrameDetector(engine, request, 0.5, decoders)
    with pytest.raises(InvalidFrameError, match="the buffer is too small") as raised:
        detector.infer(synthetic_frame())
    assert raised.value.reason is InvalidReason.NOT_JPEG
    assert isinstance(decoders.borrow(), FailingDecoder), "the decoder is given back"


def test_the_rest_of_a_letterboxed_input_stays_filled_whichever_way_a_frame_takes() -> None:
    model = PreparedModel(None, "input", 192, 192, "BGR", Resize.LETTERBOX, fill=114, centred=True)
    adapter = SimpleNamespace(decode=lambda *_: [])
    engine: Any = SimpleNamespace(adapter=adapter, prepared=model)
    request: Any = SimpleNamespace(input=np.zeros((1, 192, 192, 3), np.uint8), infer=list)
    detector = FrameDetector(engine, request, 0.5, DecoderStack("BGR"))
    # With the model's own size, smaller or larger; the grey image cannot be resized by plane.
    for size in ((384, 216), (640, 480), (641, 361), (480, 640), (90, 50), (384, 216)):
        grey = simplejpeg.encode_jpeg(np.full((*size[::-1], 1), 60, np.uint8), 90, "GRAY")
        colours = simplejpeg.encode_jpeg(np.full((*size[::-1], 3), (20, 60, 90), np.uint8), 90, "BGR", "420")
        inner = begin_input(*size, model, expected := np.zeros_like(request.input))
        for data, colour in ((colours, (20, 60, 90)), (grey, (60, 60, 60)), (colours, (20, 60, 90))):
            inner[:] = colour
            detector.infer(replace(synthetic_frame(size), data=data))
            assert np.abs(request.input.astype(int) - expected).max() <= 3
