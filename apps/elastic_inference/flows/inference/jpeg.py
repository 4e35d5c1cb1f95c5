"""Decodes JPEGs at the smallest scale that still covers a model's input.

Called by the workers, each with a decoder of its own; all share one budget of memory. Uses libturbojpeg for ordinary
images, if installed, else simplejpeg (also libjpeg-turbo) and, for what that cannot read, OpenCV. All release the
interpreter lock while they work.
"""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

from elastic_inference.adapters import jpeg_planes
from elastic_inference.adapters.decoded_image import END, has_end, is_rare, is_whole, much_is_missing, upright
from elastic_inference.adapters.jpeg_planes import Canvas, PlaneBuffer, PlaneCodec
from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason, StaleFrameError
from elastic_inference.domain.frame import FIRST_TURNED, jpeg_orientation, without_stray_bytes
from elastic_inference.domain.jpeg_header import jpeg_header
from elastic_inference.domain.jpeg_memory import decoding_bytes, one_scan, row_bytes
from elastic_inference.flows.inference.arrays import Image

# libjpeg-turbo has fast code only for these scales: 3/4 and 5/8 were slower than full scale.
_DIVISORS = (8, 4, 2)
# A progressive JPEG has some ten scans. Each scan costs a pass over all pixels, however few bytes it has. 4 MiB hold
# 70,000 scans, which kept a worker busy for most of an hour (33 million pixels, 35 ms a scan).
MAX_SCANS = 32
_SCAN_START = b"\xff\xda"
# A buffer of this size, enough for 2.8 million pixels, is kept for the next image.
_KEPT_BYTES = 8 * 1024 * 1024
_UNLIMITED_BYTES = 1 << 62
_NO_PLANES = PlaneBuffer(0, 0, (1, 1))


