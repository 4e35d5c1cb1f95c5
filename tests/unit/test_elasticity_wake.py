"""How `from-zero-push` notes and judges the moments in which a type without pods wakes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.elasticity.judge import line, problems_of, wakes
from tests.elasticity.record import Run, Sample, Wake, from_dict
from tests.elasticity.report import wakes as table
from tests.elasticity.scenarios import Scenario, default
from tests.elasticity.simulated import simulate_run
from tests.elasticity.wake import Notes, Watch
from tests.support.waiting import wait_for

PUSHED = Wake(30.1, 30.4, 30.6, 44.6, 45.2)


def scenario(name: str = "from-zero-push") -> Scenario:
    return next(each for each in default() if each.name == name)


def woken(wake: Wake | None, name: str = "from-zero-push") -> Run:
    """A run in which the pod comes and goes as it should, with these moments."""
    chosen = scenario(name)
    found = Run(name, chosen.autoscaler, 30.0, 14.0, chosen.changed_s, chosen.expected, wake=wake)
    for at_s in range(int(chosen.length_s)):
        wanted, ready = int(31 <= at_s < 190), int(46 <= at_s < 190)
        found.samples.append(
            Sample(float(at_s), chosen.demand(at_s) * 30.0, ready * 30.0, 0.5, None, wanted, ready, 0.0)
        )
    return found


def pod(name: str, *, ready: bool = False, ending: bool = False) -> dict[str, Any]:
    about = {"name": name, **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if ending else {})}
    return {"metadata": about, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def test_only_the_first_time_of_each_event_counts() -> None:
    notes = Notes()
    notes.pod(pod("earlier", ready=True, ending=True), 1.0)
    for at_s, replicas in ((1.0, 0), (30.4, 1), (90.0, 2)):
        notes.deployment({"spec": {"replicas": replicas}}, at_s)
    for at_s, ready in ((30.6, False), (40.0, False), (44.6, True), (50.0, True)):
        notes.pod(pod("one", ready=ready), at_s)
    notes.pod({"metadata": {"name": "two"}}, 90.2)
    notes.pod(pod("two", ready=True), 95.0)
    found = notes.wake(30.1, 45.2)
    assert found == PUSHED
    assert found.start_s() == pytest.approx(14.0)
    assert found.after_frame_s(found.result_s) == pytest.approx(15.1)
    assert Notes().wake(30.1, None) == Wake(30.1, None, None, None, None)


def test_a_watch_notes_events_and_survives_a_broken_connection() -> None:
    begun = threading.Event()

    def deployments() -> Iterator[Any]:
        if not begun.is_set():
            begun.set()
            raise OSError("the connection broke")
        yield {"type": "ERROR", "object": {"code": 410}}
        yield {"type": "MODIFIED", "object": {"spec": {"replicas": 1}}}

    watch = Watch(deployments, lambda: iter([{"type": "ADDED", "object": pod("one", ready=True)}]), time.monotonic())
    wait_for(lambda: watch.notes.asked_s is not None and "one" in watch.notes.ready_s, 30, "both events")
    watch.stop()
    assert watch.notes.asked_s is not None
    assert 0 < watch.notes.asked_s < 30


def test_the_first_result_may_take_a_pods_start_and_three_seconds() -> None:
    assert problems_of(woken(PUSHED), scenario(), 60) == []
    late = Wake(30.1, 33.0, 33.2, 44.6, 45.2)
    (problem,) = problems_of(woken(late), scenario(), 60)
    assert "first result 15.1 s (of that, the pod's own start 11.4 s): expected a pod's start and 3 s" in problem
    for unknown in (None, Wake(30.1, 30.4, None, None, None), Wake(30.1, 30.4, 30.6, 44.6, None)):
        assert len(problems_of(woken(unknown), scenario(), 60)) == 1
    assert problems_of(woken(late, "from-zero"), scenario("from-zero"), 60) == [], "KEDA polls"


def test_both_ways_from_zero_stand_beside_each_other() -> None:
    runs = [woken(Wake(30.1, 33.0, 33.2, 47.2, 47.9), "from-zero"), woken(PUSHED)]
    text = "after the first frame: asked for a pod 0.3 s, pod created 0.5 s, Ready 14.5 s, first result 15.1 s"
    assert text in line(runs[1], scenario())
    assert [each.partition(" ")[0] for each in wakes(runs)] == ["from-zero", "from-zero-push"]
    assert "| from-zero-push | keda-push | 0.3 s | 0.5 s | 14.5 s | 15.1 s | 14.0 s |" in table(runs)
    again = from_dict(json.loads(json.dumps(runs[1].as_dict())))
    assert again.wake == PUSHED


def test_the_simulated_push_does_not_wait_for_a_poll() -> None:
    chosen, runs = scenario(), [woken(PUSHED)]
    simulated = simulate_run(runs[0], chosen, 60)
    assert simulated["changes"] == 2
    assert simulated["reached_s"] == pytest.approx(68, abs=20)
    polled = simulate_run(woken(PUSHED, "from-zero"), scenario("from-zero"), 60)
    assert simulated["dropped_part"] < polled["dropped_part"], "its pod starts earlier"
