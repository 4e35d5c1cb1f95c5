"""Decodes JPEGs into luma and chroma planes or into pixels, and converts planes to pixels, with libturbojpeg.

Called by the pod's decoder. The library is Debian's package libturbojpeg0; without it `available` is False, and the
caller decodes in another way. Calls release the interpreter lock.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from elastic_inference.domain.array_type import NDArray

Plane = NDArray[np.uint8]

_LIBRARY = "libturbojpeg.so.0"
# From turbojpeg.h. The fast transform is wrong where the library scales by a half: it mixes two kinds of tables.
_FAST_DCT, _FAST_UPSAMPLING, _STOP_ON_WARNING = 2048, 256, 8192
_ORDERS = {"RGB": 0, "BGR": 1}
_SUBSAMPLING = {(1, 1): 0, (2, 1): 1, (2, 2): 2, (1, 2): 4}
# Planes are padded to whole groups of pixels, four at most.
_PAD = 4
_pointer, _int = ctypes.c_void_p, ctypes.c_int


@cache
def _library() -> Any:
    """The loaded library; None if it is missing."""
    try:
        library = ctypes.CDLL(_LIBRARY)
        library.tjInitDecompress.restype = _pointer
        library.tjDestroy.argtypes = (_pointer,)
        library.tjDecompressToYUVPlanes.argtypes = (
            *(_pointer, ctypes.c_char_p, ctypes.c_ulong, _pointer, _int, _pointer, _int, _int),
        )
        library.tjDecompress2.argtypes = (
            *(_pointer, ctypes.c_char_p, ctypes.c_ulong, _pointer, _int, _int, _int, _int, _int),
        )
        library.tjDecodeYUVPlanes.argtypes = (
            *(_pointer, _pointer, _pointer, _int, _pointer, _int, _int, _int, _int, _int),
        )
    except (OSError, AttributeError):
        return None
    return library


def available() -> bool:
    """Whether the library is there."""
    return _library() is not None


class PlaneBuffer:
    """Memory for three planes of an image; reused for the next image of the same size.

    `chroma` holds both chroma planes, one below the other: to resize them takes one call.
    """

    def __init__(self, width: int, height: int, planes: tuple[int, int]) -> None:
        """`planes` is the chroma subsampling, (horizontal, vertical)."""
        across, down = planes
        wide, high = _padded(width), _padded(height)
        colour_width, self.colour_height = -(-width // across), -(-height // down)
        # Behind the start of each plane there is room for one of full size, so no header makes the library write beyond
        # the memory. Unused memory costs nothing.
        self._memory = np.empty((3 * high, wide), np.uint8)
        self.luma: Plane = self._memory[:height, :width]
        self.chroma: Plane = self._memory[high : high + 2 * self.colour_height, :colour_width]
        self.subsampling = _SUBSAMPLING[planes]
        starts = (0, high, high + self.colour_height)
        self.pointers = (_pointer * 3)(*(self._memory.ctypes.data + start * wide for start in starts))
        self.strides = (_int * 3)(wide, wide, wide)
        self.kind = width, height, planes
        self.size = self._memory.size

    def chroma_planes(self) -> tuple[Plane, Plane]:
        """The two chroma planes apart."""
        return self.chroma[: self.colour_height], self.chroma[self.colour_height :]


class Canvas:
    """Memory that `paint` fills: an image of H x W x 3, uint8, whose rows may lie apart."""

    def __init__(self, image: Plane) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]
        self.pointer, self.stride = image.ctypes.data, image.strides[0]


class PlaneCodec:
    """One thread's decoder. Call it only where `available`."""

    def __init__(self, colour: str) -> None:
        """`colour` is `BGR` or `RGB`, the order of the channels of a canvas."""
        self._order = _ORDERS[colour]
        self._library = library = _library()
        # A handle keeps state between calls, so decoding and conversion each have their own.
        self._decoder, self._painter = library.tjInitDecompress(), library.tjInitDecompress()
        if not (self._decoder and self._painter):
            raise MemoryError("libturbojpeg could not start")
        self._decode, self._paint = library.tjDecompressToYUVPlanes, library.tjDecodeYUVPlanes
        self._decode_pixels = library.tjDecompress2

    def decode(self, data: bytes, buffer: PlaneBuffer, *, reduced: bool) -> bool:
        """Decodes into `buffer`, whose size is that of the image or, if `reduced`, a half, a quarter or an eighth.

        False if anything is wrong with the image: then `buffer` holds nothing.
        """
        width, height, _ = buffer.kind
        flags = _flags(reduced=reduced)
        size = len(data)
        return not self._decode(self._decoder, data, size, buffer.pointers, width, buffer.strides, height, flags)

    def decode_pixels(self, data: bytes, canvas: Canvas, *, reduced: bool) -> bool:
        """Decodes straight into `canvas`, whose size is that of the image or, if `reduced`, a half, a quarter …

        False if anything is wrong with the image: then a part of `canvas` may be filled.
        """
        return not self._decode_pixels(
            *(self._decoder, data, len(data), canvas.pointer, canvas.width, canvas.stride, canvas.height),
            *(self._order, _flags(reduced=reduced) | _FAST_UPSAMPLING),
        )

    def paint(self, buffer: PlaneBuffer, canvas: Canvas) -> bool:
        """Converts the planes to pixels: fills `canvas`, which has the size of `buffer`. False if it fails."""
        return not self._paint(
            *(self._painter, buffer.pointers, buffer.strides, buffer.subsampling),
            *(canvas.pointer, canvas.width, canvas.stride, canvas.height, self._order, 0),
        )

    def __del__(self) -> None:
        for handle in (getattr(self, "_decoder", None), getattr(self, "_painter", None)):
            if handle:
                self._library.tjDestroy(handle)


def _flags(*, reduced: bool) -> int:
    return _STOP_ON_WARNING if reduced else _STOP_ON_WARNING | _FAST_DCT


def plane_bytes(width: int, height: int) -> int:
    """Bytes of a `PlaneBuffer` of this size in pixels."""
    return 3 * _padded(width) * _padded(height)


def _padded(side: int) -> int:
    return -(-side // _PAD) * _PAD
