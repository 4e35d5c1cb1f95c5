"""Decodes JPEGs at the smallest scale that still covers a model's input.

Called by the workers, each with a decoder of its own. Uses simplejpeg (libjpeg-turbo) and, for what that cannot read,
OpenCV. Both release the interpreter lock while they work.
"""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

from elastic_inference.adapters.decoded_image import much_is_missing, upright
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import FIRST_TURNED, jpeg_orientation
from elastic_inference.flows.inference.arrays import Image

# libjpeg-turbo has fast code only for these: 3/4 and 5/8 were slower than full scale.
_DIVISORS = (8, 4, 2)
# A progressive JPEG has some ten scans. Each scan costs a pass over all pixels, however few bytes it has. 4 MiB hold
# 70,000 scans, which kept a worker busy for most of an hour (33 million pixels, 35 ms a scan).
MAX_SCANS = 32
_SCAN_START = b"\xff\xda"
# SOF0, SOF1 and SOF9: one scan may hold the whole image. ITU-T T.81, table B.1.
_SEQUENTIAL = frozenset((0xC0, 0xC1, 0xC9))
_OTHER_FRAMES = frozenset(range(0xC0, 0xD0)) - _SEQUENTIAL - {0xC4, 0xC8, 0xCC}
# Some cameras put padding before the end marker; the image is complete.
_HARMLESS = "extraneous bytes before marker"


def divisor(width: int, height: int, min_width: int, min_height: int) -> int:
    """The largest of 1, 2, 4 and 8 that still leaves an image of this size (pixels) the minimum size."""
    for each in _DIVISORS:
        if -(-width // each) >= min_width and -(-height // each) >= min_height:
            return each
    return 1


def one_scan(data: bytes) -> bool:
    """Whether the header says that the first scan is the only one, after which decoders stop. False if unsure.

    Saves nearly every frame the search through its bytes: 0.1 ms for one of 768x432.
    """
    at, parts, end = 2, 0, len(data)
    while at + 9 < end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xDA:
            return data[at + 4] == parts
        if marker in _SEQUENTIAL:
            parts = data[at + 9]
        elif marker in _OTHER_FRAMES or not 0xC4 <= marker <= 0xFE or 0xD0 <= marker <= 0xD9:
            break
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return False


class JpegDecoder:
    """Decodes into one buffer that it keeps: an image is valid until the next `decode`. Not thread-safe."""

    def __init__(self, colour: str) -> None:
        """`colour` is `BGR` or `RGB`, the order of the channels."""
        self._colour = colour
        self._buffer = np.empty(0, np.uint8)
        self.damaged = False  # whether a part of the last image was missing

    def decode(self, data: bytes, width: int, height: int, min_width: int, min_height: int) -> Image:
        """The image, H x W x 3, uint8, upright; `width` and `height` are those at which it is shown.

        An image with little missing is decoded as far as it goes, and sets `damaged`. Raises InvalidFrameError:
        `truncated` if much is missing, `not_jpeg` for what cannot be decoded at all or has over MAX_SCANS scans.
        """
        if not one_scan(data):
            # Within a scan 00 follows each FF, so this finds markers only (also those of a thumbnail).
            scans = data.count(_SCAN_START)
            if scans > MAX_SCANS:
                raise InvalidFrameError(InvalidReason.NOT_JPEG, f"{scans} scans; at most {MAX_SCANS} are accepted")
        orientation = jpeg_orientation(data)
        if orientation >= FIRST_TURNED:
            # The JPEG's own rows and columns.
            width, height, min_width, min_height = height, width, min_height, min_width
        by = divisor(width, height, min_width, min_height)
        out_width, out_height = -(-width // by), -(-height // by)
        size = out_width * out_height * 3
        if self._buffer.size < size:
            self._buffer = np.empty(size, np.uint8)
        self.damaged = False
        try:
            image = self._fast(data, out_width, out_height, by > 1, strict=True)
        except ValueError as error:
            image = self._second_try(data, out_width, out_height, by, error)
        return image if orientation == 1 else upright(image, orientation)

    def _fast(self, data: bytes, width: int, height: int, reduced: bool, *, strict: bool) -> Image:
        image: Image = simplejpeg.decode_jpeg(
            data,
            self._colour,
            fastdct=True,
            fastupsample=True,
            min_width=width if reduced else 0,
            min_height=height if reduced else 0,
            buffer=self._buffer,
            strict=strict,
        )
        return image

    @staticmethod
    def _smallest(data: bytes) -> Image:
        image: Image = simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, min_width=1, min_height=1, strict=False)
        return image

    def _second_try(self, data: bytes, width: int, height: int, by: int, error: ValueError) -> Image:
        text = str(error)
        try:
            self.damaged = _HARMLESS not in text
            # At an eighth of the size first: a useless image must not cost more than a good one.
            if self.damaged and much_is_missing(self._smallest(data)):
                raise InvalidFrameError(InvalidReason.TRUNCATED, "a quarter of the image or more is missing")
            return self._fast(data, width, height, by > 1, strict=False)
        except ValueError:
            pass  # the next decoder may know it
        # Rare subsamplings, and colour models that libjpeg-turbo's simple interface does not convert (CMYK, YCCK).
        try:
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as other:
            raise InvalidFrameError(InvalidReason.NOT_JPEG, str(other).strip()[:200]) from None
        if decoded is None:
            raise InvalidFrameError(InvalidReason.NOT_JPEG, text)
        if self._colour == "RGB":
            decoded = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        return np.asarray(decoded, np.uint8)
