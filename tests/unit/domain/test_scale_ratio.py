"""What autoscalers read is always a number within bounds."""

from __future__ import annotations

import math

import pytest

from elastic_inference.domain.scale_ratio import MAX_SCALE_RATIO, scale_ratio

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("demand", "capacity", "ratio"),
    [
        (3.0, 2.0, 1.5),
        (0.0, 2.0, 0.0),
        (3.0, 0.0, 0.0),
        (-1.0, 2.0, 0.0),
        (3.0, -2.0, 0.0),
        (3.0, 1e-300, MAX_SCALE_RATIO),
        (1e300, 1e-300, MAX_SCALE_RATIO),
        (INF, 2.0, MAX_SCALE_RATIO),
        (INF, INF, MAX_SCALE_RATIO),
        (3.0, INF, 0.0),
        (NAN, 2.0, 0.0),
        (3.0, NAN, 0.0),
    ],
)
def test_the_ratio_is_finite_and_bounded(demand: float, capacity: float, ratio: float) -> None:
    assert scale_ratio(demand, capacity) == ratio
