"""The simulation compared with the scale-ins measured on a cluster (doc/elasticity)."""

import json

import pytest
from tests.elasticity.record import from_dict
from tests.elasticity.scenarios import default, further
from tests.elasticity.simulated import simulate_run
from tests.support.manifests import PROJECT

WINDOW_S = 60


@pytest.mark.parametrize("name", ["step-down", "all-gone", "shipped-windows"])
def test_a_scale_in_comes_at_the_measured_decision(name: str) -> None:
    run = from_dict(json.loads((PROJECT / "doc" / "elasticity" / f"{name}.json").read_text()))
    scenario = next(each for each in (*default(), *further()) if each.name == name)
    simulated = simulate_run(run, scenario, WINDOW_S)
    measured_s = run.reached_s()
    assert measured_s is not None
    # Decisions are 15 s apart.
    assert simulated["reached_s"] == pytest.approx(measured_s, abs=10)
    assert simulated["changes"] <= 2
