"""A frame as it travels from producer to pod, and the image size in its JPEG header.

Pure: no codec, no Redis. `frame_message` packs it as msgpack.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar

from elastic_inference.domain import keys
from elastic_inference.domain.described import Described
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason

FRAME_VERSION: Final = 1
_NAME = f"^{keys.NAME_PATTERN.pattern}$"

# JPEG markers that carry the image size: SOF0..SOF15 without DHT (C4), JPG (C8), DAC (CC). ITU-T T.81, table B.1.
SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# EXIF is in the first segments, which are at most 64 KiB each.
_EXIF_WITHIN = 256 * 1024
_ORIENTATION_TAG, _SHORT = 0x0112, 3
FIRST_TURNED = 5  # from this orientation on, width and height are swapped
_STANDALONE = frozenset(range(0xD0, 0xD8)) | {0x01}
# Some cameras write a few stray bytes between two segments of the header; decoders skip them.
_MAX_STRAY_BYTES = 256
Jpeg = TypeVar("Jpeg", bound="bytes | memoryview")


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of one stream, as a producer pushes it: a msgpack map with these keys.

    A legacy producer sends `name`, `category` and `data` alone. A pod ignores `width` and `height` of the message and
    reads them from the JPEG's header.
    """

    name: Annotated[str, Described("The stream's name.", pattern=_NAME)]
    category: Annotated[str, Described("The inference type.", pattern=_NAME)]
    data: Annotated[bytes, Described("The image as JPEG.")]
    seq: Annotated[int | None, Described("Counts from the producer's start.", minimum=0)] = None
    ts: Annotated[
        float | None,
        Described("Time of capture, Unix seconds by the producer's clock: shown, never used in a subtraction."),
    ] = None
    age_ms: Annotated[
        float, Described("From capture to push, milliseconds by the producer's monotonic clock.", minimum=0)
    ] = 0.0
    width: Annotated[int, Described("Of the image, pixels.", minimum=0)] = 0
    height: Annotated[int, Described("Of the image, pixels.", minimum=0)] = 0
    v: Annotated[Literal[1], Described("Version of this format.")] = FRAME_VERSION


def shown_size(data: bytes | memoryview) -> tuple[int, int]:
    """(width, height) in pixels as the image is displayed: `jpeg_size`, turned by its EXIF orientation."""
    width, height = jpeg_size(data)
    return (height, width) if jpeg_orientation(data) >= FIRST_TURNED else (width, height)


def jpeg_orientation(data: bytes | memoryview) -> int:
    """The EXIF orientation in the JPEG's header, 1 (upright) to 8; 1 if it has none that makes sense.

    2 to 4 mirror or turn by 180 degrees, 5 to 8 also swap width and height. Source: EXIF 2.32, tag 0x0112.
    """
    at, end = 2, min(len(data), _EXIF_WITHIN)
    while at + 4 <= end and data[at] == 0xFF and 0xE0 <= data[at + 1] <= 0xEF:
        length = (data[at + 2] << 8) | data[at + 3]
        if data[at + 1] == 0xE1 and bytes(data[at + 4 : at + 10]) == b"Exif\0\0":
            return _tiff_orientation(bytes(data[at + 10 : at + 2 + length]))
        at += 2 + length
    return 1


def _tiff_orientation(tiff: bytes) -> int:
    """The orientation in the first directory of a TIFF structure."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for at in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, at)
        if tag == _ORIENTATION_TAG:
            return value if kind == _SHORT and 1 <= value <= 8 else 1
    return 1


def jpeg_size(data: bytes | memoryview) -> tuple[int, int]:
    """(width, height) in pixels from the JPEG's header, without decoding it.

    Raises InvalidFrameError: `empty`, `not_jpeg` (no JPEG start, no size before the scan) or `truncated`.
    """
    end = len(data)
    if end == 0:
        raise InvalidFrameError(InvalidReason.EMPTY, "an image of 0 bytes")
    if end < 4 or data[0] != 0xFF or data[1] != 0xD8:
        raise InvalidFrameError(InvalidReason.NOT_JPEG, "the data does not start like a JPEG (FF D8)")
    at = 2
    while at + 4 <= end:
        if data[at] != 0xFF:
            at = _next_marker(data, at)
            continue
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        if marker in (0xD9, 0xDA):
            raise InvalidFrameError(InvalidReason.NOT_JPEG, "the image size is missing")
        length = (data[at + 2] << 8) | data[at + 3]
        if length < 2:
            raise InvalidFrameError(InvalidReason.NOT_JPEG, f"a segment of {length} bytes at byte {at}")
        if marker in SIZE_MARKERS:
            if at + 9 > end:
                break
            height = (data[at + 5] << 8) | data[at + 6]
            width = (data[at + 7] << 8) | data[at + 8]
            if width == 0 or height == 0:
                raise InvalidFrameError(
                    InvalidReason.NOT_JPEG,
                    f"an image of {width}x{height}, as JPEG of over 2040 columns or lines comes over RTSP (RFC 2435): "
                    "set a lower resolution in the camera, or H.264",
                )
            return width, height
        at += 2 + length
    raise InvalidFrameError(InvalidReason.TRUNCATED, f"the JPEG ends within its header, after {end} bytes")


def without_stray_bytes(data: Jpeg) -> Jpeg | bytes:
    """The JPEG without stray bytes between its header's segments; `data` itself if there are none."""
    kept, at = 0, 2
    pieces: list[bytes | memoryview] = []
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            pieces.append(data[kept:at])
            try:
                kept = at = _next_marker(data, at)
            except InvalidFrameError:
                return data
            continue
        marker = data[at + 1]
        if marker in (0xD9, 0xDA):
            break
        if marker == 0xFF:
            at += 1
        elif marker in _STANDALONE:
            at += 2
        else:
            at += 2 + max(2, (data[at + 2] << 8) | data[at + 3])
    if not pieces:
        return data
    return b"".join((*pieces, data[kept:]))


def _next_marker(data: bytes | memoryview, at: int) -> int:
    """Where the next marker begins, a few stray bytes after `at`. Raises InvalidFrameError if there is none."""
    found = bytes(data[at : at + _MAX_STRAY_BYTES]).find(b"\xff")
    if found < 0:
        raise InvalidFrameError(InvalidReason.NOT_JPEG, f"no marker at byte {at}")
    return at + found
