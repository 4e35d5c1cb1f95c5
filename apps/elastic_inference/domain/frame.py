"""A frame as it travels from producer to pod, and what its JPEG header says of it.

Pure: no codec, no Redis. The message's msgpack form is in `frame_message`.
"""

from __future__ import annotations

from dataclasses import dataclass

from elastic_inference.domain.errors import InvalidFrameError, InvalidReason

FRAME_VERSION = 1
DEFAULT_MAX_FRAME_BYTES = 4 * 1024 * 1024
DEFAULT_MAX_FRAME_PIXELS = 33_000_000

# JPEG markers that carry the picture size: SOF0..SOF15 without DHT (C4), JPG (C8), DAC (CC). ITU-T T.81, table B.1.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset(range(0xD0, 0xD8)) | {0x01}


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one stream.

    `data` is a JPEG; `seq` counts from the producer's start; `ts` is the capture in Unix seconds by the producer's
    own clock (shown, never subtracted); `age_ms` is capture to push by its monotonic clock. `seq` and `ts` are None
    where a plain producer gave none; `width` and `height` are those of the JPEG's header.
    """

    name: str
    category: str
    data: bytes
    seq: int | None = None
    ts: float | None = None
    age_ms: float = 0.0
    width: int = 0
    height: int = 0


def jpeg_size(data: bytes | memoryview) -> tuple[int, int]:
    """(width, height) in pixels by the JPEG's header, without decoding.

    Raises InvalidFrameError: `empty`, `not_jpeg` (no JPEG start, no size before the scan) or `truncated`.
    """
    end = len(data)
    if end == 0:
        raise InvalidFrameError(InvalidReason.EMPTY, "0 bytes of picture")
    if end < 4 or data[0] != 0xFF or data[1] != 0xD8:
        raise InvalidFrameError(InvalidReason.NOT_JPEG, "the data does not start as a JPEG (FF D8)")
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
            raise InvalidFrameError(InvalidReason.NOT_JPEG, "the picture's size is missing")
        length = (data[at + 2] << 8) | data[at + 3]
        if length < 2:
            raise InvalidFrameError(InvalidReason.NOT_JPEG, f"a segment of {length} bytes at byte {at}")
        if marker in _SOF:
            if at + 9 > end:
                break
            height = (data[at + 5] << 8) | data[at + 6]
            width = (data[at + 7] << 8) | data[at + 8]
            if width == 0 or height == 0:
                raise InvalidFrameError(InvalidReason.NOT_JPEG, f"a picture of {width}x{height}")
            return width, height
        at += 2 + length
    raise InvalidFrameError(InvalidReason.TRUNCATED, f"the JPEG ends within its header, after {end} bytes")
