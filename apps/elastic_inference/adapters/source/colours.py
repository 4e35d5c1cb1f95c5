"""How to interpret a video's samples: matrix and range, as the video states them or as players assume them.

Called by `encoder_planes` and `container`. Pure: numbers of ITU-T H.273 in, names out.
"""

from __future__ import annotations

from typing import NamedTuple

BT709, BT601, SMPTE170M = 1, 5, 6
# By number: FFmpeg's name in filters, and the usual name.
_MATRICES = {
    BT709: ("bt709", "BT.709"),
    4: ("fcc", "FCC"),
    BT601: ("bt470bg", "BT.601"),
    SMPTE170M: ("smpte170m", "BT.601"),
    7: ("smpte240m", "SMPTE 240M"),
    8: ("ycgco", "YCgCo"),
    9: ("bt2020nc", "BT.2020"),
    10: ("bt2020nc", "BT.2020"),
}
_FULL_RANGE = 2
# What capture devices send. They mean BT.601 if they state no matrix (USB Video Class 1.5, section 3.9.2.6).
PACKED = ("yuyv422", "yvyu422", "uyvy422")
# Transfer functions of HDR video, by their numbers in H.273.
HDR = {16: "PQ", 18: "HLG"}
# If a video states no matrix, players assume BT.709 from this size on.
_HD_WIDTH, _HD_HEIGHT = 1280, 720


class Colours(NamedTuple):
    """`matrix` is a number of H.273; `stated` says whether the video itself names it."""

    matrix: int
    full_range: bool
    stated: bool

    @property
    def matrix_name(self) -> str:
        """FFmpeg's name."""
        return _MATRICES[self.matrix][0]

    @property
    def is_jpeg(self) -> bool:
        """Whether matrix and range are those of JPEG."""
        return self.full_range and self.matrix in (BT601, SMPTE170M)

    def __str__(self) -> str:
        stated = "" if self.stated else " (not stated)"
        return f"{_MATRICES[self.matrix][1]}{stated}, {'full' if self.full_range else 'limited'} range"


def colours(pixel_format: str, width: int, height: int, matrix: int, colour_range: int) -> Colours:
    """What a YCbCr video states, completed with what players assume."""
    full_range = pixel_format.startswith("yuvj") or colour_range == _FULL_RANGE
    if matrix in _MATRICES:
        return Colours(matrix, full_range, True)
    hd = width >= _HD_WIDTH or height >= _HD_HEIGHT
    return Colours(BT709 if hd and pixel_format not in PACKED else BT601, full_range, False)
