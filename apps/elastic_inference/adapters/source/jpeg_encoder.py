"""Encodes frames as JPEG with libjpeg-turbo (simplejpeg), resized first if a size is set.

Called by `produce`. A camera's own JPEG passes through unchanged unless it must be resized. Decoded frames go from
FFmpeg's planes straight to the encoder, without a detour over RGB.
"""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import numpy.typing as npt
import simplejpeg

from elastic_inference.adapters.decoded_image import END, has_end, is_rare, is_whole, much_is_missing, upright
from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.encoder_planes import JpegPlanes
from elastic_inference.adapters.source.rare_jpeg import decode_rare
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import FIRST_TURNED, jpeg_orientation, shown_size, without_stray_bytes
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_PIXELS
from elastic_inference.domain.image_size import FrameSize
from elastic_inference.domain.jpeg_memory import decoding_bytes

# Of an image that is as small as a model's input. In a large image the artefacts are scaled down too: at quality 80 one
# box in a hundred moved.
_SMALL_QUALITY = 90
# Of an even smaller one, which a model may enlarge: at quality 90 one face in thirty moved.
_TINY_QUALITY, _TINY_PIXELS = 95, 320 * 240
# FFmpeg's planes, RGB, and the frame that is encoded.
_RARE_BYTES_A_PIXEL = 9


class JpegEncoder:
    """Encodes at `quality` (1 to 100). `width` or `height` alone keeps the aspect ratio. Not thread-safe."""

    def __init__(
        self,
        quality: int = 80,
        width: int | None = None,
        height: int | None = None,
        max_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
        max_memory: int = 1 << 62,
    ) -> None:
        """A camera's JPEG that takes more than `max_memory` bytes to decode and encode is refused."""
        self._quality = quality
        self._width, self._height = width, height
        self._max_pixels, self._max_memory = max_pixels, max_memory
        self._planes = JpegPlanes()

    def encode(
        self, frame: CapturedFrame, needed: Callable[[int, int], FrameSize] | None = None
    ) -> tuple[bytes, int, int]:
        """Returns (JPEG, width, height). Raises InvalidFrameError for a broken image or more than `max_pixels`.

        `needed` returns the size that is needed. A camera's own JPEG is left unchanged: the pod decodes it at a
        reduced scale, which costs less than resizing and encoding it again here.
        """
        image, damaged = frame.image, False
        if image is None:
            data = frame.jpeg or b""
            width, height = shown_size(data)
            self._check(width, height)
            target = self.target(width, height)
            orientation = jpeg_orientation(data)
            if target == (width, height) and orientation == 1:
                return data, width, height
            self._check_memory(data, width, height, target)
            # The target is for the upright image; this one may be rotated by 90 degrees.
            turned = orientation >= FIRST_TURNED
            rare_fits = _RARE_BYTES_A_PIXEL * width * height <= self._max_memory
            decoded, damaged = self._decode(data, target[::-1] if turned else target, rare_fits)
            image = av.VideoFrame.from_ndarray(upright(decoded, orientation), "rgb24")
        turn = frame.turn
        turned = turn >= FIRST_TURNED
        target = self.target(image.height, image.width) if turned else self.target(image.width, image.height)
        self._check(*target)
        quality, full_chroma = self._quality, False
        if needed is not None and frame.jpeg is None and (small := needed(*target))[:2] != target:
            target, full_chroma = small[:2], small.full_chroma
            tiny = target[0] * target[1] <= _TINY_PIXELS
            quality = max(quality, _TINY_QUALITY if tiny else _SMALL_QUALITY)
        planes = self._planes.planes(image, target[::-1] if turned else target, full_chroma)
        if turn != 1:
            luma, blue, red = (upright(plane, turn) for plane in planes)
            planes = luma, blue, red
        encoded = simplejpeg.encode_jpeg_yuv_planes(*planes, quality)
        # Pods mark an image without an end marker; that the camera's was damaged can't be seen in the new one.
        return encoded.removesuffix(END) if damaged else encoded, target[0], target[1]

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

    def _check_memory(self, data: bytes, width: int, height: int, target: tuple[int, int]) -> None:
        """`width` and `height` are those at which the image is shown."""
        # libjpeg decodes at a scale of up to twice the target, or at full size if the image is smaller.
        pixels = min(width * height, 4 * target[0] * target[1])
        # The pixels as decoded, turned upright, and as FFmpeg's frame. Coefficients are gone by then.
        needed = max(decoding_bytes(data, max(width, height), min(width, height)) + 3 * pixels, 9 * pixels)
        if needed > self._max_memory:
            raise InvalidFrameError(
                InvalidReason.TOO_LARGE,
                f"an image of {width}x{height} takes {needed >> 20} MiB of memory to resize, "
                f"at most {self._max_memory >> 20} MiB are there for it",
            )

    @staticmethod
    def _decode(data: bytes, target: tuple[int, int], rare_fits: bool) -> tuple[npt.NDArray[np.uint8], bool]:
        """(pixels, whether a part is missing). Uses the smallest of libjpeg's scales that still covers the target."""
        width, height = target

        def decode(jpeg: bytes, strict: bool) -> npt.NDArray[np.uint8]:
            pixels = simplejpeg.decode_jpeg(
                jpeg, "RGB", min_width=width, min_height=height, min_factor=1, strict=strict
            )
            return np.asarray(pixels, np.uint8)

        try:
            return decode(data, strict=True), False
        except ValueError as error:
            refused = error
        clean = without_stray_bytes(data)
        mended = clean if has_end(clean) else clean + END
        if mended is not data:
            try:
                return decode(mended, strict=True), not has_end(clean)
            except ValueError as error:
                refused = error
        damaged = not is_whole(clean, refused)
        try:
            if is_rare(refused) and rare_fits:
                return decode_rare(mended, "rgb24", refused, damaged), damaged
            if damaged and much_is_missing(mended, _smallest_grey):
                raise InvalidFrameError(InvalidReason.TRUNCATED, "a quarter of the camera's image or more is missing")
            return decode(mended, strict=False), damaged
        except ValueError as error:
            raise InvalidFrameError(InvalidReason.TRUNCATED, f"the camera's JPEG can't be decoded: {error}") from None


def _smallest_grey(jpeg: bytes) -> npt.NDArray[np.uint8]:
    grey = simplejpeg.decode_jpeg(jpeg, "GRAY", fastdct=True, min_width=1, min_height=1, strict=False)
    return np.asarray(grey, np.uint8)


def mean_grey(jpeg: bytes) -> float:
    """The mean grey level of a JPEG, 0 (black) to 255. Raises ValueError if it cannot be decoded."""
    clean = without_stray_bytes(jpeg)
    try:
        return float(simplejpeg.decode_jpeg(clean, "GRAY", fastdct=True, strict=False).mean())
    except ValueError as refused:
        return float(decode_rare(clean, "gray", refused).mean())
