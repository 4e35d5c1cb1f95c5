"""JPEGs for tests: some with nothing but a header, and some with something in them."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import simplejpeg


def tiny_jpeg(width: int = 64, height: int = 48, padding: int = 0) -> bytes:
    """The smallest data with a JPEG header of `width` x `height`; it does not decode. `padding` bytes follow."""
    head = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return head + bytes(padding) + b"\xff\xd9"


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header claims another size: decoders allocate memory for it, then find most of the image missing."""
    at = 2
    while jpeg[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def two_faces(videos: Path, size: tuple[int, int]) -> bytes:
    """The first image of a clip with two faces, in this size (width, height)."""
    reader = cv2.VideoCapture(str(videos / "head-pose-face-detection-female-and-male.gif"))
    good, frame = reader.read()
    reader.release()
    assert good
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(cv2.resize(frame, size)), 80, "BGR", "420"))


def noisy_jpeg(number: int, width: int = 192, height: int = 144, quality: int = 80) -> bytes:
    """Coloured patches, different for each `number`."""
    noise = np.random.default_rng(number).integers(0, 255, (18, 24, 3), dtype=np.uint8)
    done, data = cv2.imencode(".jpg", cv2.resize(noise, (width, height)), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return bytes(data.tobytes())


def progressive_jpeg(width: int, height: int, scans: int = 10) -> bytes:
    """A grey progressive 4:4:4 JPEG, which takes long to decode.

    Its last scan has coefficients 1 to 63, all zero. For more than its 10 scans it becomes several, each with a part of
    the coefficients and the same data.
    """
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    done, encoded = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8), options)
    assert done
    data = bytes(encoded.tobytes())
    at, parts = data.rindex(b"\xff\xda"), scans + 1 - data.count(b"\xff\xda")
    last, firsts = data[at:-2], [1 + 63 * part // parts for part in range(parts + 1)]
    split = [last[:7] + bytes([first, end - 1]) + last[9:] for first, end in pairwise(firsts)]
    return data[:at] + b"".join(split) + data[-2:]
