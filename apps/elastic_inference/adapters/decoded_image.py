"""Rules for producers, pods and drawing: which damaged images are usable, and which way up an image is.

libjpeg fills what is missing with the last colour that it knows, down to the bottom. An image with a few lost bytes, or
without its end marker, is worth showing; one with a large part missing is not. Called only for images that the
strict decoder refuses.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from elastic_inference.domain.frame import FIRST_TURNED

# More than this share of the rows missing makes an image useless.
MAX_MISSING = 0.25
_SAME = 3
_EVERY = 4


def missing_share(pixels: npt.NDArray[np.uint8]) -> float:
    """The share (0..1) of rows at the bottom of an H x W x C image that hold one colour, as missing rows do."""
    rows = pixels[:, ::_EVERY].astype(np.int16)
    differs = (np.abs(rows - rows[-1, -1]) > _SAME).any(axis=(1, 2))
    last = np.flatnonzero(differs)
    height: int = rows.shape[0]
    return 1.0 if last.size == 0 else (height - 1 - int(last[-1])) / height


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
