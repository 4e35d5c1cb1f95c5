"""Encodes frames as JPEG with libjpeg-turbo (simplejpeg), resized first if a size is set.

Called by `produce`. A camera's own JPEG passes through unchanged unless it must be resized.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import jpeg_size


class JpegEncoder:
    """Encodes in 4:2:0 at `quality` (1 to 100). `width` or `height` alone keeps the aspect ratio. Not thread-safe."""

    def __init__(
        self, quality: int = 80, width: int | None = None, height: int | None = None, max_pixels: int = 33_000_000
    ) -> None:
        self._quality = quality
        self._width = width
        self._height = height
        self._max_pixels = max_pixels

    def encode(self, frame: CapturedFrame) -> tuple[bytes, int, int]:
        """Returns (JPEG, width, height). Raises InvalidFrameError for a broken JPEG or more than `max_pixels`."""
        pixels = frame.pixels
        if pixels is None:
            data = frame.jpeg or b""
            width, height = jpeg_size(data)
            self._check(width, height)
            target = self.target(width, height)
            if target == (width, height):
                return data, width, height
            pixels = self._decode(data, target)
        height, width = pixels.shape[:2]
        target = self.target(width, height)
        self._check(*target)
        if target != (width, height):
            shrinks = target[0] * target[1] < width * height
            resized = cv2.resize(pixels, target, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
            pixels = np.asarray(resized, np.uint8)
        data = simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels), self._quality, colorspace="BGR", colorsubsampling="420"
        )
        return data, target[0], target[1]

    def target(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) to which a frame of this size is resized."""
        if self._width and self._height:
            return self._width, self._height
        if self._width:
            return self._width, max(1, round(height * self._width / width))
        if self._height:
            return max(1, round(width * self._height / height)), self._height
        return width, height

    def _check(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise InvalidFrameError(
                InvalidReason.TOO_LARGE, f"{width}x{height}, at most {self._max_pixels} pixels are accepted"
            )

    @staticmethod
    def _decode(data: bytes, target: tuple[int, int]) -> npt.NDArray[np.uint8]:
        try:
            # Uses the smallest of libjpeg's scales that still covers the target.
            pixels = simplejpeg.decode_jpeg(data, "BGR", min_width=target[0], min_height=target[1], min_factor=1)
        except ValueError as error:
            raise InvalidFrameError(InvalidReason.TRUNCATED, f"the camera's JPEG can't be decoded: {error}") from None
        return np.asarray(pixels, np.uint8)
