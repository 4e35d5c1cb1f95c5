"""Rules for producers, pods and drawing: which damaged images are usable, and which way up an image is.

An image with a few lost bytes, or without its end marker, is worth showing; one with a large part missing is not.
Damage concerns only images that the strict decoder refuses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import numpy as np

from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.frame import FIRST_TURNED

Grey = NDArray[np.uint8]

# An image of which the lowest quarter is missing is useless.
MISSING_PART = 4
# Grey levels by which pixels may differ although the data of both is there: refinements of progressive images.
_SAME = 6
# Some cameras put padding before the end marker, others numbers of their own into the header of a scan.
_HARMLESS = ("extraneous bytes before marker 0xd9", "Invalid SOS parameters")
END, _END_WITHIN = b"\xff\xd9", 64
# Made-up data: pieces between restart markers, since a decoder that waits for a marker skips what comes before it.
_PIECES, _PIECE_BYTES = 4, 1024
_RESTARTS = tuple(bytes((0xFF, 0xD0 + number)) for number in range(8))
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SCAN_START, _FILL = 0xDA, 0xFF
# The first ones hold the means of all blocks: one for all components, or one for each.
_SCANS = 4


def much_is_missing(data: bytes, decode: Callable[[bytes], Grey]) -> bool:
    """Whether a quarter of a damaged JPEG's rows or more have no data. Pixels can't tell: a floor has one colour too.

    The image is decoded as it is, and with made-up data where its own ends. Above the first row that differs, both
    show what is there. `data` has an end marker and no stray bytes. `decode` returns grey levels, H x W (x 1), at any
    scale, and accepts damage; its ValueError is passed on.
    """
    found, other = _rows(decode(data)), _rows(decode(_filled(data)))
    differs = np.flatnonzero((np.maximum(found, other) - np.minimum(found, other) > _SAME).any(axis=1))
    return len(differs) > 0 and (len(found) - int(differs[0])) * MISSING_PART >= len(found)


def _rows(grey: Grey) -> Grey:
    return grey.reshape(grey.shape[:2])


def _filled(data: bytes) -> bytes:
    """The JPEG with more data at the end of its first scans, which changes nothing where a scan is whole."""
    pieces: list[bytes] = []
    at, kept = 2, 0
    while at + 4 <= len(data) and data[at] == _FILL and len(pieces) < 2 * _SCANS:
        marker = data[at + 1]
        at += 1 if marker == _FILL else 2 + (data[at + 2] << 8 | data[at + 3])
        if marker == _SCAN_START:
            found = _SCAN_END.search(data, at)
            end = found.start() if found else len(data)
            # Half of a code for an FF would make a marker of what follows it.
            own = data[kept:end].rstrip(b"\xff")
            pieces += [own, _made_up(own)]
            at = kept = end
    return b"".join((*pieces, data[kept:]))


def _made_up(own: bytes) -> bytes:
    """Data to follow that of a scan, with the restart markers that come next."""
    _, last = max((own.rfind(marker), at) for at, marker in enumerate(_RESTARTS))
    restarts = (_RESTARTS[(last + 1 + piece) % len(_RESTARTS)] for piece in range(_PIECES))
    noise = (hashlib.shake_128(bytes((piece,))).digest(_PIECE_BYTES) for piece in range(_PIECES))
    return b"".join(each.replace(b"\xff", b"\0") + marker for each, marker in zip(noise, restarts, strict=True))


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


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
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
