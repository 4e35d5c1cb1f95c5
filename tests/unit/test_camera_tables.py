"""The tables of the benchmark of cameras."""

from __future__ import annotations

import pytest
from tests.bench.camera_tables import cameras_per_core, tables
from tests.bench.record import Figure


def figure(name: str, **parts: float) -> Figure:
    return Figure("cameras", f"{name}: CPU for one frame", sum(parts.values()), "ms", details={**parts, "inferred": 1})


def test_both_tables_show_what_was_measured() -> None:
    found = tables(
        [
            figure("1080p, auto", source=9.5, redis=0.5, pod=10.0),
            figure("1080p, before", source=17.0, redis=0.5, pod=8.0),
            Figure("cameras", "1080p: decoding alone, CPU for one frame", 7.0, "ms"),
        ]
    )

    assert "| 1080p, auto | 9.50 | 0.50 | 10.00 | 20.00 | 0 | 100% |" in found
    assert "| 1080p, auto | 10.0 | 5.0 | 3.3 |" in found
    assert "decoding" not in found


def test_without_the_part_there_is_no_table() -> None:
    assert tables([Figure("pod", "face", 0.9)]) == ""


@pytest.mark.parametrize(("fps", "cameras"), [(5, "53"), (15, "53")])
def test_a_gated_camera_costs_the_same_at_any_rate(fps: float, cameras: str) -> None:
    assert cameras_per_core(1.25, fps, gated=True) == cameras
