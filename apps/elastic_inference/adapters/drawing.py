"""Boxes drawn on a JPEG: for viewers that can only show an image, and for snapshots.

Called by the relay in worker threads, so shared state is never changed. numpy and Pillow (for its text) are loaded with
the first frame: a websocket server that draws nothing stays small. OpenCV would take twice their memory. Uses neither
Redis nor sockets.

The look is the dashboard's: a box of 2 px in its label's colour over a dark line of 4 px, thinner below a confidence of
0.5, and a plate (text on a coloured background, such as `person 93`) inside the frame. A box smaller than its plate
gets none.
"""

from __future__ import annotations

import functools
import io
import math
from typing import TYPE_CHECKING

from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import jpeg_orientation, jpeg_size, without_stray_bytes
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_PIXELS
from elastic_inference.domain.jpeg_header import jpeg_header
from elastic_inference.domain.jpeg_memory import decoding_bytes
from elastic_inference.domain.result import Detection, Result

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import ImageFont

    # height x width x 3, BGR.
    Pixels = npt.NDArray[np.uint8]

# The Okabe–Ito palette without black, as RGB: colour-blind people can tell its colours apart.
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
# Pixels of the text, times the scale.
_TEXT_SIZE = 11
# 4K. Larger images are drawn at half their width and height, or less.
MAX_DRAWN_PIXELS = 3840 * 2160
# Besides the pixels: the new JPEG while it grows.
_ENCODED_BYTES_A_PIXEL = 2
_HEADER_BYTES = 8192
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


