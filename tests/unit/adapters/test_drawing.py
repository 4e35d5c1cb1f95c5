"""Drawing: colours match the dashboard, boxes are in the right place, and odd input does no harm."""

from __future__ import annotations

import math

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.results import make_result

from elastic_inference.adapters import drawing
from elastic_inference.adapters.drawing import (
    MAX_DRAWN_PIXELS,
    PALETTE_RGB,
    draw_detections,
    draw_result,
    label_colour,
    label_hash,
    plate_text,
)
from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import jpeg_size
from elastic_inference.domain.result import Detection, Result


def with_boxes(*detections: Detection) -> Result:
    return make_result(detections=detections)


def detection(label: str = "person", confidence: float = 0.93, box: tuple[float, ...] = (0.25, 0.25, 0.75, 0.75)):
    return Detection(label, 1, confidence, box)  # type: ignore[arg-type]


def grey_jpeg(width: int = 320, height: int = 240) -> bytes:
    return simplejpeg.encode_jpeg(np.full((height, width, 3), 128, np.uint8), quality=90, colorspace="BGR")


def test_hash_is_fnv_1a_32() -> None:
    # Published test vectors of FNV-1a, 32 bits.
    assert label_hash("") == 0x811C9DC5
    assert label_hash("a") == 0xE40C292C
    assert label_hash("foobar") == 0xBF9CF968
    assert label_colour("person") == PALETTE_RGB[label_hash("person") % 7]


def test_box_is_drawn_in_its_labels_colour_over_a_dark_line() -> None:
    pixels = np.full((240, 320, 3), 128, np.uint8)
    draw_detections(pixels, (detection(),))
    left, middle = round(0.25 * 319), 120
    assert tuple(pixels[middle, left][::-1]) == label_colour("person")
    dark = pixels[middle, left - 4 : left + 5].sum(axis=1) < 120
    assert dark.any(), "no dark line beside the coloured one"
    assert (pixels[middle, 160] == 128).all(), "the inside of the box must stay as it was"
    assert (pixels[middle, 20] == 128).all(), "the outside of the box must stay as it was"


def test_drawn_jpeg_keeps_its_size_and_changes_only_with_detections() -> None:
    jpeg = grey_jpeg()
    drawn = simplejpeg.decode_jpeg(draw_result(with_boxes(detection()), jpeg), "RGB")
    plain = simplejpeg.decode_jpeg(draw_result(with_boxes(), jpeg), "RGB")
    assert drawn.shape == plain.shape == (240, 320, 3)
    assert np.abs(plain.astype(int) - 128).max() < 8
    assert np.abs(drawn.astype(int) - plain).max() > 60


@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 1.0, 0.5), (0.5, 0.0, 1.0, 1.0), (-1.0, -1.0, 2.0, 2.0), (0.0, 0.6, 0.4, 1.0)]
)
def test_plate_stays_inside_the_frame(box: tuple[float, float, float, float]) -> None:
    """The plate is complete: it has as many plate-coloured pixels as one with space on all sides."""

    def coloured(where: tuple[float, float, float, float]) -> int:
        pixels = np.full((240, 320, 3), 128, np.uint8)
        draw_detections(pixels, (detection(box=where),))
        same = (pixels[:, :, ::-1] == np.array(label_colour("person"), np.uint8)).all(axis=2)
        return int(same.sum(axis=1).max())

    # The densest row of the colour is the plate's or the box's own edge: never less than a plate of the text's width.
    assert coloured(box) >= 40


def test_the_first_frame_loads_the_font_whether_something_was_found_or_not() -> None:
    drawing._font.cache_clear()
    drawing.draw_detections(np.zeros((90, 160, 3), np.uint8), ())
    assert drawing._font.cache_info().currsize == 1


def test_small_box_has_no_plate() -> None:
    pixels = np.full((240, 320, 3), 128, np.uint8)
    draw_detections(pixels, (detection(box=(0.5, 0.5, 0.55, 0.55)),))
    changed = np.argwhere((pixels != 128).any(axis=2))
    assert changed.min(axis=0)[0] >= 0.5 * 239 - 4
    assert changed.max(axis=0)[1] <= 0.55 * 319 + 4


