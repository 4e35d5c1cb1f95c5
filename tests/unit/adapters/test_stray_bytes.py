"""Bytes that belong to nothing in a JPEG's header: producer, pod, drawing and motion all read such an image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from tests.support.results import make_result

from elastic_inference.adapters.drawing import draw_result
from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder, mean_grey
from elastic_inference.adapters.source.motion import MotionDetector
from elastic_inference.domain.errors import InvalidFrameError
from elastic_inference.domain.frame import shown_size, without_stray_bytes
from elastic_inference.flows.inference.jpeg import JpegDecoder

WIDTH, HEIGHT = 320, 240
STRAY = b"\x00\x11\x22"


def pixels() -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([columns * 255 // WIDTH, rows * 255 // HEIGHT, (columns + rows) % 256], 2).astype(np.uint8)


GOOD = simplejpeg.encode_jpeg(pixels(), colorsubsampling="420")


def with_stray_bytes(marker: int) -> bytes:
    """The image with bytes before a marker of its header."""
    at = GOOD.index(bytes((0xFF, marker)))
    return GOOD[:at] + STRAY + GOOD[at:]


@pytest.mark.parametrize("marker", [0xDB, 0xC0, 0xC4, 0xDA])
def test_every_part_reads_it(marker: int) -> None:
    data = with_stray_bytes(marker)
    assert shown_size(data) == (WIDTH, HEIGHT)
    assert JpegEncoder().encode(CapturedFrame(0, 0, jpeg=data)) == (data, WIDTH, HEIGHT)
    small, *size = JpegEncoder(80, 160).encode(CapturedFrame(0, 0, jpeg=data))
    assert (size, shown_size(small)) == ([160, 120], (160, 120))
    decoder = JpegDecoder("RGB")
    assert np.abs(decoder.decode(data, WIDTH, HEIGHT, WIDTH, HEIGHT).astype(int) - pixels()).mean() < 5
    assert not decoder.damaged
    assert shown_size(draw_result(make_result(width=WIDTH, height=HEIGHT), data)) == (WIDTH, HEIGHT)
    assert mean_grey(data) == pytest.approx(mean_grey(GOOD))
    MotionDetector().moves(CapturedFrame(0, 0, jpeg=data), 0.0, alone=False)


def half_dark(form: str) -> bytes:
    """A whole image with one colour in its lower half, in a form that libjpeg warns of."""
    image = pixels()
    image[HEIGHT // 2 :] = 16
    good: bytes = simplejpeg.encode_jpeg(image, colorsubsampling="420")
    if form == "padding before the end":
        return good[:-2] + b"\x12\x34" * 20 + good[-2:]
    scan = good.index(b"\xff\xda")
    end = scan + 2 + int.from_bytes(good[scan + 2 : scan + 4], "big")
    return good[: end - 3] + b"\x01\x05\x33" + good[end:]


@pytest.mark.parametrize("form", ["padding before the end", "a vendor's numbers of a scan"])
def test_a_whole_image_is_not_called_damaged_where_it_is_dark_below(form: str) -> None:
    data = half_dark(form)
    with pytest.raises(ValueError, match=r"extraneous bytes|SOS"):
        simplejpeg.decode_jpeg(data, strict=True)
    assert JpegEncoder(80, 160).encode(CapturedFrame(0, 0, jpeg=data))[1:] == (160, 120)
    decoder = JpegDecoder("RGB")
    decoder.decode(data, WIDTH, HEIGHT, WIDTH, HEIGHT)
    assert not decoder.damaged
    assert shown_size(draw_result(make_result(width=WIDTH, height=HEIGHT), data)) == (WIDTH, HEIGHT)
    with pytest.raises(InvalidFrameError, match="is missing"):
        decoder.decode(data[: len(data) // 2], WIDTH, HEIGHT, WIDTH, HEIGHT)


def test_a_good_image_is_left_as_it_is() -> None:
    assert without_stray_bytes(GOOD) is GOOD
    assert without_stray_bytes(memoryview(with_stray_bytes(0xDA))) == GOOD


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8" + bytes(1000), GOOD[:30], b"\xff\xd8\xff\xe0\x00\x00"])
def test_what_has_no_header_is_left_as_it_is(data: bytes) -> None:
    assert without_stray_bytes(data) is data


def test_many_stray_bytes_are_no_jpeg() -> None:
    at = GOOD.index(b"\xff\xc0")
    with pytest.raises(InvalidFrameError, match="no marker"):
        shown_size(GOOD[:at] + bytes(1000) + GOOD[at:])
