"""Turns decoded frames into the planes that JPEG needs: 8 bits, full range, the BT.601 matrix (JFIF, ITU-T T.871).

Called by `jpeg_encoder`. FFmpeg's `colorspace` filter changes matrix and range in one pass, for a ninth of the cost of
its scaler. The scaler is used only to change the size, and for layouts that the filter does not take.
"""

from __future__ import annotations

import av
import av.filter
import numpy as np
import numpy.typing as npt
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from elastic_inference.adapters.source.colours import PACKED, Colours, colours
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason

Plane = npt.NDArray[np.uint8]
# Width, height, pixel format, matrix and range.
_Kind = tuple[int, int, str, int, int]
# Formats that the filter takes, by the 8-bit format with the same subsampling.
_PLANAR = {
    f"yuv{letter}{layout}p{depth}": f"yuv{layout}p"
    for layout in ("420", "422", "444")
    for letter, depth in (("", ""), ("j", ""), ("", "10le"), ("", "12le"))
}


class JpegPlanes:
    """Converts frames of any size and pixel format, with a single FFmpeg thread. Not thread-safe."""

    def __init__(self) -> None:
        # Made once: each reformatter sets up FFmpeg's scaler again.
        self._reformatter = VideoReformatter()
        self._recolour: _Recolour | None = None
        # What the last frame stated, and its size, if the filter alone converts such frames.
        self._plain: tuple[_Kind, tuple[int, int]] | None = None

    def planes(
        self, image: av.VideoFrame, size: tuple[int, int], full_chroma: bool = False
    ) -> tuple[Plane, Plane, Plane]:
        """Y, Cb and Cr of the frame at `size`. Raises InvalidFrameError if FFmpeg cannot convert it.

        With `full_chroma`, a frame that is made smaller gets Cb and Cr of the size of Y.

        States the frame's matrix and range in `image`, if they are missing there.
        """
        try:
            converted = self._convert(image, size, full_chroma)
        except (av.FFmpegError, ValueError) as error:
            raise InvalidFrameError(
                InvalidReason.NOT_JPEG, f"FFmpeg can't convert a {image.format.name} frame for JPEG: {error}"
            ) from None
        luma, blue, red = converted.planes
        return _rows(luma), _rows(blue), _rows(red)

    def _convert(self, image: av.VideoFrame, size: tuple[int, int], full_chroma: bool) -> av.VideoFrame:
        stated = _kind(image)
        if self._recolour is not None and self._plain == (stated, size):
            return self._recolour.convert(image)
        self._plain = None
        name = image.format.name
        if image.format.is_rgb or image.format.has_palette:
            return self._scale(image, size, "yuv420p", to_jpeg=True)
        if len(image.format.components) < 3:
            return self._grey(image, size)
        found = colours(name, image.width, image.height, image.colorspace, image.color_range)
        image.colorspace = found.matrix
        image.color_range = ColorRange.JPEG if found.full_range else ColorRange.MPEG
        target = _PLANAR.get(name) or ("yuv422p" if name in PACKED else "yuv420p")
        if full_chroma and size != (image.width, image.height):
            target = "yuv444p"
        # The filter takes even sizes only.
        at = next((each for each in (size, (image.width, image.height)) if not any(side % 2 for side in each)), None)
        if at is None:
            return self._scale(image, size, target, to_jpeg=True)
        if at != (image.width, image.height) or name not in _PLANAR:
            image = self._scale(image, at, target)
        if not (found.is_jpeg and image.format.name in (target, target.replace("yuv", "yuvj"))):
            if self._recolour is None or not self._recolour.takes(image):
                self._recolour = _Recolour(image, found, target)
            if stated[:2] == at == size and name in _PLANAR:
                self._plain = stated, size
            image = self._recolour.convert(image)
        return image if at == size else self._scale(image, size, target)

    def _grey(self, image: av.VideoFrame, size: tuple[int, int]) -> av.VideoFrame:
        limited = image.color_range == ColorRange.MPEG
        image = self._scale(image, size, "yuv420p", to_jpeg=True)
        if limited:
            # FFmpeg's scaler takes grey for full range, whatever the frame states.
            image.color_range = ColorRange.MPEG
            image = self._scale(image, size, "yuv420p", to_jpeg=True)
        return image

    def _scale(self, image: av.VideoFrame, size: tuple[int, int], target: str, to_jpeg: bool = False) -> av.VideoFrame:
        """The frame at `size` in the format `target`. Matrix and range stay as they are unless `to_jpeg`."""
        shrinks = size[0] * size[1] < image.width * image.height
        return self._reformatter.reformat(
            image,
            *size,
            format=target,
            dst_colorspace=Colorspace.ITU601 if to_jpeg else None,
            dst_color_range=ColorRange.JPEG if to_jpeg else None,
            interpolation=Interpolation.AREA if shrinks else Interpolation.BILINEAR,
            # By default FFmpeg starts a thread for each processor of the host.
            threads=1,
        )


class _Recolour:
    """FFmpeg's filter `colorspace` for frames of one size, format, matrix and range."""

    def __init__(self, image: av.VideoFrame, found: Colours, target: str) -> None:
        """`target` is the 8-bit format with the image's subsampling."""
        self._kind = _kind(image)
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        source = self._graph.add(
            "buffer",
            video_size=f"{image.width}x{image.height}",
            pix_fmt=image.format.name,
            time_base="1/1000",
            colorspace=str(image.colorspace),
            range=str(image.color_range),
        )
        # Primaries and transfer are declared equal, so the filter leaves both as they are.
        recolour = self._graph.add(
            "colorspace",
            f"ispace={found.matrix_name}:irange={'pc' if found.full_range else 'tv'}"
            f":iprimaries=bt709:itrc=bt709:space=bt470bg:range=pc:primaries=bt709:trc=bt709:format={target}",
        )
        sink = self._graph.add("buffersink")
        source.link_to(recolour)
        recolour.link_to(sink)
        self._graph.configure()

    def takes(self, image: av.VideoFrame) -> bool:
        """Whether the frame is of the kind that this filter was made for."""
        return _kind(image) == self._kind

    def convert(self, image: av.VideoFrame) -> av.VideoFrame:
        """Converts a frame of that kind, or one that states no kind but is of it."""
        *_, image.colorspace, image.color_range = self._kind
        self._graph.vpush(image)
        return self._graph.vpull()


def _kind(image: av.VideoFrame) -> _Kind:
    return image.width, image.height, image.format.name, image.colorspace, image.color_range


def _rows(plane: VideoPlane) -> Plane:
    width, step = plane.width, plane.line_size
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, step)
    return rows if step == width else np.ascontiguousarray(rows[:, :width])