def test_plate_text() -> None:
    assert plate_text(detection(confidence=0.934)) == "person 93"
    assert plate_text(detection(confidence=math.nan)) == "person 0"
    assert plate_text(detection(confidence=7.0)) == "person 100"
    assert plate_text(detection(label="")) == "93"
    assert plate_text(detection(label="a\nb\x00")) == "a?b? 93"
    assert len(plate_text(detection(label="x" * 10_000))) <= 44


def test_five_hundred_boxes() -> None:
    boxes = tuple(
        detection(label=f"class {i}", box=(i / 600, (i % 20) / 25, i / 600 + 0.1, (i % 20) / 25 + 0.15))
        for i in range(500)
    )
    assert draw_result(with_boxes(*boxes), grey_jpeg())[:2] == b"\xff\xd8"


edges = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(-0.2, 1.2))
detections = st.builds(
    Detection,
    label=st.text(max_size=50),
    label_id=st.integers(),
    confidence=st.floats(allow_nan=True, allow_infinity=True),
    box=st.tuples(edges, edges, edges, edges),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(detections, max_size=8), st.sampled_from([(320, 240), (1, 1), (16, 16), (3, 200)]))
def test_any_detections_give_an_image(found: list[Detection], size: tuple[int, int]) -> None:
    drawn = draw_result(with_boxes(*found), grey_jpeg(*size))
    assert simplejpeg.decode_jpeg(drawn, "RGB").shape == (size[1], size[0], 3)


@pytest.mark.parametrize("jpeg", [b"", b"not a jpeg", grey_jpeg()[:20], b"\xff\xd8\xff\xd9", b"\xff\xd8" + bytes(500)])
def test_undecodable_image_is_an_invalid_frame(jpeg: bytes) -> None:
    with pytest.raises(InvalidFrameError):
        draw_result(with_boxes(detection()), jpeg)


def test_header_without_an_image_is_an_invalid_frame() -> None:
    jpeg = grey_jpeg()
    scan = jpeg.index(b"\xff\xda")
    with pytest.raises(InvalidFrameError):
        draw_result(with_boxes(detection()), jpeg[:scan])


def test_an_image_on_its_side_is_drawn_upright() -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :20] = 255  # the left quarter is white: turned clockwise it is at the top
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    plain = simplejpeg.encode_jpeg(pixels, 95, colorspace="BGR")
    data = plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:]
    drawn = simplejpeg.decode_jpeg(draw_result(make_result(detections=()), data), "GRAY")[:, :, 0]
    assert drawn.shape == (80, 40)
    assert drawn[:18].mean() > 240
    assert drawn[22:].mean() < 15


def test_a_very_large_image_comes_out_at_half_its_size_with_the_boxes_in_place() -> None:
    width, height = 4200, 2801
    data = simplejpeg.encode_jpeg(np.full((height, width, 3), 128, np.uint8), quality=50, colorspace="BGR")
    assert width * height > MAX_DRAWN_PIXELS
    drawn = draw_result(with_boxes(detection()), data)
    assert jpeg_size(drawn) == (2100, 1401), "the JPEG says how large it is"
    pixels = simplejpeg.decode_jpeg(drawn, "RGB").astype(int)
    changed = np.abs(pixels - 128).max(axis=2) > 40
    columns, rows = np.flatnonzero(changed[700]), np.flatnonzero(changed[:, 1050])
    assert (columns[0], columns[-1]) == (pytest.approx(525, abs=4), pytest.approx(1574, abs=4))
    assert (rows[-1]) == pytest.approx(1050, abs=4)


def test_drawing_keeps_to_its_budget_of_memory() -> None:
    needed = 320 * 256 + 320 * 240 * (3 + 2)
    budget = ByteBudget(needed)
    assert draw_result(with_boxes(), grey_jpeg(), budget=budget)[:2] == b"\xff\xd8"
    assert budget.used == 0
    with pytest.raises(InvalidFrameError, match="MiB of memory") as raised:
        draw_result(with_boxes(), grey_jpeg(), budget=ByteBudget(needed - 1))
    assert raised.value.reason is InvalidReason.TOO_LARGE
    with pytest.raises(InvalidFrameError):
        draw_result(with_boxes(), grey_jpeg()[:300], budget=budget)
    assert budget.used == 0