def draw_result(result: Result, jpeg: bytes | memoryview, quality: int = 80, budget: ByteBudget | None = None) -> bytes:
    """`jpeg` with the result's boxes drawn in, as a new JPEG (4:2:0) of `quality` 1..100.

    An image of more than MAX_DRAWN_PIXELS comes out at 1/2, 1/4 or 1/8 of its width and height. Waits while others hold
    the memory of `budget`, if given.

    Boxes are clipped to the image; those with a NaN or without area are left out; at most 1000 are drawn. Raises
    InvalidFrameError when the image cannot be decoded, has more than 33 million pixels, or takes more than the whole
    budget. Thread-safe.
    """
    width, height = jpeg_size(jpeg)
    if width * height > DEFAULT_MAX_FRAME_PIXELS:
        raise InvalidFrameError(
            InvalidReason.TOO_LARGE, f"{width}x{height}, at most {DEFAULT_MAX_FRAME_PIXELS} pixels are drawn on"
        )
    by = _divisor(width, height)
    drawn = -(-width // by), -(-height // by)
    # A rare image is kept by Pillow, and copied for its colours.
    copies = (1 if jpeg_orientation(jpeg) == 1 else 2) + 2 * _may_be_rare(jpeg)
    needed = decoding_bytes(jpeg, width, height) + drawn[0] * drawn[1] * (3 * copies + _ENCODED_BYTES_A_PIXEL)
    budget = budget or ByteBudget(needed)
    if not budget.fits(needed):
        raise InvalidFrameError(
            InvalidReason.TOO_LARGE,
            f"drawing takes {needed >> 20} MiB of memory, at most {budget.total >> 20} MiB are available",
        )
    budget.take(needed)
    try:
        return _draw(result, jpeg, quality, drawn if by > 1 else (0, 0))
    finally:
        budget.give_back(needed)


def _divisor(width: int, height: int) -> int:
    """The smallest of 1, 2, 4 and 8 that brings an image of this size (pixels) to MAX_DRAWN_PIXELS."""
    return next((by for by in (1, 2, 4) if -(-width // by) * -(-height // by) <= MAX_DRAWN_PIXELS), 8)


def _draw(result: Result, jpeg: bytes | memoryview, quality: int, minimum: tuple[int, int]) -> bytes:
    """`minimum` is the size (width, height) at which to decode, (0, 0) for that of the image."""
    import simplejpeg  # noqa: PLC0415  see the module's docstring

    from elastic_inference.adapters.decoded_image import upright  # noqa: PLC0415  it needs numpy

    try:
        # Not strict: an image with a stray byte is still worth showing.
        pixels: Pixels = simplejpeg.decode_jpeg(
            without_stray_bytes(jpeg), "BGR", min_width=minimum[0], min_height=minimum[1], strict=False
        )
    except (ValueError, OverflowError) as error:
        pixels = _decode_rare(jpeg, minimum, error)
    pixels = upright(pixels, jpeg_orientation(jpeg))
    draw_detections(pixels, result.detections)
    encoded: bytes = simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="BGR", colorsubsampling="420")
    return encoded


def _decode_rare(jpeg: bytes | memoryview, minimum: tuple[int, int], why: Exception) -> Pixels:
    """An image with a subsampling that has no name, which simplejpeg refuses."""
    import numpy as np  # noqa: PLC0415  see the module's docstring
    from PIL import Image  # noqa: PLC0415

    from elastic_inference.adapters.decoded_image import is_rare  # noqa: PLC0415

    try:
        if not is_rare(why):
            raise ValueError
        with Image.open(io.BytesIO(without_stray_bytes(jpeg)), formats=("JPEG",)) as image:
            if minimum[0]:
                image.draft("RGB", minimum)
            return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise InvalidFrameError(InvalidReason.NOT_JPEG, f"the JPEG cannot be decoded ({why})") from None


def _may_be_rare(jpeg: bytes | memoryview) -> bool:
    header = jpeg_header(bytes(jpeg[:_HEADER_BYTES]))
    return header is None or header.planes is None


def draw_detections(pixels: Pixels, detections: tuple[Detection, ...]) -> None:
    """Draws into `pixels` (height x width x 3, uint8, BGR), in place; the most confident come out on top."""
    height, width = pixels.shape[:2]
    scale = max(1, round(min(width, height) / 1080))
    # Loaded with the first frame, not with the first label: memory must not rise by 6 MB hours later.
    _font(scale)
    placed = [
        (found, corners)
        for found in sorted(detections, key=_confidence)[-_BOX_LIMIT:]
        if (corners := _pixels(found.box, width, height)) is not None
    ]
    for _, corners in placed:
        _draw_outline(pixels, corners, _DARK_BGR, 4 * scale)
    for found, corners in placed:
        thickness = 2 * scale if _confidence(found) >= 0.5 else scale
        _draw_outline(pixels, corners, label_colour(found.label)[::-1], thickness)
    stacked: dict[tuple[int, int, int, int], int] = {}
    for found, corners in reversed(placed):
        # Several classes of a whole frame share one box: their plates are stacked.
        row = stacked.get(corners, 0)
        if _draw_plate(pixels, found, corners, scale=scale, row=row):
            stacked[corners] = row + 1


def _draw_outline(
    pixels: Pixels, corners: tuple[int, int, int, int], bgr: tuple[int, int, int], thickness: int
) -> None:
    height, width = pixels.shape[:2]
    left, top, right, bottom = corners
    outward = thickness // 2
    inward = thickness - outward
    x_begin, x_end = max(left - outward, 0), min(right + inward, width)
    y_begin, y_end = max(top - outward, 0), min(bottom + inward, height)
    pixels[y_begin : top + inward, x_begin:x_end] = bgr
    pixels[max(bottom - outward, 0) : y_end, x_begin:x_end] = bgr
    pixels[y_begin:y_end, x_begin : left + inward] = bgr
    pixels[y_begin:y_end, max(right - outward, 0) : x_end] = bgr


def _draw_plate(pixels: Pixels, found: Detection, corners: tuple[int, int, int, int], *, scale: int, row: int) -> bool:
    height, width = pixels.shape[:2]
    left, top, right, bottom = corners
    red, green, blue = label_colour(found.label)
    dark_text = 0.2126 * red + 0.7152 * green + 0.0722 * blue > _DARK_TEXT_LUMA
    plate = _plate(plate_text(found), scale, (blue, green, red), _DARK_BGR if dark_text else _LIGHT_BGR)
    plate_height, plate_width = plate.shape[:2]
    if plate_width > right - left or plate_height > bottom - top or plate_width > width or plate_height > height:
        return False
    x = min(max(left, 0), width - plate_width)
    above = top - plate_height
    y = (above if above >= 0 else top) + row * plate_height
    if y + plate_height > height:
        return False
    pixels[y : y + plate_height, x : x + plate_width] = plate
    return True


@functools.lru_cache(maxsize=512)
def _plate(text: str, scale: int, back: tuple[int, int, int], front: tuple[int, int, int]) -> Pixels:
    """The text on its background (height x width x 3, BGR). Cached: labels and percentages repeat."""
    import numpy as np  # noqa: PLC0415  see the module's docstring
    from PIL import Image, ImageDraw  # noqa: PLC0415

    font = _font(scale)
    ascent, descent = font.getmetrics()
    size = (math.ceil(font.getlength(text)) + 6 * scale, ascent + descent + 2 * scale)
    cover = Image.new("L", size)
    ImageDraw.Draw(cover).text((3 * scale, scale), text, fill=255, font=font)
    share = np.asarray(cover, np.float32)[:, :, None] / 255
    mixed = np.array(back, np.float32) * (1 - share) + np.array(front, np.float32) * share
    plate: Pixels = np.rint(mixed).astype(np.uint8)
    return plate


@functools.cache
def _font(scale: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont  # noqa: PLC0415  see the module's docstring

    try:
        # Latin, Greek, Cyrillic and more. The container image has it, and so do most desktops.
        return ImageFont.truetype("DejaVuSans.ttf", _TEXT_SIZE * scale)
    except OSError:
        # Pillow's own font has ASCII only.
        return ImageFont.load_default(_TEXT_SIZE * scale)  # type: ignore[return-value]


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
    """Left, top, right, bottom of the box's outline in pixels of the image; None for a NaN or no area."""
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
