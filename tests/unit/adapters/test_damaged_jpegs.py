"""JPEGs that lost some or many bytes: producer and pod take the same ones, also where an image is plain below."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tests.support.results import make_result

from elastic_inference.adapters.decoded_image import much_is_missing
from elastic_inference.adapters.drawing import draw_result
from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import shown_size
from elastic_inference.flows.inference.jpeg import JpegDecoder

WIDTH, HEIGHT = 320, 240
FORMS = {
    "plain": [],
    "optimised": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts in each row": [cv2.IMWRITE_JPEG_RST_INTERVAL, 20],
    "restarts within rows": [cv2.IMWRITE_JPEG_RST_INTERVAL, 7],
    "4:4:4": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
}


def scene(below: int) -> npt.NDArray[np.uint8]:
    """A detailed image whose lower 40 % has one grey level."""
    noise = np.random.default_rng(3).integers(-20, 20, (HEIGHT, WIDTH, 3))
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.dstack((columns * 255 // WIDTH, rows * 255 // HEIGHT, np.full_like(rows, 90))) + noise
    pixels[HEIGHT * 6 // 10 :] = below
    return pixels.clip(0, 255).astype(np.uint8)


def jpeg(form: str, below: int = 0) -> bytes:
    return cv2.imencode(".jpg", scene(below), FORMS[form])[1].tobytes()


def cut(data: bytes) -> bytes:
    """The first half of its (first) scan. That of a progressive image shows all, in a tenth of the bytes."""
    scan = data.index(b"\xff\xda")
    end = data.find(b"\xff\xda", scan + 2)
    return data[: (scan + (end if end > 0 else len(data))) // 2]


def decoded(data: bytes) -> tuple[npt.NDArray[np.uint8], bool]:
    decoder = JpegDecoder("BGR")
    return decoder.decode(data, WIDTH, HEIGHT, WIDTH, HEIGHT).copy(), decoder.damaged


def refusals(data: bytes) -> list[InvalidReason | None]:
    """Why the pod and the producer refuse it; None from a part that takes it."""
    found: list[InvalidReason | None] = []
    for call in (
        lambda: decoded(data),
        lambda: JpegEncoder(80, WIDTH // 2).encode(CapturedFrame(0, 0, jpeg=data)),
    ):
        try:
            call()
            found.append(None)
        except InvalidFrameError as error:
            found.append(error.reason)
    return found


@pytest.mark.parametrize("below", [0, 16, 90, 128, 255])
@pytest.mark.parametrize("form", FORMS)
def test_without_an_end_marker_an_image_with_a_plain_floor_is_shown(form: str, below: int) -> None:
    data = jpeg(form, below)
    image, damaged = decoded(data[:-2])
    assert damaged
    assert np.array_equal(image, decoded(data)[0]), "no pixel is missing"
    small, *size = JpegEncoder(80, WIDTH // 2).encode(CapturedFrame(0, 0, jpeg=data[:-2]))
    assert size == [WIDTH // 2, HEIGHT // 2]
    shown, still_damaged = decoded(small)
    assert still_damaged, "the pod still marks it"
    assert np.abs(shown[80:].astype(int) - below).max() <= 12
    assert shown_size(draw_result(make_result(width=WIDTH, height=HEIGHT), data[:-2])) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("below", [0, 90])
@pytest.mark.parametrize("form", FORMS)
def test_a_few_lost_bytes_do_no_harm_to_the_rest(form: str, below: int) -> None:
    data = jpeg(form, below)
    # Of the detailed part, and the last ones: of the plain part they are a few blocks.
    for lost in (data[: len(data) // 2] + data[len(data) // 2 + 9 :], data[:-5]):
        assert refusals(lost) == [None, None]


@pytest.mark.parametrize("below", [0, 90, 128])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["cut", "cut, with an end marker"])
def test_an_image_of_which_much_is_missing_is_refused(form: str, below: int, end: bytes) -> None:
    data = cut(jpeg(form, below)) + end
    assert refusals(data) == [InvalidReason.TRUNCATED] * 2


def test_much_lost_in_the_middle_is_missing_below() -> None:
    data = jpeg("plain", 90)
    assert refusals(data[: len(data) // 3] + data[2 * len(data) // 3 :]) == [InvalidReason.TRUNCATED] * 2


def test_half_a_marker_at_the_end_is_no_data() -> None:
    data = jpeg("plain", 90)
    for rest in (b"\xff", b"\xff\xff", b"\xff\x00"):
        assert refusals(data[:-2] + rest) == [None, None]
        assert refusals(data[: len(data) // 2] + rest) == [InvalidReason.TRUNCATED] * 2


def test_a_decoder_that_refuses_says_so() -> None:
    def refuse(data: bytes) -> npt.NDArray[np.uint8]:
        raise ValueError("no image")

    with pytest.raises(ValueError, match="no image"):
        much_is_missing(jpeg("plain"), refuse)
