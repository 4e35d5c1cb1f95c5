"""How `model-switch` is judged, and the manifests of its pods."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from tests.elasticity.cluster import MODEL, TYPE, deployment_of
from tests.elasticity.judge import line, problems_of
from tests.elasticity.model_switch import FAILS, gap_before_s, switches, with_models
from tests.elasticity.record import Models, Run, Sample, from_dict
from tests.elasticity.report import model_switches
from tests.elasticity.scenarios import Scenario, default
from tests.support.manifests import made, name_of, restricted_problems, valid

NAMES = {"before": "blazeface", "after": "blazeface-ir"}


def scenario() -> Scenario:
    return next(each for each in default() if each.name == "model-switch")


def model_at(pod: int, at_s: int) -> str:
    """The second pod switches some seconds later."""
    return NAMES["after"] if 75 + 6 * pod <= at_s < 170 + 6 * pod else NAMES["before"]


def failure_at(at_s: int) -> str | None:
    return "load" if 210 <= at_s < 235 else "missing" if at_s >= 238 else None


def good() -> Run:
    """A run without a fault."""
    chosen = scenario()
    found = Run(chosen.name, chosen.autoscaler, 30.0, 0.0, chosen.changed_s, chosen.expected)
    for at_s in range(int(chosen.length_s)):
        found.samples.append(Sample(float(at_s), chosen.demand(at_s) * 30, 60.0, 0.55, 0.55, 2, 2, 0.0))
        running = {f"pod-{number}": model_at(number, at_s) for number in range(2)}
        found.models.append(Models(float(at_s), running, failure_at(at_s)))
        found.gaps[at_s] = 2.0 if at_s < 5 else 0.9 if at_s == 82 else 0.4
    return found


def test_a_run_in_which_every_switch_is_right_has_no_problem() -> None:
    run = good()
    assert problems_of(run, scenario(), 60) == []
    found = switches(run, scenario().disturb)
    assert [(each.what, each.done_s, each.others) for each in found] == [
        ("blazeface-ir", 21.0, ()),
        ("reset", 26.0, ()),
        ("broken", 10.0, ()),
        ("no-such-model", 3.0, ()),
    ]
    assert (gap_before_s(run, scenario().disturb), found[0].gap_s, found[1].gap_s) == (0.4, 0.9, 0.4)
    assert "blazeface-ir at 60 s: done after 21 s, largest gap 0.90 s; reset at 150 s" in line(run, scenario())
    assert "| broken | 200 s | 10 s | 0.40 s | 0.40 s |" in model_switches([run])
    assert from_dict(json.loads(json.dumps(run.as_dict()))) == run


def test_a_late_switch_and_a_failure_that_nobody_is_told_are_missed_bars() -> None:
    run = good()
    run.models = [
        dataclasses.replace(each, failure=None, running={**each.running, "pod-1": NAMES["before"]})
        for each in run.models
    ]
    found = problems_of(run, scenario(), 60)
    assert len(found) == 3
    assert "blazeface-ir at 60 s: done never" in found[0]
    assert "expected that its failure was known after 60 s at most" in found[1]


def test_a_pod_that_runs_what_nobody_asked_for_is_a_missed_bar() -> None:
    run = good()
    run.models[220] = Models(220.0, {"pod-0": "broken", "pod-1": "blazeface"}, "load")
    assert "pods ran broken too" in problems_of(run, scenario(), 60)[0]
    run = good()
    run.models[120] = Models(120.0, {"pod-0": "blazeface", "pod-1": "blazeface-ir"})
    assert "pods ran blazeface too" in problems_of(run, scenario(), 60)[0], "it had switched, and went back"


@pytest.mark.parametrize(("gap_s", "problems"), [(1.4, 0), (1.5, 1)])
def test_a_gap_at_a_switch_may_be_a_second_longer_than_before(gap_s: float, problems: int) -> None:
    run = good()
    run.gaps[78] = gap_s
    found = problems_of(run, scenario(), 60)
    assert len(found) == problems
    assert all("expected at most 1 s more than the 0.40 s before" in each for each in found)


def test_disorder_and_a_pool_that_changes_are_missed_bars() -> None:
    run = good()
    run.disordered = 3
    assert "3 results were not in their stream's order" in problems_of(run, scenario(), 60)[0]
    run = good()
    for each in run.samples[85:]:
        each.replicas = each.ready = 3
    assert "the pool changed with a model: [(85.0, 2, 3)]" in "; ".join(problems_of(run, scenario(), 60))


def test_pods_with_several_models_keep_all_rules_of_a_platform_team(tmp_path: Path) -> None:
    documents = made(tmp_path, "-t", "face", "-m", MODEL)
    changed = [dict(each) for each in with_models(documents, MODEL)]
    assert valid(changed) == []
    for before, after in zip(documents, changed, strict=True):
        if name_of(before) != f"Deployment/{deployment_of(TYPE)}":
            assert before == after
            continue
        pod = after["spec"]["template"]
        assert restricted_problems(pod) == []
        settings = {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}
        assert (settings["INFER_MODEL_PATH"], settings["INFER_MODEL_NAME"]) == ("/models", "blazeface")
        assert pod["spec"]["initContainers"][0]["command"][-2:] == [MODEL, "/models"]
        assert before["spec"]["template"] != pod
    assert set(FAILS) == {"broken", "no-such-model"}
