"""Boxes drawn on a JPEG: for viewers that can only show a picture, and for snapshots.

Called by the relay (plain websocket format) and the gateway (`snapshot.jpg`), in a worker thread: nothing here is
shared between calls. OpenCV and numpy (30 MB) are loaded at the first picture, so that a service that draws none
stays small. Knows no Redis and no socket.

The look is the dashboard's: a box of 2 px in its label's colour over a dark line of 4 px, thin under 0.5 of
confidence, and a plate such as `person 93` inside the frame, left out where the box is smaller than the plate.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from elastic_inference.errors import InvalidFrameError, InvalidReason
from elastic_inference.frame import DEFAULT_MAX_FRAME_PIXELS, jpeg_size
from elastic_inference.result import Detection, Result

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]

# The Okabe–Ito palette without black, as RGB: told apart by colour-blind eyes.
PALETTE_RGB: tuple[tuple[int, int, int], ...] = (
    (0xE6, 0x9F, 0x00),
    (0x56, 0xB4, 0xE9),
    (0x00, 0x9E, 0x73),
    (0xF0, 0xE4, 0x42),
    (0x00, 0x72, 0xB2),
    (0xD5, 0x5E, 0x00),
    (0xCC, 0x79, 0xA7),
)
_DARK_BGR = (0x16, 0x11, 0x0E)
_LIGHT_BGR = (0xFF, 0xFF, 0xFF)
# Rec. 709 luma over which dark text reads better than white on the plate.
_DARK_TEXT_LUMA = 110
_LABEL_LIMIT = 40
_BOX_LIMIT = 1000


def label_hash(label: str) -> int:
    """FNV-1a, 32 bits, over the label's UTF-8 bytes: the same number in every process and in the dashboard."""
    value = 0x811C9DC5
    for byte in label.encode("utf-8", "surrogatepass"):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def label_colour(label: str) -> tuple[int, int, int]:
    """The label's colour as RGB, 0..255: `PALETTE_RGB[label_hash(label) % 7]`. The dashboard must compute the same."""
    return PALETTE_RGB[label_hash(label) % len(PALETTE_RGB)]


def draw_result(result: Result, jpeg: bytes | memoryview, quality: int = 80) -> bytes:
    """`jpeg` with the result's boxes drawn in, as a new JPEG (4:2:0) of `quality` 1..100.

    Boxes are clipped to the picture; those with a NaN or without area are left out; at most 1000 are drawn. Raises
    InvalidFrameError when the picture can't be decoded or has more than 33 million pixels. Thread-safe.
    """
    import simplejpeg  # noqa: PLC0415  see the module's docstring

    width, height = jpeg_size(jpeg)
    if width * height > DEFAULT_MAX_FRAME_PIXELS:
        raise InvalidFrameError(
            InvalidReason.TOO_LARGE, f"{width}x{height}, at most {DEFAULT_MAX_FRAME_PIXELS} pixels are drawn on"
        )
    try:
        # Not strict: what a camera sends with a stray byte is still worth showing.
        picture: Picture = simplejpeg.decode_jpeg(jpeg, "BGR", strict=False)
    except (ValueError, OverflowError) as error:
        raise InvalidFrameError(InvalidReason.NOT_JPEG, f"the JPEG can't be decoded ({error})") from None
    draw_detections(picture, result.detections)
    encoded: bytes = simplejpeg.encode_jpeg(picture, quality=quality, colorspace="BGR", colorsubsampling="420")
    return encoded


def draw_detections(picture: Picture, detections: tuple[Detection, ...]) -> None:
    """Draws into `picture` (height x width x 3, uint8, BGR), in place; the most confident come out on top."""
    import cv2  # noqa: PLC0415  see the module's docstring

    height, width = picture.shape[:2]
    scale = max(1, round(min(width, height) / 1080))
    placed = [
        (found, corners)
        for found in sorted(detections, key=_confidence)[-_BOX_LIMIT:]
        if (corners := _pixels(found.box, width, height)) is not None
    ]
    for _, (left, top, right, bottom) in placed:
        cv2.rectangle(picture, (left, top), (right, bottom), _DARK_BGR, 4 * scale)
    for found, (left, top, right, bottom) in placed:
        thickness = 2 * scale if _confidence(found) >= 0.5 else scale
        cv2.rectangle(picture, (left, top), (right, bottom), label_colour(found.label)[::-1], thickness)
    stacked: dict[tuple[int, int, int, int], int] = {}
    for found, corners in reversed(placed):
        # Several classes of one whole frame share a box: their plates go under each other.
        row = stacked.get(corners, 0)
        if _draw_plate(picture, found, corners, scale=scale, row=row):
            stacked[corners] = row + 1


def _draw_plate(
    picture: Picture, found: Detection, corners: tuple[int, int, int, int], *, scale: int, row: int
) -> bool:
    import cv2  # noqa: PLC0415  see the module's docstring

    height, width = picture.shape[:2]
    left, top, right, bottom = corners
    text = plate_text(found)
    font, size, thickness = cv2.FONT_HERSHEY_SIMPLEX, 0.42 * scale, scale
    (text_width, text_height), base = cv2.getTextSize(text, font, size, thickness)
    plate_width, plate_height = text_width + 6 * scale, text_height + base + 4 * scale
    if plate_width > right - left or plate_height > bottom - top or plate_width > width or plate_height > height:
        return False
    x = min(max(left, 0), width - plate_width)
    above = top - plate_height
    y = (above if above >= 0 else top) + row * plate_height
    if y + plate_height > height:
        return False
    red, green, blue = label_colour(found.label)
    cv2.rectangle(picture, (x, y), (x + plate_width - 1, y + plate_height - 1), (blue, green, red), cv2.FILLED)
    dark_text = 0.2126 * red + 0.7152 * green + 0.0722 * blue > _DARK_TEXT_LUMA
    cv2.putText(
        picture,
        text,
        (x + 3 * scale, y + 2 * scale + text_height),
        font,
        size,
        _DARK_BGR if dark_text else _LIGHT_BGR,
        thickness,
        cv2.LINE_AA,
    )
    return True


def plate_text(found: Detection) -> str:
    """`person 93`: the label in one line of at most 40 characters and the confidence in percent."""
    label = "".join(character if character.isprintable() else "?" for character in found.label)
    if len(label) > _LABEL_LIMIT:
        label = label[: _LABEL_LIMIT - 1] + "…"
    percent = round(100 * min(max(_confidence(found), 0.0), 1.0))
    return f"{label} {percent}".strip()


def _confidence(found: Detection) -> float:
    return found.confidence if math.isfinite(found.confidence) else 0.0


def _pixels(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the box's outline in pixels within the picture; None for a NaN or no area."""
    if any(math.isnan(edge) for edge in box):
        return None
    x_min, y_min, x_max, y_max = (min(max(edge, 0.0), 1.0) for edge in box)
    if x_max <= x_min or y_max <= y_min:
        return None
    return (
        round(x_min * (width - 1)),
        round(y_min * (height - 1)),
        round(x_max * (width - 1)),
        round(y_max * (height - 1)),
    )
