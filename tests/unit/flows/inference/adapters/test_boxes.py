"""Boxes that extend beyond the frame, are empty, or have no class name."""

from __future__ import annotations

import numpy as np
import pytest

from elastic_inference.flows.inference.adapters import Letterbox
from elastic_inference.flows.inference.adapters.boxes import detections

LABELS = ("", "person")


def test_boxes_are_clipped_to_the_frame_and_sorted() -> None:
    found = detections(
        LABELS,
        np.array([1, 1]),
        np.array([0.6, 0.9], np.float32),
        np.array([[-0.5, 0.2, 0.5, 1.7], [0.1, 0.1, 0.2, 0.2]], np.float32),
        Letterbox(),
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
def test_empty_boxes_and_boxes_outside_the_frame_are_left_out(box: tuple[float, ...]) -> None:
    assert (
        detections(LABELS, np.array([1]), np.array([0.9], np.float32), np.array([box], np.float32), Letterbox()) == []
    )


def test_a_class_without_a_name_shows_its_number() -> None:
    found = detections(
        LABELS,
        np.array([0, 1, 7, -1]),
        np.array([0.9, 0.8, 0.7, 0.6], np.float32),
        np.tile(np.array([0.1, 0.1, 0.2, 0.2], np.float32), (4, 1)),
        Letterbox(),
    )
    assert [(one.label, one.label_id) for one in found] == [("0", 0), ("person", 1), ("7", 7), ("-1", -1)]
