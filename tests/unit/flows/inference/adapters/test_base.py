"""Where a frame lies in a model's input, and what becomes of boxes at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from elastic_inference.flows.inference.adapters.base import Placement, PreparedModel, Resize, detections, fit, place

LABELS = ("", "person")


def prepared(width: int, height: int, resize: Resize = Resize.STRETCH, *, centred: bool = False) -> PreparedModel:
    return PreparedModel(None, "picture", width, height, "BGR", resize, fill=114, centred=centred)


def marked(width: int, height: int) -> np.ndarray:
    """A dark frame with one bright block, 10 % to 30 % across and 50 % to 80 % down."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[round(height * 0.5) : round(height * 0.8), round(width * 0.1) : round(width * 0.3)] = 255
    return frame


def bright_box(picture: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(picture[0, :, :, 0] > 200)
    height, width = picture.shape[1:3]
    return columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height


@pytest.mark.parametrize("frame_size", [(1280, 720), (176, 144), (300, 900), (416, 416), (640, 640)])
@pytest.mark.parametrize(
    ("resize", "centred"), [(Resize.STRETCH, False), (Resize.LETTERBOX, False), (Resize.LETTERBOX, True)]
)
def test_a_box_in_the_models_picture_is_placed_where_the_frame_shows_it(
    frame_size: tuple[int, int], resize: Resize, centred: bool
) -> None:
    model = prepared(416, 416, resize, centred=centred)
    frame = marked(*frame_size)
    picture = fit(frame, model)
    assert picture.shape == (1, 416, 416, 3)
    assert picture.flags.c_contiguous
    box = place(*frame_size, model).to_frame(np.array([bright_box(picture)], np.float32))[0]
    assert box == pytest.approx((0.1, 0.5, 0.3, 0.8), abs=0.015)


def test_letterbox_fills_what_the_frame_does_not_cover() -> None:
    corner = fit(marked(400, 200), prepared(100, 100, Resize.LETTERBOX))
    assert (corner[0, 50:] == 114).all()
    assert (corner[0, :50] != 114).all()
    middle = fit(marked(400, 200), prepared(100, 100, Resize.LETTERBOX, centred=True))
    assert (middle[0, :25] == 114).all()
    assert (middle[0, 75:] == 114).all()
    assert (middle[0, 25:75] != 114).all()


def test_fit_writes_into_the_buffer_given_and_clears_what_was_there() -> None:
    model = prepared(64, 64, Resize.LETTERBOX, centred=True)
    buffer = np.full((1, 64, 64, 3), 7, np.uint8)
    assert fit(marked(128, 64), model, buffer) is buffer
    assert np.array_equal(buffer, fit(marked(128, 64), model))
    same = prepared(32, 16)
    target = np.zeros((1, 16, 32, 3), np.uint8)
    assert fit(marked(32, 16), same, target) is target
    assert np.array_equal(target[0], marked(32, 16))


def test_boxes_are_cut_to_the_frame_and_sorted() -> None:
    found = detections(
        LABELS,
        np.array([1, 1]),
        np.array([0.6, 0.9], np.float32),
        np.array([[-0.5, 0.2, 0.5, 1.7], [0.1, 0.1, 0.2, 0.2]], np.float32),
        Placement(),
    )
    assert [one.confidence for one in found] == pytest.approx([0.9, 0.6])
    assert found[1].box == pytest.approx((0.0, 0.2, 0.5, 1.0))
    assert all(isinstance(edge, float) for one in found for edge in one.box)


@pytest.mark.parametrize(
    "box",
    [
        (np.nan, 0.1, 0.5, 0.5),
        (0.1, 0.1, np.inf, 0.5),
        (0.5, 0.5, 0.5, 0.9),
        (0.6, 0.1, 0.2, 0.5),
        (1.2, 0.1, 1.9, 0.5),
        (0.1, -0.9, 0.5, -0.1),
    ],
)
def test_boxes_that_are_nowhere_in_the_frame_are_left_out(box: tuple[float, ...]) -> None:
    assert (
        detections(LABELS, np.array([1]), np.array([0.9], np.float32), np.array([box], np.float32), Placement()) == []
    )


def test_a_class_without_a_name_shows_its_number() -> None:
    found = detections(
        LABELS,
        np.array([0, 1, 7, -1]),
        np.array([0.9, 0.8, 0.7, 0.6], np.float32),
        np.tile(np.array([0.1, 0.1, 0.2, 0.2], np.float32), (4, 1)),
        Placement(),
    )
    assert [(one.label, one.label_id) for one in found] == [("0", 0), ("person", 1), ("7", 7), ("-1", -1)]
