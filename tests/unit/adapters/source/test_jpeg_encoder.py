"""Encoding frames as JPEG."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import jpeg_size


def gradient(width: int = 320, height: int = 240) -> npt.NDArray[np.uint8]:
    across = np.linspace(0, 255, width, dtype=np.uint8)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, :, 0] = across
    pixels[:, :, 2] = 255 - across
    return pixels


def captured(pixels: npt.NDArray[np.uint8] | None = None, jpeg: bytes | None = None) -> CapturedFrame:
    return CapturedFrame(0.0, 0.0, jpeg=jpeg, pixels=pixels)


def test_colours_and_size_survive() -> None:
    pixels = gradient()
    data, width, height = JpegEncoder(90).encode(captured(pixels))
    assert (width, height) == jpeg_size(data) == (320, 240)
    assert simplejpeg.decode_jpeg_header(data)[3] == "420"
    decoded = simplejpeg.decode_jpeg(data, "BGR").astype(int)
    assert np.abs(decoded - pixels).mean() < 3


@pytest.mark.parametrize(
    ("asked", "expected"),
    [((160, None), (160, 120)), ((None, 480), (640, 480)), ((100, 100), (100, 100)), ((320, 240), (320, 240))],
)
def test_sizes(asked: tuple[int | None, int | None], expected: tuple[int, int]) -> None:
    data, width, height = JpegEncoder(80, *asked).encode(captured(gradient()))
    assert (width, height) == jpeg_size(data) == expected


def test_quality_makes_the_size() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    small, large = (len(JpegEncoder(quality).encode(captured(noise))[0]) for quality in (20, 95))
    assert large > 2 * small


def test_a_jpeg_passes_through_untouched() -> None:
    data = simplejpeg.encode_jpeg(gradient(), 80, colorspace="BGR") + b"a tail that an encoder would lose"
    assert JpegEncoder(10).encode(captured(jpeg=data)) == (data, 320, 240)
    assert JpegEncoder(10, 320, None).encode(captured(jpeg=data))[0] is data


@pytest.mark.parametrize("width", [160, 80, 300, 640])
def test_a_jpeg_is_resized_where_asked(width: int) -> None:
    data = simplejpeg.encode_jpeg(gradient(), 90, colorspace="BGR", colorsubsampling="420")
    small, *size = JpegEncoder(90, width).encode(captured(jpeg=data))
    assert tuple(size) == jpeg_size(small) == (width, width * 3 // 4)
    decoded = simplejpeg.decode_jpeg(small, "BGR")
    assert decoded[:, width // 16, 2].mean() > 200
    assert decoded[:, width // 16, 0].mean() < 60


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", InvalidReason.EMPTY),
        (b"hello, world", InvalidReason.NOT_JPEG),
        (b"\xff\xd8\xff\xe0", InvalidReason.TRUNCATED),
    ],
)
def test_a_broken_jpeg_is_invalid(data: bytes, reason: InvalidReason) -> None:
    with pytest.raises(InvalidFrameError) as caught:
        JpegEncoder().encode(captured(jpeg=data))
    assert caught.value.reason is reason


def test_a_truncated_jpeg_that_must_be_decoded_is_invalid() -> None:
    data = simplejpeg.encode_jpeg(gradient(), 90, colorspace="BGR")
    with pytest.raises(InvalidFrameError) as caught:
        JpegEncoder(80, 100).encode(captured(jpeg=data[: len(data) // 2]))
    assert caught.value.reason is InvalidReason.TRUNCATED


def test_too_many_pixels_are_invalid() -> None:
    data = simplejpeg.encode_jpeg(gradient(), 80, colorspace="BGR")
    for item in (captured(gradient()), captured(jpeg=data)):
        with pytest.raises(InvalidFrameError) as caught:
            JpegEncoder(max_pixels=320 * 240 - 1).encode(item)
        assert caught.value.reason is InvalidReason.TOO_LARGE
