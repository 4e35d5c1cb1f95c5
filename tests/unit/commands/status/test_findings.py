"""From facts to the first broken link."""

import dataclasses

import pytest

from elastic_inference.commands.status.findings import (
    ChainLink,
    EventState,
    IdleSink,
    Observations,
    PoolCamera,
    ProducerState,
    State,
    find,
    first_broken,
)


def healthy() -> Observations:
    return Observations(
        queue_address="redis://q:6379/0",
        producers=[ProducerState("gate-1", "people", "live")],
        waiting={"people": 1},
        workers={"people": 2},
        inferred={"gate-1:people:inferred": "people"},
        relay_address="ws://relay:31611",
        gateway_address="http://gateway:31002",
        video_stream="gate-1:people:inferred",
        janitor_runs=True,
        events=EventState(16, workers=2, unowned=0, lag_s=0.2),
    )


def test_a_healthy_system_has_no_broken_link() -> None:
    findings = find(healthy())
    assert [finding.link for finding in findings] == [link for link in ChainLink if link is not ChainLink.SCALING]
    assert {finding.state for finding in findings} == {State.GOOD}
    assert first_broken(findings) is None


@pytest.mark.parametrize(
    ("change", "link", "text", "advice"),
    [
        ({"producers": [], "waiting": {}}, ChainLink.CAMERA, "no producer pushes", "run-css.sh"),
        (
            {"producers": [ProducerState("gate-1", "people", "stalled")]},
            ChainLink.CAMERA,
            "gate-1 is stalled",
            "camera's power",
        ),
        (
            {"idle_cameras": [PoolCamera("gate-2", "unassigned", "No worker has room.")]},
            ChainLink.CAMERA,
            "gate-2 is unassigned (No worker has room.)",
            "app=ei-camera-pool-app",
        ),
        ({"queue_error": "refused"}, ChainLink.QUEUE, "refused", "run-redis.sh"),
        ({"queue_error": "no", "queue_login_refused": True}, ChainLink.QUEUE, "no", "QUEUE_PASSWORD"),
        ({"workers": {}}, ChainLink.WORKER, "no pod serves people", "run-ois.sh -t people"),
        ({"workers": {"face": 1}}, ChainLink.WORKER, "running: face 1", "ei-infer-people-app"),
        ({"broker_error": "refused"}, ChainLink.BROKER, "refused", "BROKER_URL"),
        ({"inferred": {}}, ChainLink.BROKER, "no stream has a result", "pod's log"),
        ({"relay_error": "refused"}, ChainLink.RELAY, "refused", "run-wss.sh"),
        ({"gateway_error": "refused"}, ChainLink.GATEWAY, "refused", "run-gws.sh"),
        ({"video_error": "no frame within 5 s"}, ChainLink.GATEWAY, "does not come through", "logs"),
        ({"janitor_runs": False}, ChainLink.HOUSEKEEPING, "no janitor runs", "run-hks.sh"),
        ({"events": EventState(16, 0, 16)}, ChainLink.EVENTS, "no longer runs", "run-evs.sh"),
        ({"events": EventState(16, 2, 3)}, ChainLink.EVENTS, "3 of 16 partitions have no event worker", "log"),
        ({"events": EventState(16, 2, 0, 12.0)}, ChainLink.EVENTS, "unread result is 12 s old", "ei-event-deployment"),
        ({"events": EventState(16, lag_s=12.0)}, ChainLink.EVENTS, "unread result is 12 s old", "ei-event-deployment"),
        (
            {"idle_sinks": [IdleSink("home", "is paused", "refuses the login"), IdleSink("lake", "lags 90 s")]},
            ChainLink.EVENTS,
            "home is paused (refuses the login), lake lags 90 s",
            "POST /api/sinks/home/test",
        ),
        ({"sinks_problem": "sinks.yaml: line 3"}, ChainLink.EVENTS, "sinks.yaml: line 3", "integrations.md"),
    ],
)
def test_each_broken_link_is_named_with_what_to_do(
    change: dict[str, object], link: ChainLink, text: str, advice: str
) -> None:
    broken = first_broken(find(dataclasses.replace(healthy(), **change)))  # type: ignore[arg-type]
    assert broken is not None
    assert broken.link is link
    assert text in broken.text
    assert advice in broken.advice


def test_the_first_of_several_is_named() -> None:
    facts = dataclasses.replace(healthy(), relay_error="refused", workers={}, gateway_error="refused")
    broken = first_broken(find(facts))
    assert broken is not None
    assert broken.link is ChainLink.WORKER


def test_one_dead_camera_among_live_ones_is_reported_but_breaks_nothing() -> None:
    facts = healthy()
    facts.producers.append(ProducerState("gate-2", "people", "reconnecting"))
    findings = find(facts)
    assert first_broken(findings) is None
    assert "gate-2 is reconnecting" in findings[0].text


def test_legacy_producers_do_not_count_as_broken_cameras() -> None:
    findings = find(dataclasses.replace(healthy(), producers=[], waiting={"people": 3}))
    assert first_broken(findings) is None
    assert "legacy producers" in findings[0].text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"events": None}, "no event service runs"),
        ({"events": None, "events_hidden": True}, "this broker login may not read it"),
        ({"events": EventState(16)}, "may not read who has them"),
        ({"broker_error": "refused"}, "the broker does not answer"),
    ],
)
def test_an_installation_without_events_or_a_login_that_does_not_see_them_is_not_broken(
    change: dict[str, object], text: str
) -> None:
    found = find(dataclasses.replace(healthy(), **change))[-1]  # type: ignore[arg-type]
    assert (found.link, found.state) == (ChainLink.EVENTS, State.UNKNOWN)
    assert text in found.text
