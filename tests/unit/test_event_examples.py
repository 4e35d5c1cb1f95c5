"""doc/examples for events: short, and they name what the sinks really send. tests/sinks runs those that can run."""

from __future__ import annotations

import json
import re
import runpy
from typing import Any

import jinja2
import pytest
import yaml
from tests.conftest import REPOSITORY
from tests.support.outbox import an_event

from elastic_inference.adapters.sinks.mqtt_state import States, event_topic
from elastic_inference.domain.events.event import EventKind, Phase, event_json, parse_event
from elastic_inference.domain.sink_spec import MqttSink

EXAMPLES = REPOSITORY / "doc" / "examples"
NAMES = ("event_function.py", "kafka_events.py", "home-assistant-automations.yaml")
BASE = MqttSink(kind="mqtt", name="home", url="mqtt://localhost").topic
VISIT = an_event(1, camera="gate", stream="gate:people:inferred")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short_and_the_document_links_it(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) < 40
    assert f"](examples/{name})" in (REPOSITORY / "doc" / "integrations.md").read_text()


def automations() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load((EXAMPLES / NAMES[2]).read_text())
    return {each["id"]: each for each in found}


def rendered(template: str, **values: Any) -> str:
    """As Home Assistant makes it: its templates are Jinja's."""
    return jinja2.Environment(autoescape=True).from_string(template).render(**values)


def discovered(states: States) -> list[dict[str, Any]]:
    return [
        json.loads(text) for subject in states.subjects() for _, text in states.discovery("homeassistant", *subject)
    ]


def test_the_lamp_follows_a_topic_that_discovery_names_by_the_payloads_that_are_sent() -> None:
    states = States(BASE)
    states.take(VISIT)
    (sensor,) = (each for each in discovered(states) if each.get("device_class") == "occupancy")
    by_payload = {each["payload"]: each for each in automations()["yard_lamp"]["triggers"]}
    assert {each["topic"] for each in by_payload.values()} == {sensor["state_topic"]}
    assert (sensor["state_topic"], "ON") in states.messages("gate", "yard")
    states.take(an_event(1, camera="gate", stream="gate:people:inferred", rev=2, phase=Phase.END))
    assert (sensor["state_topic"], "OFF") in states.messages("gate", "yard")
    (action,) = automations()["yard_lamp"]["actions"]
    services = {payload: rendered(action["action"], trigger=trigger) for payload, trigger in by_payload.items()}
    assert services == {"ON": "light.turn_on", "OFF": "light.turn_off"}


@pytest.mark.parametrize(("phase", "tells"), [(Phase.BEGIN, True), (Phase.UPDATE, False), (Phase.END, False)])
def test_the_phone_learns_of_the_beginning_of_a_visit_alone(phase: Phase, tells: bool) -> None:
    (trigger,) = automations()["yard_visitor"]["triggers"]
    event = an_event(1, camera="gate", stream="gate:people:inferred", phase=phase)
    assert trigger["topic"] == event_topic(BASE, event)
    document = json.loads(event_json(event))
    assert (rendered(trigger["value_template"], value_json=document) == trigger["payload"]) is tells
    (action,) = automations()["yard_visitor"]["actions"]
    found = {"payload_json": document}
    assert rendered(action["data"]["message"], trigger=found) == "person in the yard"
    assert rendered(action["data"]["data"]["tag"], trigger=found) == event.id


def test_discovery_proposes_entity_ids_to_old_and_new_home_assistants() -> None:
    states = States(BASE)
    states.take(VISIT)
    for found in discovered(states):
        domain, unique = found["default_entity_id"].split(".")
        assert domain in ("binary_sensor", "sensor")
        assert unique == found["object_id"] == found["unique_id"]


def test_the_consumer_of_kafka_tells_repeats_by_id_and_revision_and_forgets_the_oldest() -> None:
    example = runpy.run_path(str(EXAMPLES / NAMES[1]))
    seen: dict[tuple[str, int], None] = {}

    def is_new(name: str, rev: int) -> bool:
        return bool(example["is_new"](seen, {"id": name, "rev": rev}))

    assert [is_new("a", 1), is_new("a", 2), is_new("a", 1), is_new("b", 1)] == [True, True, False, True]
    assert all(is_new("many", number) for number in range(example["KEEP"]))
    assert len(seen) == example["KEEP"]


def test_the_documents_event_has_every_field_and_no_other() -> None:
    text = (REPOSITORY / "doc" / "events.md").read_text()
    (shown,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert json.loads(shown) == json.loads(event_json(parse_event(shown)))
    kinds = set(re.findall(r"^\| `(\w+)`: ", text, re.MULTILINE))
    assert kinds == {each.value for each in EventKind}
