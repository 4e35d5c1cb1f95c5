"""The least size of a decoded frame, shared decoders, and the warm-up on a real small engine."""

from __future__ import annotations

import pytest

from elastic_inference.domain.errors import InvalidFrameError
from elastic_inference.domain.frame import jpeg_size
from elastic_inference.flows.inference.adapters import PreparedModel, Resize
from elastic_inference.flows.inference.jpeg import divisor
from elastic_inference.flows.inference.worker import DecoderStack, made_up_frame, needed_size


def prepared(width: int, height: int, resize: Resize = Resize.STRETCH) -> PreparedModel:
    return PreparedModel(None, "input", width, height, resize=resize)


def test_a_stretched_frame_must_cover_both_sides() -> None:
    assert needed_size(1280, 720, prepared(300, 300)) == (300, 300)


def test_a_letterboxed_frame_must_cover_its_part_only() -> None:
    least = needed_size(1280, 720, prepared(416, 416, Resize.LETTERBOX))
    assert least == (416, 234)
    assert divisor(1280, 720, *least) == 2


def test_a_decoder_is_used_by_one_at_a_time_and_again() -> None:
    decoders = DecoderStack("BGR")
    first, second = decoders.take(), decoders.take()
    assert first is not second
    decoders.give(second)
    decoders.give(first)
    assert decoders.take() is first


@pytest.mark.parametrize("size", [(768, 432), (1280, 720)])
def test_the_made_up_frame_is_like_a_cameras(size: tuple[int, int]) -> None:
    frame = made_up_frame(size)
    assert jpeg_size(frame.data) == size == (frame.width, frame.height)
    assert 0.5 < len(frame.data) * 8 / (size[0] * size[1]) < 4
    with pytest.raises(InvalidFrameError):
        DecoderStack("BGR").take().decode(frame.data[:-100], *size, 300, 300)
