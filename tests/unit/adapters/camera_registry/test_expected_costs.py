"""What a camera is expected to cost that has not been measured."""

from __future__ import annotations

from typing import Any

import pytest

from elastic_inference.adapters.camera_registry.expected_costs import MAX_CAMERA_COST, ExpectedCosts
from elastic_inference.domain.camera import COST_ESTIMATE, CameraSpec, CameraState, CameraStatus


def _spec(name: str, **more: Any) -> CameraSpec:
    return CameraSpec.model_validate({"name": name, "url": "rtsp://10.0.0.7/1", **more})


def _live(cost: float, size: tuple[int, int] = (640, 480)) -> CameraStatus:
    return CameraStatus(CameraState.LIVE, fps=15.0, cost=cost, width=size[0], height=size[1])


def _costs(measured: list[float], *new: CameraSpec) -> dict[str, tuple[float, bool]]:
    """What these new cameras cost beside measured ones."""
    statuses = {f"old-{number}": _live(cost) for number, cost in enumerate(measured)}
    found = ExpectedCosts().note([*map(_spec, statuses), *new], statuses)
    return {each.name: found[each.name] for each in new}


def test_a_new_camera_costs_what_the_measured_ones_do() -> None:
    assert _costs([], _spec("new")) == {"new": (COST_ESTIMATE, False)}
    assert _costs([0.04, 0.042], _spec("new")) == {"new": (0.042, True)}
    cost, known = _costs([0.04], _spec("new"))["new"]
    assert known
    assert cost == pytest.approx((0.04 + COST_ESTIMATE) / 2), "a single one is not yet believed"


@pytest.mark.parametrize("wild", [1e-9, 1e15])
def test_a_strange_value_moves_it_little(wild: float) -> None:
    assert 0.03 < _costs([0.04, 0.04, 0.05, wild], _spec("new"))["new"][0] < 0.06
    assert COST_ESTIMATE / 16 <= _costs([wild] * 9, _spec("new"))["new"][0] <= 4 * COST_ESTIMATE
    found = ExpectedCosts().note([_spec("old")], {"old": _live(wild)})["old"][0]
    assert found <= MAX_CAMERA_COST


def test_those_of_the_same_kind_count_if_there_are_any() -> None:
    gated = [_spec(f"gated-{number}", gate="motion") for number in range(5)]
    plain = [_spec(f"plain-{number}") for number in range(5)]
    statuses = {spec.name: _live(0.01) for spec in gated} | {spec.name: _live(0.08) for spec in plain}
    new = [_spec("new", gate="motion"), _spec("other"), _spec("reduced", size="auto")]
    found = ExpectedCosts().note([*gated, *plain, *new], statuses)
    assert found["new"] == (0.01, True)
    assert found["other"] == (0.08, True)
    assert found["reduced"] == (0.08, True), "none is like it, so all count"


def test_more_and_larger_frames_cost_more() -> None:
    measured = [0.02] * 4
    assert _costs(measured, _spec("new", fps=30))["new"][0] == pytest.approx(0.04)
    assert _costs(measured, _spec("new", width=1280, height=960))["new"][0] == pytest.approx(0.08)
    assert _costs(measured, _spec("new", fps=1))["new"][0] == pytest.approx(0.02), "they may be decoded all the same"


def test_a_cost_that_was_measured_stays_while_nothing_newer_is_known() -> None:
    costs, gate = ExpectedCosts(), _spec("gate")
    assert costs.note([gate], {"gate": _live(0.3)})["gate"] == (0.3, True)
    # Another worker has just opened it; Redis has lost all statuses; it is paused.
    assert costs.note([gate], {"gate": _live(0.0)})["gate"] == (0.3, True)
    assert costs.note([gate], {})["gate"] == (0.3, True)
    assert costs.note([_spec("gate", enabled=False)], {})["gate"] == (0.3, True)
    assert costs.note([], {}) == {}
    assert costs.note([gate], {})["gate"] == (COST_ESTIMATE, False), "it was removed, and is new"


def test_a_camera_that_does_not_deliver_says_nothing_about_others() -> None:
    down = {f"down-{number}": CameraStatus(CameraState.RECONNECTING, cost=0.001) for number in range(9)}
    assert ExpectedCosts().note([*map(_spec, down), _spec("new")], down)["new"] == (COST_ESTIMATE, False)
