"""Encodes frames as JPEG with libjpeg-turbo (simplejpeg), resized first if a size is set.

Called by `produce`. A camera's own JPEG passes through unchanged unless it must be resized. Decoded frames go from
FFmpeg's planes straight to the encoder, without a detour over RGB.
"""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt
import simplejpeg
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from elastic_inference.adapters.decoded_image import much_is_missing, upright
from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import FIRST_TURNED, jpeg_orientation, shown_size

# Planar formats with 8 bits that simplejpeg takes as they are, by the full-range format that keeps their subsampling.
_PLANAR = {
    **dict.fromkeys(("yuv420p", "yuvj420p"), "yuvj420p"),
    **dict.fromkeys(("yuv422p", "yuvj422p"), "yuvj422p"),
    **dict.fromkeys(("yuv444p", "yuvj444p"), "yuvj444p"),
}
_FULL_RANGE = ("yuvj420p", "yuvj422p", "yuvj444p")
Plane = npt.NDArray[np.uint8]
Pairs = npt.NDArray[np.uint16]  # two samples each


class JpegEncoder:
    """Encodes in 4:2:0 at `quality` (1 to 100). `width` or `height` alone keeps the aspect ratio. Not thread-safe."""

    def __init__(
        self, quality: int = 80, width: int | None = None, height: int | None = None, max_pixels: int = 33_000_000
    ) -> None:
        self._quality = quality
        self._width = width
        self._height = height
        self._max_pixels = max_pixels
        self._full_range = _FullRange()

    def encode(self, frame: CapturedFrame) -> tuple[bytes, int, int]:
        """Returns (JPEG, width, height). Raises InvalidFrameError for a broken image or more than `max_pixels`."""
        image = frame.image
        if image is None:
            data = frame.jpeg or b""
            width, height = shown_size(data)
            self._check(width, height)
            target = self.target(width, height)
            orientation = jpeg_orientation(data)
            if target == (width, height) and orientation == 1:
                return data, width, height
            # The target is that of the upright image; this one may lie on its side.
            decoded = self._decode(data, target[::-1] if orientation >= FIRST_TURNED else target)
            image = av.VideoFrame.from_ndarray(upright(decoded, orientation), "rgb24")
        target = self.target(image.width, image.height)
        self._check(*target)
        planes = self._full_range.planes(image, target)
        return simplejpeg.encode_jpeg_yuv_planes(*planes, self._quality), target[0], target[1]

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
        # Uses the smallest of libjpeg's scales that still covers the target.
        width, height = target

        def decode(strict: bool) -> npt.NDArray[np.uint8]:
            pixels = simplejpeg.decode_jpeg(
                data, "RGB", min_width=width, min_height=height, min_factor=1, strict=strict
            )
            return np.asarray(pixels, np.uint8)

        try:
            pixels = decode(strict=True)
        except ValueError:
            try:
                pixels = decode(strict=False)
            except ValueError as error:
                raise InvalidFrameError(
                    InvalidReason.TRUNCATED, f"the camera's JPEG can't be decoded: {error}"
                ) from None
            if much_is_missing(pixels):
                raise InvalidFrameError(
                    InvalidReason.TRUNCATED, "a quarter of the camera's image or more is missing"
                ) from None
        return pixels


def mean_grey(jpeg: bytes) -> float:
    """The mean grey level of a JPEG, 0 (black) to 255. Raises ValueError if it cannot be decoded."""
    return float(simplejpeg.decode_jpeg(jpeg, "GRAY", fastdct=True, strict=False).mean())


class _FullRange:
    """Converts frames of any pixel format to the full-range planes of 8 bits that JPEG wants. Not thread-safe."""

    def __init__(self) -> None:
        # Made once: each reformatter sets up FFmpeg's filters again.
        self._reformatter = VideoReformatter()
        self._tables: tuple[Pairs, Pairs] | None = None
        self._buffers: list[Pairs] = []

    def planes(self, image: av.VideoFrame, size: tuple[int, int]) -> tuple[Plane, Plane | None, Plane | None]:
        """Y, Cb and Cr of the frame at `size`.

        Colours keep their matrix: BT.709 is shown as BT.601, since converting costs more than encoding. Raises
        InvalidFrameError if FFmpeg cannot convert the frame.
        """
        name = image.format.name
        if size != (image.width, image.height) or name not in _PLANAR:
            image = self._convert(image, size, _PLANAR.get(name, "yuvj420p"))
        elif name not in _FULL_RANGE and image.color_range != ColorRange.JPEG:
            return self._expand(image)
        luma, blue, red = (_rows(plane) for plane in image.planes)
        return luma, blue, red

    def _expand(self, image: av.VideoFrame) -> tuple[Plane, Plane, Plane]:
        """Limited range to full range, two samples at a time: about half the cost of FFmpeg's conversion.

        The planes are valid until the next call.
        """
        luma, chroma = self._tables = self._tables or (_pair_table(16, 219), _pair_table(128, 224))
        planes = [np.frombuffer(memoryview(plane), np.uint16) for plane in image.planes]
        if [each.size for each in self._buffers] != [each.size for each in planes]:
            self._buffers = [np.empty_like(each) for each in planes]
        found = []
        for table, pairs, buffer, plane in zip(
            (luma, chroma, chroma), planes, self._buffers, image.planes, strict=True
        ):
            np.take(table, pairs, out=buffer, mode="clip")
            found.append(_crop(buffer.view(np.uint8), plane))
        return found[0], found[1], found[2]

    def _convert(self, image: av.VideoFrame, size: tuple[int, int], target: str) -> av.VideoFrame:
        shrinks = size[0] * size[1] < image.width * image.height
        try:
            return self._reformatter.reformat(
                image,
                *size,
                format=target,
                # The same matrix on both sides: only the range is converted, unless the frame is RGB.
                dst_colorspace=Colorspace.ITU601 if image.format.is_rgb else None,
                dst_color_range=ColorRange.JPEG,
                interpolation=Interpolation.AREA if shrinks else Interpolation.BILINEAR,
            )
        except (av.FFmpegError, ValueError) as error:
            raise InvalidFrameError(
                InvalidReason.NOT_JPEG, f"FFmpeg can't convert a {image.format.name} frame to {target}: {error}"
            ) from None


def _pair_table(zero: int, span: int) -> Pairs:
    """Full-range values for each pair of limited-range bytes; `zero` maps to 0 for luma, to 128 for chroma."""
    offset = 0 if zero == 16 else 128
    levels = (np.arange(256) - zero) * 255 / span + offset
    single = np.clip(np.rint(levels), 0, 255).astype(np.uint16)
    return np.ascontiguousarray((single[:, None] << 8) | single[None, :]).reshape(-1)


def _rows(plane: VideoPlane) -> Plane:
    return _crop(np.frombuffer(memoryview(plane), np.uint8), plane)


def _crop(samples: Plane, plane: VideoPlane) -> Plane:
    rows = samples.reshape(-1, plane.line_size)
    return np.ascontiguousarray(rows[: plane.height, : plane.width])
