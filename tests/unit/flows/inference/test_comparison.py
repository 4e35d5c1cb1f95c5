"""When two models agree, and when the new one has failed."""

from __future__ import annotations

import pytest

from elastic_inference.domain.model_wish import ModelFailure, TrialLimits
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.comparison import (
    AGREED_OBJECTS,
    FAILED_FRAMES,
    TIMED_FRAMES,
    Comparison,
    ModelFailedError,
    overlap,
    shared,
)


def found(*lefts: float, label: str = "face", confidence: float = 0.9) -> list[Detection]:
    """Objects of a tenth of the frame, with their left edges there."""
    return [Detection(label, 1, confidence, (left, 0.2, left + 0.1, 0.3)) for left in lefts]


def reason(comparison: Comparison, running_s: float | None = None) -> ModelFailure | None:
    """Why the other model has failed; None if it has not."""
    try:
        comparison.check(running_s)
    except ModelFailedError as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    ("other", "count"),
    [
        (found(0.1, 0.5), 2),
        (found(0.12, 0.9), 1),  # an overlap of two thirds
        (found(0.16), 0),  # a quarter
        (found(0.1, label="car"), 0),
        (found(0.1, 0.11), 1),  # each detection once
        ([], 0),
    ],
)
def test_label_and_box_must_agree(other: list[Detection], count: int) -> None:
    assert shared(found(0.1, 0.5), other) == count
    assert shared(other, found(0.1, 0.5)) == count


def test_boxes_without_size_overlap_by_nothing() -> None:
    assert overlap((0.1, 0.1, 0.1, 0.1), (0.1, 0.1, 0.1, 0.1)) == 0


def test_figures_are_means_over_detections() -> None:
    comparison = Comparison(TrialLimits())
    assert comparison.figures(0.01).agreement is None
    comparison.add(found(0.1, 0.5), found(0.1, confidence=0.5), 0.004)
    comparison.add([], [], 0.002)
    figures = comparison.figures(0.01)
    assert (figures.frames, figures.agreement) == (2, pytest.approx(2 / 3))
    assert (figures.confidence, figures.canary_confidence) == (pytest.approx(0.9), pytest.approx(0.5))
    assert (figures.frame_s, figures.canary_frame_s) == (0.01, pytest.approx(0.003))
    assert reason(comparison, 0.01) is None


def test_a_model_that_finds_nothing_where_the_running_one_finds_many_has_failed() -> None:
    comparison = Comparison(TrialLimits())
    for _ in range(2):
        comparison.add(found(0.1, 0.3, 0.5), [], 0.01)
    assert reason(comparison) is None, "two frames prove nothing"
    comparison.add(found(0.1), [], 0.01)
    assert reason(comparison) is ModelFailure.NOTHING_FOUND
    comparison.add(found(0.1), found(0.1), 0.01)
    assert reason(comparison) is None


def test_too_little_agreement_is_a_failure_if_it_was_asked_for() -> None:
    for least, expected in ((0.0, None), (0.4, None), (0.6, ModelFailure.DISAGREES)):
        comparison = Comparison(TrialLimits(min_agreement=least))
        for _ in range(AGREED_OBJECTS // 4):
            comparison.add(found(0.1, 0.3), found(0.1, 0.6), 0.01)
        assert reason(comparison) is expected


def test_a_model_that_takes_too_long_has_failed_if_times_are_known() -> None:
    comparison = Comparison(TrialLimits(max_time_factor=2))
    for _ in range(TIMED_FRAMES - 1):
        comparison.add([], [], 0.05)
    assert reason(comparison, 0.02) is None, "too few frames"
    comparison.add([], [], 0.05)
    assert reason(comparison, 0.02) is ModelFailure.SLOW
    assert reason(comparison, 0.03) is None
    assert reason(comparison, None) is None


def test_some_frames_may_fail_but_not_many() -> None:
    comparison = Comparison(TrialLimits())
    for _ in range(FAILED_FRAMES):
        comparison.add_failed()
    assert reason(comparison) is ModelFailure.FRAMES
    for _ in range(10 * FAILED_FRAMES):
        comparison.add([], [], 0.01)
    assert reason(comparison) is None
