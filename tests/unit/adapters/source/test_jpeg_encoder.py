"""Encoding frames as JPEG."""

from __future__ import annotations

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from tests.support.jpeg import with_size

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import jpeg_size
from elastic_inference.domain.image_size import FrameSize


def gradient(width: int = 320, height: int = 240) -> npt.NDArray[np.uint8]:
    across = np.linspace(0, 255, width, dtype=np.uint8)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, :, 0] = across
    pixels[:, :, 2] = 255 - across
    return pixels


def captured(pixels: npt.NDArray[np.uint8] | None = None, jpeg: bytes | None = None) -> CapturedFrame:
    image = None if pixels is None else av.VideoFrame.from_ndarray(pixels, "bgr24")
    return CapturedFrame(0.0, 0.0, jpeg=jpeg, image=image)


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


def test_quality_determines_the_size() -> None:
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


def test_a_truncated_jpeg_that_must_be_resized_shows_what_is_there() -> None:
    data = simplejpeg.encode_jpeg(gradient(), 90, colorspace="BGR")
    resized, *size = JpegEncoder(80, 160).encode(captured(jpeg=data[:-2]))
    assert size == [160, 120]
    # Pods mark what has no end marker.
    shown = simplejpeg.decode_jpeg(resized + b"\xff\xd9", "BGR").astype(int)
    assert np.abs(shown - gradient()[::2, ::2]).mean() < 6
    assert JpegEncoder(80, 160).encode(captured(jpeg=data))[0].endswith(b"\xff\xd9"), "of a whole image"
    with pytest.raises(InvalidFrameError) as caught:
        JpegEncoder(80, 160).encode(captured(jpeg=data[: len(data) // 2]))
    assert caught.value.reason is InvalidReason.TRUNCATED


def test_a_jpeg_on_its_side_is_encoded_upright() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    plain = simplejpeg.encode_jpeg(gradient(), 90, colorspace="BGR")
    data = plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:]
    turned, *size = JpegEncoder(90).encode(captured(jpeg=data))
    assert tuple(size) == jpeg_size(turned) == (240, 320)
    expected = np.rot90(gradient(), -1)
    assert np.abs(simplejpeg.decode_jpeg(turned, "BGR").astype(int) - expected).mean() < 6


FORMATS = (
    *("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "yuyv422", "gray"),
    *("yuv420p10le", "yuv422p10le", "p010le", "rgb24", "bgra", "gbrp"),
)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_each_pixel_format_keeps_its_colours(pixel_format: str) -> None:
    pixels = np.zeros((48, 96, 3), np.uint8)
    for column, colour in enumerate(
        ((255, 0, 0), (20, 200, 40), (128, 128, 128), (255, 255, 255), (0, 0, 0), (90, 40, 160))
    ):
        pixels[:, column * 16 : column * 16 + 16] = colour
    image = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)
    expected = image.reformat(format="rgb24").to_ndarray().astype(int)
    if pixel_format == "gray":
        expected = np.repeat(pixels @ np.array([[0.299], [0.587], [0.114]]), 3, axis=2)
    data, width, height = JpegEncoder(95).encode(CapturedFrame(0.0, 0.0, image=image))
    assert (width, height) == (96, 48)
    found = simplejpeg.decode_jpeg(data, "RGB").astype(int)
    for column in range(6):
        middle = np.s_[8:40, column * 16 + 6 : column * 16 + 10]
        assert np.abs(found[middle] - expected[middle]).max() <= 8, column


def test_a_size_that_changes_is_followed() -> None:
    encoder = JpegEncoder(80)
    for width, height in ((320, 240), (640, 360), (33, 17)):
        image = av.VideoFrame.from_ndarray(gradient(width, height), "bgr24").reformat(format="yuv420p")
        data, *size = encoder.encode(CapturedFrame(0.0, 0.0, image=image))
        assert tuple(size) == jpeg_size(data) == (width, height)


def test_too_many_pixels_are_invalid() -> None:
    data = simplejpeg.encode_jpeg(gradient(), 80, colorspace="BGR")
    for item in (captured(gradient()), captured(jpeg=data)):
        with pytest.raises(InvalidFrameError) as caught:
            JpegEncoder(max_pixels=320 * 240 - 1).encode(item)
        assert caught.value.reason is InvalidReason.TOO_LARGE


def test_an_image_that_takes_too_much_memory_to_resize_is_too_large() -> None:
    data = cv2.imencode(".jpg", gradient(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    large = with_size(data, 6600, 5000)
    with pytest.raises(InvalidFrameError, match="MiB of memory to resize") as raised:
        JpegEncoder(80, 640, max_memory=90_000_000).encode(captured(jpeg=large))
    assert raised.value.reason is InvalidReason.TOO_LARGE
    assert JpegEncoder(80, max_memory=90_000_000).encode(captured(jpeg=large))[0] is large, "it is not decoded"
    assert JpegEncoder(80, 160, max_memory=90_000_000).encode(captured(jpeg=data))[1:] == (160, 120)


@pytest.mark.parametrize(("full_chroma", "subsampling"), [(False, "420"), (True, "444")])
def test_a_reduced_frame_has_sharp_colours_where_they_are_needed(full_chroma: bool, subsampling: str) -> None:
    image = av.VideoFrame.from_ndarray(np.full((360, 320), 90, np.uint8), "yuv420p")
    frame = CapturedFrame(0.0, 0.0, image=image)
    data, *size = JpegEncoder().encode(frame, lambda width, height: FrameSize(160, 120, full_chroma))
    assert size == [160, 120]
    assert simplejpeg.decode_jpeg_header(data)[2:] == ("YCbCr", subsampling)
    data, *_ = JpegEncoder().encode(frame, lambda width, height: FrameSize(width, height, full_chroma))
    assert simplejpeg.decode_jpeg_header(data)[2:] == ("YCbCr", "420")
