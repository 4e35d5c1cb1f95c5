"""A frame as it travels from producer to pod, and the image size in its JPEG header.

Pure: no codec, no Redis. `frame_message` packs it as msgpack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.fields import Count, Name

FRAME_VERSION: Final = 1
DEFAULT_MAX_FRAME_BYTES = 4 * 1024 * 1024
DEFAULT_MAX_FRAME_PIXELS = 33_000_000

# JPEG markers that carry the image size: SOF0..SOF15 without DHT (C4), JPG (C8), DAC (CC). ITU-T T.81, table B.1.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset(range(0xD0, 0xD8)) | {0x01}


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of one stream, as a producer pushes it: a msgpack map with these keys.

    A legacy producer sends `name`, `category` and `data` alone. A pod ignores `width` and `height` of the message and
    reads them from the JPEG's header.
    """

    name: Annotated[Name, Field(description="The stream's name.")]
    category: Annotated[Name, Field(description="The inference type.")]
    data: Annotated[bytes, Field(description="The image as JPEG.")]
    seq: Annotated[Count | None, Field(description="Counts from the producer's start.")] = None
    ts: Annotated[
        float | None,
        Field(description="Time of capture, Unix seconds by the producer's clock: shown, never used in a subtraction."),
    ] = None
    age_ms: Annotated[
        float, Field(ge=0, description="From capture to push, milliseconds by the producer's monotonic clock.")
    ] = 0.0
    width: Annotated[int, Field(ge=0, description="Of the image, pixels.")] = 0
    height: Annotated[int, Field(ge=0, description="Of the image, pixels.")] = 0
    v: Annotated[Literal[1], Field(description="Version of this format.")] = FRAME_VERSION


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
            raise InvalidFrameError(InvalidReason.NOT_JPEG, f"no marker at byte {at}")
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
        if marker in _SOF:
            if at + 9 > end:
                break
            height = (data[at + 5] << 8) | data[at + 6]
            width = (data[at + 7] << 8) | data[at + 8]
            if width == 0 or height == 0:
                raise InvalidFrameError(InvalidReason.NOT_JPEG, f"an image of {width}x{height}")
            return width, height
        at += 2 + length
    raise InvalidFrameError(InvalidReason.TRUNCATED, f"the JPEG ends within its header, after {end} bytes")
