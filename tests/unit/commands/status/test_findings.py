"""From facts to the first broken link."""

import dataclasses

import pytest

from elastic_inference.commands.status.findings import Facts, Link, Source, State, find, first_broken


def healthy() -> Facts:
    return Facts(
        queue_address="redis://q:6379/0",
        sources=[Source("gate-1", "people", "live")],
        waiting={"people": 1},
        workers={"people": 2},
        inferred={"gate-1:people:inferred": "people"},
        relay_address="ws://relay:31611",
        gateway_address="http://gateway:31002",
        picture_stream="gate-1:people:inferred",
    )


def test_a_healthy_system_has_no_broken_link() -> None:
    findings = find(healthy())
    assert [finding.link for finding in findings] == [link for link in Link if link is not Link.SCALING]
    assert {finding.state for finding in findings} == {State.GOOD}
    assert first_broken(findings) is None


@pytest.mark.parametrize(
    ("change", "link", "text", "advice"),
    [
        ({"sources": [], "waiting": {}}, Link.CAMERA, "nobody pushes", "run-css.sh"),
        ({"sources": [Source("gate-1", "people", "stalled")]}, Link.CAMERA, "gate-1 is stalled", "camera's power"),
        ({"queue_error": "refused"}, Link.QUEUE, "refused", "run-redis.sh"),
        ({"queue_error": "no", "queue_login_refused": True}, Link.QUEUE, "no", "QUEUE_PASSWORD"),
        ({"workers": {}}, Link.WORKER, "nobody infers people", "run-ois.sh -t people"),
        ({"workers": {"face": 1}}, Link.WORKER, "there is: face 1", "ei-infer-people-app"),
        ({"broker_error": "refused"}, Link.BROKER, "refused", "BROKER_URL"),
        ({"inferred": {}}, Link.BROKER, "no stream has a result", "worker's log"),
        ({"relay_error": "refused"}, Link.RELAY, "refused", "run-wss.sh"),
        ({"gateway_error": "refused"}, Link.GATEWAY, "refused", "run-gws.sh"),
        ({"picture_error": "no frame within 5 s"}, Link.GATEWAY, "does not come through", "logs"),
    ],
)
def test_each_broken_link_is_named_with_what_to_do(
    change: dict[str, object], link: Link, text: str, advice: str
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
    assert broken.link is Link.WORKER


def test_one_dead_camera_among_live_ones_is_told_but_breaks_nothing() -> None:
    facts = healthy()
    facts.sources.append(Source("gate-2", "people", "reconnecting"))
    findings = find(facts)
    assert first_broken(findings) is None
    assert "gate-2 is reconnecting" in findings[0].text


def test_plain_producers_are_no_broken_camera() -> None:
    findings = find(dataclasses.replace(healthy(), sources=[], waiting={"people": 3}))
    assert first_broken(findings) is None
    assert "plain producers" in findings[0].text
