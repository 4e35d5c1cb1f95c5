"""JPEG to pixels at the smallest scale that still covers a model's input.

Called by the inference flow's workers, each with a decoder of its own. Knows simplejpeg (libjpeg-turbo) and, for what
that does not take, OpenCV; both leave the interpreter to others while they work.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from elastic_inference.errors import InvalidFrameError, InvalidReason

Picture = npt.NDArray[np.uint8]

# libjpeg-turbo has fast code for these only: 3/4 and 5/8 were slower than full scale.
_DIVISORS = (8, 4, 2)
# Some cameras put padding before the end marker; the picture is whole.
_HARMLESS = "extraneous bytes before marker"


def divisor(width: int, height: int, least_width: int, least_height: int) -> int:
    """The largest of 1, 2, 4 and 8 by which a picture of this size (pixels) still has the least size."""
    for each in _DIVISORS:
        if -(-width // each) >= least_width and -(-height // each) >= least_height:
            return each
    return 1


class JpegDecoder:
    """Decodes into one buffer that it keeps: a picture is valid until the next `decode`. One thread."""

    def __init__(self, colour: str) -> None:
        """`colour` is `BGR` or `RGB`, the order of the channels."""
        self._colour = colour
        self._buffer = np.empty(0, np.uint8)

    def decode(self, data: bytes, width: int, height: int, least_width: int, least_height: int) -> Picture:
        """The picture, H x W x 3, uint8; `width` and `height` are what the JPEG's header says.

        Raises InvalidFrameError: `truncated` where data is missing, `not_jpeg` for anything else that can't be decoded.
        """
        by = divisor(width, height, least_width, least_height)
        out_width, out_height = -(-width // by), -(-height // by)
        size = out_width * out_height * 3
        if self._buffer.size < size:
            self._buffer = np.empty(size, np.uint8)
        try:
            return self._fast(data, out_width, out_height, by > 1, strict=True)
        except ValueError as error:
            return self._second_try(data, out_width, out_height, by, error)

    def _fast(self, data: bytes, width: int, height: int, reduced: bool, *, strict: bool) -> Picture:
        picture: Picture = simplejpeg.decode_jpeg(
            data,
            self._colour,
            fastdct=True,
            fastupsample=True,
            min_width=width if reduced else 0,
            min_height=height if reduced else 0,
            buffer=self._buffer,
            strict=strict,
        )
        return picture

    def _second_try(self, data: bytes, width: int, height: int, by: int, error: ValueError) -> Picture:
        text = str(error)
        if _HARMLESS in text:
            return self._fast(data, width, height, by > 1, strict=False)
        if "premature end" in text.lower():
            raise InvalidFrameError(InvalidReason.TRUNCATED, text) from None
        # Colour models that libjpeg-turbo's simple interface does not convert (CMYK, YCCK) and odd subsamplings.
        try:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as other:
            raise InvalidFrameError(InvalidReason.NOT_JPEG, str(other).strip()[:200]) from None
        if picture is None:
            raise InvalidFrameError(InvalidReason.NOT_JPEG, text)
        if self._colour == "RGB":
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        return np.asarray(picture, np.uint8)
