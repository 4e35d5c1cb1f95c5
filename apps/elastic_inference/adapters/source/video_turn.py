"""Which way up a decoded frame is: phones store upright video lying on its side, and state how to turn it.

Called by `container`.
"""

from __future__ import annotations

import struct

import av
from av.sidedata.sidedata import SideData

_MATRIX_BYTES = 36
# From the signs of a display matrix (x' = ax + cy, y' = bx + dy) to EXIF's number for the same turn.
_ORIENTATIONS = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


# `VideoFrame.rotation` counts counterclockwise.
_BY_ROTATION = {-90: 6, 90: 8, 180: 3, -180: 3}


class VideoTurn:
    """EXIF's orientation of one source's frames. Not thread-safe."""

    def __init__(self) -> None:
        self._kind: tuple[int, int, int] | None = None
        self._orientation = 1

    def orientation(self, image: av.VideoFrame) -> int:
        """The orientation (1 to 8) that the frame states; 1 if it states none, or a turn by another angle.

        H.264 and H.265 themselves may state it in key frames alone: it then holds for the frames up to the next one.
        """
        kind = image.rotation, image.width, image.height
        if kind != self._kind:
            if not (image.rotation or image.key_frame) and self._kind is not None and kind[1:] == self._kind[1:]:
                return self._orientation
            # A frame and its side data refer to each other, once they were read: the image then stays in memory until
            # the garbage collector runs. So only the first frame of a kind is asked.
            self._kind, self._orientation = kind, _stated(image)
        return self._orientation


def _stated(image: av.VideoFrame) -> int:
    try:
        matrix = image.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV does not know all kinds of side data, and then reads none.
        return _BY_ROTATION.get(image.rotation, 1)
    if not isinstance(matrix, SideData) or matrix.buffer_size < _MATRIX_BYTES:
        return 1
    numbers = struct.unpack_from("=5i", memoryview(matrix))
    most = max(map(abs, numbers))
    # Half a turn of rounding does not matter; 45 degrees would.
    a, b, c, d = (round(numbers[at] / most) if most else 0 for at in (0, 1, 3, 4))
    return _ORIENTATIONS.get((a, b, c, d), 1)
