"""The memory that decoding needs, estimated from the header, compared with libjpeg's layout."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg
from tests.support.jpeg import tiny_jpeg, with_size

from elastic_inference.domain.jpeg_memory import decoding_bytes, one_scan

WIDTH, HEIGHT = 6600, 5000


def progressive(sampling: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return with_size(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8), options)[1].tobytes(), WIDTH, HEIGHT)


# Measured with libjpeg-turbo by the peak of the process: 198.1, 132.4 and 99.4 MB.
@pytest.mark.parametrize(
    ("sampling", "bytes_a_pixel"),
    [
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, 6),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422, 4),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, 3),
    ],
)
def test_a_progressive_image_is_kept_whole(sampling: int, bytes_a_pixel: int) -> None:
    data = progressive(sampling)
    assert not one_scan(data)
    assert decoding_bytes(data, WIDTH, HEIGHT) == pytest.approx(bytes_a_pixel * WIDTH * HEIGHT, rel=0.03)


def test_an_image_of_one_scan_is_decoded_row_by_row() -> None:
    data = with_size(simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8)), WIDTH, HEIGHT)
    assert one_scan(data)
    assert decoding_bytes(data, WIDTH, HEIGHT) < 3_000_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe0\xff",
        b"\xff\xd8" + b"\xff" * 100,
        b"\xff\xd8nonsense and more of it",
        tiny_jpeg(WIDTH, HEIGHT)[:12] + b"\x11\x00\xff\xd9",
        tiny_jpeg(WIDTH, HEIGHT).replace(b"\x01\x11\x00", b"\x01\x99\x00"),
        tiny_jpeg(WIDTH, HEIGHT).replace(b"\x01\x11\x00", b"\x01\x00\x00"),
    ],
)
def test_in_doubt_the_worst_is_assumed(data: bytes) -> None:
    assert decoding_bytes(data, WIDTH, HEIGHT) > 7 * WIDTH * HEIGHT
