"""What is known about an open source. Every kind of source fills it in; `probe` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

# The transport of still images, which are fetched at the rate for which the source was opened.
POLLED = "HTTP, polled"
# The pixels of PAL and NTSC, 8:9 to 12:11, hardly show.
_NEARLY_SQUARE = 0.12


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """The facts; None for those that the source does not state, or that are not known yet."""

    transport: str | None = None
    container: str | None = None
    codec: str | None = None
    profile: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    pixel_format: str | None = None
    colours: str | None = None
    hdr: str | None = None
    squeezed: str | None = None  # what to do if its pixels are not square
    key_frame_s: float | None = None
    interlaced: bool | None = None


def squeezed(width: int, height: int, pixel: Fraction | None) -> str | None:
    """What is wrong, and what to set, where `pixel`, a pixel's width by its height, is far from 1. Else None.

    Analog cameras send half or three quarters of the columns, and state how wide a pixel is.
    """
    if not pixel or not width or abs(pixel - 1) < _NEARLY_SQUARE:
        return None
    # The longer side of a pixel counts, so that nothing is lost.
    true = (round(width * pixel), height) if pixel > 1 else (width, round(height / pixel))
    return (
        f"has pixels that are not square ({pixel.numerator}:{pixel.denominator}), so its images look squeezed: "
        f"set width {true[0]} and height {true[1]} (FRAME_WIDTH, FRAME_HEIGHT) to show and infer them as they are"
    )