def divisor(width: int, height: int, min_width: int, min_height: int) -> int:
    """The largest of 1, 2, 4 and 8 that still leaves an image of this size (pixels) the minimum size."""
    for each in _DIVISORS:
        if -(-width // each) >= min_width and -(-height // each) >= min_height:
            return each
    return 1


def count_scans(data: bytes) -> int:
    """How many scans an image has. Within a scan 00 follows each FF, so only markers count (also a thumbnail's)."""
    return data.count(_SCAN_START)


class JpegDecoder:
    """Decodes into one buffer: an image is valid until the next `decode` or `release`. Not thread-safe."""

    def __init__(self, colour: str, budget: ByteBudget | None = None, wait_s: float | None = None) -> None:
        """`colour` is `BGR` or `RGB`, the order of the channels. `budget` has the memory that decoding may take."""
        self._colour = colour
        self._budget = budget or ByteBudget(_UNLIMITED_BYTES)
        self._wait_s = wait_s
        self._held = 0
        self._buffer = np.empty(0, np.uint8)
        self._codec = PlaneCodec(colour) if jpeg_planes.available() else None
        # As decoded, and as the model takes it.
        self._planes = self._small = _NO_PLANES
        self.damaged = False  # whether a part of the last image was missing

    def decode(self, data: bytes, width: int, height: int, min_width: int, min_height: int) -> Image:
        """The image, H x W x 3, uint8, upright; `width` and `height` are the size at which it is displayed.

        If little of an image is missing, the rest is decoded and `damaged` is set. Waits while other decoders hold
        the memory that it takes. Raises InvalidFrameError: `truncated` if much is missing, `too_large` if the budget
        is smaller than what it takes, `not_jpeg` for what cannot be decoded at all or has over MAX_SCANS scans. Raises
        StaleFrameError if it waited too long.
        """
        header = jpeg_header(data)
        single = one_scan(data) if header is None else header.one_scan
        if not single:
            scans = count_scans(data)
            if scans > MAX_SCANS:
                raise InvalidFrameError(InvalidReason.NOT_JPEG, f"{scans} scans; at most {MAX_SCANS} are accepted")
        orientation = jpeg_orientation(data) if header is None else header.orientation
        if orientation >= FIRST_TURNED:
            # The JPEG's own rows and columns.
            width, height, min_width, min_height = height, width, min_height, min_width
        by = divisor(width, height, min_width, min_height)
        out_width, out_height = -(-width // by), -(-height // by)
        size = out_width * out_height * 3
        needed = row_bytes(width) if single else decoding_bytes(data, width, height)
        copies = 1 if orientation == 1 else 2
        self._hold(needed + copies * size)
        if self._buffer.size < size:
            self._buffer = np.empty(size, np.uint8)
        self.damaged = False
        try:
            image = self._fast(data, out_width, out_height, by > 1, strict=True)
        except ValueError as error:
            second = self._second_try(data, out_width, out_height, by, error)
            if second is None:
                # OpenCV decodes at full scale, and swaps the colours in a copy.
                copies += self._colour == "RGB"
                self._hold(needed + copies * 3 * width * height)
                second = self._by_opencv(data, error)
            image = second
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

    def decode_into(self, canvas: Canvas, data: bytes, size: tuple[int, int], minimum: tuple[int, int]) -> bool:
        """Decodes and resizes into `canvas`. False if that is impossible: use `decode`.

        An image that is not resized goes there straight. Others are resized plane by plane, so colours are converted
        for fewer pixels. `size` (w, h) is that at which the image is displayed, `minimum` is as for `decode`. Only for
        undamaged, upright images with one scan and three planes.
        """
        codec, header = self._codec, jpeg_header(data)
        if codec is None or header is None or header.planes is None or header.orientation != 1 or not header.one_scan:
            return False
        by = divisor(*size, *minimum)
        width, height = -(-size[0] // by), -(-size[1] // by)
        if header.shown != size:
            return False
        straight = (canvas.width, canvas.height) == (width, height)
        needed = row_bytes(size[0]) + (0 if straight else jpeg_planes.plane_bytes(width, height))
        if not self._budget.fits(needed):
            return False
        self._take(needed)
        self.damaged = False
        if straight:
            return codec.decode_pixels(data, canvas, reduced=by > 1)
        if self._planes.kind != (width, height, header.planes):
            self._planes = PlaneBuffer(width, height, header.planes)
        kind = canvas.width, canvas.height, header.planes
        if self._small.kind != kind:
            self._small = PlaneBuffer(*kind)
        if not codec.decode(data, self._planes, reduced=by > 1):
            return False
        _resize(self._planes, self._small)
        return codec.paint(self._small, canvas)

    def release(self) -> None:
        """Returns the memory of the last image, which is no longer valid."""
        if not self._held:
            return
        if self._buffer.size + self._planes.size + self._small.size > _KEPT_BYTES:
            self._buffer = np.empty(0, np.uint8)
            self._planes = self._small = _NO_PLANES
        self._budget.give_back(self._held)
        self._held = 0

    def _hold(self, count: int) -> None:
        if not self._budget.fits(count):
            raise InvalidFrameError(
                InvalidReason.TOO_LARGE,
                f"decoding takes {count >> 20} MiB of memory, at most {self._budget.total >> 20} MiB are available",
            )
        self._take(count)

    def _take(self, count: int) -> None:
        # A thread that waits must hold nothing.
        self.release()
        if not self._budget.take(count, self._wait_s):
            raise StaleFrameError("the frame has waited too long for memory that other images use")
        self._held = count

    def _second_try(self, data: bytes, width: int, height: int, by: int, error: ValueError) -> Image | None:
        """The image as far as it can be decoded; None if another decoder should try."""
        clean = without_stray_bytes(data)
        self.damaged = not has_end(clean)
        mended = clean + END if self.damaged else clean
        if mended is not data:
            try:
                return self._fast(mended, width, height, by > 1, strict=True)
            except ValueError as other:
                error = other
        self.damaged = not is_whole(clean, error)
        if is_rare(error):
            return None
        try:
            # At an eighth of the size first: a useless image must not cost much more than a good one.
            if self.damaged and much_is_missing(mended, self._smallest):
                raise InvalidFrameError(InvalidReason.TRUNCATED, "a quarter of the image or more is missing")
            return self._fast(mended, width, height, by > 1, strict=False)
        except ValueError:
            return None

    def _by_opencv(self, data: bytes, error: ValueError) -> Image:
        """For rare subsamplings, and colour models that simplejpeg does not convert (CMYK, YCCK)."""
        try:
            whole = data if has_end(data) else data + END
            if self.damaged and much_is_missing(whole, _smallest_by_opencv):
                raise InvalidFrameError(InvalidReason.TRUNCATED, "a quarter of the image or more is missing")
            decoded = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except (cv2.error, ValueError) as other:
            raise InvalidFrameError(InvalidReason.NOT_JPEG, str(other).strip()[:200]) from None
        if decoded is None:
            raise InvalidFrameError(InvalidReason.NOT_JPEG, str(error))
        if self._colour == "RGB":
            decoded = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        return np.asarray(decoded, np.uint8)


def _smallest_by_opencv(data: bytes) -> Image:
    flags = cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if decoded is None:
        raise ValueError("OpenCV can't decode it")
    return np.asarray(decoded, np.uint8)


def _resize(source: PlaneBuffer, target: PlaneBuffer) -> None:
    """Resizes all planes. Few and cheap calls: each of them costs more in a busy pod than in a loop."""
    width, height, _ = target.kind
    cv2.resize(source.luma, (width, height), target.luma, interpolation=cv2.INTER_LINEAR)
    if target.colour_height <= source.colour_height:
        # Both at once: an image that is not enlarged takes no row from beyond its own edge.
        planes: tuple[tuple[Image, Image], ...] = ((source.chroma, target.chroma),)
    else:
        planes = tuple(zip(source.chroma_planes(), target.chroma_planes(), strict=True))
    for plane, small in planes:
        cv2.resize(plane, small.shape[::-1], small, interpolation=cv2.INTER_LINEAR)
