"""How a frame gets into a model's input, and boxes back onto the frame."""

from __future__ import annotations

import numpy as np
import pytest

from elastic_inference.flows.inference.adapters import PreparedModel, Resize, letterbox_of, preprocess


def prepared(width: int, height: int, resize: Resize = Resize.STRETCH, *, centred: bool = False) -> PreparedModel:
    return PreparedModel(None, "image", width, height, "BGR", resize, fill=114, centred=centred)


def marked(width: int, height: int) -> np.ndarray:
    """A dark frame with one bright block, 10 % to 30 % across and 50 % to 80 % down."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[round(height * 0.5) : round(height * 0.8), round(width * 0.1) : round(width * 0.3)] = 255
    return frame


def bright_box(image: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(image[0, :, :, 0] > 200)
    height, width = image.shape[1:3]
    return columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height


@pytest.mark.parametrize("frame_size", [(1280, 720), (176, 144), (300, 900), (416, 416), (640, 640)])
@pytest.mark.parametrize(
    ("resize", "centred"), [(Resize.STRETCH, False), (Resize.LETTERBOX, False), (Resize.LETTERBOX, True)]
)
def test_a_box_in_the_models_input_is_mapped_to_where_the_frame_shows_it(
    frame_size: tuple[int, int], resize: Resize, centred: bool
) -> None:
    model = prepared(416, 416, resize, centred=centred)
    frame = marked(*frame_size)
    image = preprocess(frame, model)
    assert image.shape == (1, 416, 416, 3)
    assert image.flags.c_contiguous
    box = letterbox_of(*frame_size, model).to_frame(np.array([bright_box(image)], np.float32))[0]
    assert box == pytest.approx((0.1, 0.5, 0.3, 0.8), abs=0.015)


def test_letterbox_fills_what_the_frame_does_not_cover() -> None:
    corner = preprocess(marked(400, 200), prepared(100, 100, Resize.LETTERBOX))
    assert (corner[0, 50:] == 114).all()
    assert (corner[0, :50] != 114).all()
    middle = preprocess(marked(400, 200), prepared(100, 100, Resize.LETTERBOX, centred=True))
    assert (middle[0, :25] == 114).all()
    assert (middle[0, 75:] == 114).all()
    assert (middle[0, 25:75] != 114).all()


def test_preprocess_writes_into_the_given_buffer_and_overwrites_all_of_it() -> None:
    model = prepared(64, 64, Resize.LETTERBOX, centred=True)
    buffer = np.full((1, 64, 64, 3), 7, np.uint8)
    assert preprocess(marked(128, 64), model, buffer) is buffer
    assert np.array_equal(buffer, preprocess(marked(128, 64), model))
    same = prepared(32, 16)
    target = np.zeros((1, 16, 32, 3), np.uint8)
    assert preprocess(marked(32, 16), same, target) is target
    assert np.array_equal(target[0], marked(32, 16))
