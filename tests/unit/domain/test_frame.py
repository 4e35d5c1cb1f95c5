"""The image size in a JPEG's header."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from tests.support.jpeg import tiny_jpeg

from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import jpeg_size


@pytest.mark.parametrize(("width", "height"), [(1, 1), (640, 480), (65500, 1)])
def test_size_of_images_by_three_encoders(width: int, height: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    for data in (cv2.imencode(".jpg", image)[1].tobytes(), simplejpeg.encode_jpeg(image), tiny_jpeg(width, height)):
        assert jpeg_size(data) == (width, height)
        assert jpeg_size(memoryview(data)) == (width, height)


def test_progressive_and_long_segments() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    progressive = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert jpeg_size(progressive) == (64, 48)
    comment = b"\xff\xfe\xff\xff" + bytes(65533)
    assert jpeg_size(progressive[:2] + comment + b"\xff" + progressive[2:]) == (64, 48)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", InvalidReason.EMPTY),
        (b"\xff\xd8", InvalidReason.NOT_JPEG),
        (b"\x89PNG\r\n\x1a\n", InvalidReason.NOT_JPEG),
        (b"\xff\xd8\x00\x00\x00\x00", InvalidReason.NOT_JPEG),
        (b"\xff\xd8\xff\xda\x00\x02", InvalidReason.NOT_JPEG),
        (b"\xff\xd8\xff\xe0\x00\x01\x00", InvalidReason.NOT_JPEG),
        (tiny_jpeg(0, 5), InvalidReason.NOT_JPEG),
        (tiny_jpeg()[:10], InvalidReason.TRUNCATED),
        (b"\xff\xd8\xff\xe0\xff\xff\x00", InvalidReason.TRUNCATED),
    ],
)
def test_reasons(data: bytes, reason: InvalidReason) -> None:
    with pytest.raises(InvalidFrameError) as caught:
        jpeg_size(data)
    assert caught.value.reason is reason


def test_an_image_too_large_for_rtsp_is_refused_with_what_to_set() -> None:
    # FFmpeg gives it this size: RTP's field for it is too small (seen with GStreamer's server at 2560x1440).
    with pytest.raises(InvalidFrameError, match=r"of 0x0, .* over RTSP .* lower resolution in the camera, or H\.264"):
        jpeg_size(tiny_jpeg(0, 0))


@given(st.binary(max_size=200).map(lambda tail: b"\xff\xd8" + tail) | st.binary(max_size=50))
def test_any_bytes_give_a_size_or_a_reason(data: bytes) -> None:
    try:
        width, height = jpeg_size(data)
    except InvalidFrameError:
        return
    assert 0 < width < 65536
    assert 0 < height < 65536
