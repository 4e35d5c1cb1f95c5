"""Specifications of sinks: what is accepted, how errors name the field, which events pass."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.outbox import an_event

from elastic_inference.domain.sink_spec import SinkError, read_sink, rest_refusal, sink_document

HOOK = {"name": "hook", "kind": "webhook", "url": "https://example.org/events"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "fax"}, "kind: expected one of webhook, mqtt, kafka, redis, log"),
        ({"url": "ftp://example.org"}, "url: expected a URL that begins with http:// or https:// and a host"),
        ({"url": "https://me:pass1234@example.org"}, "url: expected no login in the URL"),
        ({"url": "https://example.org/{secret}"}, "expected `url_secret` and {secret} in the URL together"),
        ({"url": "https://{secret}.org/", "url_secret": "a"}, "expected {secret} in the path"),
        ({"token": "../passwd"}, "token: "),
        ({"ca_file": "/etc/passwd"}, "ca_file: "),
        ({"cert_file": "a.cert"}, "expected `cert_file` and `key_file` together"),
        ({"url": "http://h/", "ca_file": "a.ca"}, "expected a URL with https://, mqtts:// or rediss://"),
        ({"batch": 0}, "batch: input should be greater than or equal to 1"),
        ({"colour": "red"}, "colour: there is no such field"),
        ({"quiet_hours": [{"from": "25:00", "to": "06:00"}]}, "quiet_hours.0.from: expected HH:MM"),
        ({"quiet_hours": [{"from": "22:00", "to": "06:00", "timezone": "Mars"}]}, "expected a time zone"),
    ],
)
def test_an_error_names_the_field_and_shows_no_value(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SinkError) as error:
        read_sink(HOOK | wrong)
    assert said in str(error.value)
    assert "pass1234" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "takes"),
    [
        ({}, True),
        ({"kinds": ["line"]}, False),
        ({"kinds": ["zone"], "cameras": ["cam-1"], "types": ["people"], "labels": ["person"]}, True),
        ({"cameras": ["cam-2"]}, False),
        ({"types": ["car"]}, False),
        ({"labels": ["dog"]}, False),
        ({"zones": ["yard"]}, True),
        ({"zones": ["street"]}, False),
        ({"phases": ["end"]}, False),
        # 22:13 UTC
        ({"quiet_hours": [{"from": "22:00", "to": "06:00"}]}, False),
        ({"quiet_hours": [{"from": "06:00", "to": "22:00"}]}, True),
        ({"quiet_hours": [{"from": "23:00", "to": "23:30", "timezone": "Europe/Berlin"}]}, False),
    ],
)
def test_filters(given: dict[str, Any], takes: bool) -> None:
    event = an_event(1, stream=1, began_ms=1_700_000_000_000.0)
    assert read_sink(HOOK | given).takes(event) is takes


def test_kafka_has_certificates_only_with_tls() -> None:
    lake = {"name": "lake", "kind": "kafka", "brokers": ["kafka-1:9092", "[::1]:9093"], "ca_file": "lake.ca"}
    with pytest.raises(SinkError, match="expected `tls: true`"):
        read_sink(lake)
    spec = read_sink(lake | {"tls": True})
    assert (spec.hosts, spec.servers) == ("kafka-1 or ::1", (("kafka-1", 9092), ("::1", 9093)))  # type: ignore[union-attr]


def test_a_specification_is_the_same_after_reading_what_was_written() -> None:
    spec = read_sink(HOOK | {"quiet_hours": [{"from": "22:00", "to": "06:00"}], "kinds": ["zone"], "batch": 5})
    assert read_sink(sink_document(spec)) == spec


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (HOOK, None),
        (HOOK | {"token": "hook.token"}, None),
        (HOOK | {"token": "other.token"}, "its name must begin with hook."),
        ({"name": "k", "kind": "kafka", "brokers": ["kafka:9092"]}, "must be in SINKS_FILE"),
        ({"name": "r", "kind": "redis", "url": "rediss://redis"}, None),
        (HOOK | {"ca_file": "hook.ca", "cert_file": "hook.cert", "key_file": "hook.key"}, None),
        (HOOK | {"ca_file": "other.ca"}, "ca_file: expected a file that is this sink's own"),
        (HOOK | {"cert_file": "hook.cert", "key_file": "other.key"}, "key_file: expected a file that is this sink's"),
    ],
)
def test_what_the_api_may_not_make(given: dict[str, Any], said: str | None) -> None:
    refusal = rest_refusal(read_sink(given))
    assert (refusal is None) if said is None else said in str(refusal)


@pytest.mark.parametrize("given", [{"enabled": 0}, {"batch": "5"}, {"name": 7}, {("a", "b"): 1}])
def test_a_value_of_another_kind_is_refused(given: dict[Any, Any]) -> None:
    with pytest.raises(SinkError):
        read_sink(HOOK | given)
