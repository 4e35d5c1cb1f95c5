"""Rules for producers, pods and drawing: which damaged images are usable, and which way up an image is.

libjpeg fills the missing part, down to the bottom, with the last colour that it decoded. An image with a few lost
bytes, or without its end marker, is worth showing; one with a large part missing is not. Called only for images that
the strict decoder refuses.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from elastic_inference.domain.frame import FIRST_TURNED

# An image of which the lowest quarter is missing is useless.
_PART = 4
_SAME = 6
_EVERY = 16
# Some cameras put padding before the end marker, others numbers of their own into the header of a scan.
_HARMLESS = ("extraneous bytes before marker", "Invalid SOS parameters")
END, _END_WITHIN = b"\xff\xd9", 64


def much_is_missing(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether the lowest quarter of an H x W x C image holds one colour, as missing rows do."""
    lowest = pixels[-max(1, len(pixels) // _PART) :, ::_EVERY]
    return bool((np.ptp(lowest, axis=(0, 1)) <= _SAME).all())


def is_whole(jpeg: bytes, error: Exception) -> bool:
    """Whether the strict decoder, whose error this is, has refused a JPEG of which nothing is missing."""
    return has_end(jpeg) and (is_rare(error) or any(each in str(error) for each in _HARMLESS))


def is_rare(error: Exception) -> bool:
    """Whether libjpeg-turbo's interface has refused a good image, since its subsampling has no name there.

    OpenCV (pods), FFmpeg (producers) and Pillow (drawing) decode it.
    """
    return "Could not determine subsampling" in str(error)


def has_end(data: bytes) -> bool:
    """Whether a JPEG has its end marker, maybe before some padding."""
    return END in bytes(data[-_END_WITHIN:])


def upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """An H x W x C image turned and mirrored as its EXIF orientation (1 to 8) says; a copy, except for 1."""
    if orientation == 1:
        return pixels
    if orientation >= FIRST_TURNED:
        pixels = np.swapaxes(pixels, 0, 1)
    # After the swap: which of the axes run backwards.
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
