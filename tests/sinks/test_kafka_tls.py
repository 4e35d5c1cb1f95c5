"""Delivery to a real Kafka server over TLS: a private authority, client certificates, logins, and wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from elastic_inference.adapters.sinks import Item, LoginRefusedError, SinkAccess, UnavailableError, open_sink
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.events.event import event_json
from elastic_inference.domain.sink_spec import read_sink
from tests.support import outbox
from tests.support.certificates import Authority
from tests.support.delivery_worker import wait_placed, worker, write_sinks
from tests.support.kafka_server import TopicReader
from tests.support.kafka_tls import PASSWORD, USER, TlsKafka
from tests.support.outbox import OutboxWriter, an_event
from tests.support.waiting import wait_for

CLIENT = {"cert_file": "client.cert", "key_file": "client.key"}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "lake.password").write_text(PASSWORD)
    (folder / "wrong.password").write_text("not the password")
    Authority(folder, "other").write("stranger", "elastic-inference")
    return folder


@pytest.fixture(scope="module")
def kafka(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsKafka]:
    authority = Authority(secrets, "own")
    authority.write("client", "elastic-inference")
    with TlsKafka(tmp_path_factory.mktemp("kafka"), authority) as running:
        yield running


def sink(address: str, **more: Any) -> dict[str, Any]:
    return {
        **{"name": "lake", "kind": "kafka", "brokers": [address], "topic": "events", "timeout_s": 10},
        **{"tls": True, "ca_file": "own.ca"},
        **more,
    }


def refusal(secrets: Path, given: dict[str, Any]) -> Exception:
    """What the sink says of one event, which it must not take."""
    event = an_event(0)
    made = open_sink(read_sink(given), SinkAccess(secrets, None), "-test")
    try:
        with pytest.raises((UnavailableError, LoginRefusedError)) as caught:
            made.deliver([Item(event, event_json(event))])
    finally:
        made.close()
    return caught.value


def test_events_arrive_with_a_client_certificate_and_with_a_login(
    server: EmbeddedValkey, client: redis.Redis, kafka: TlsKafka, secrets: Path, tmp_path: Path
) -> None:
    by_certificate = sink(kafka.tls, name="tls", topic="by-certificate", **CLIENT)
    by_login = sink(kafka.login, user=USER, password="lake.password", topic="by-login")
    file = write_sinks(tmp_path / "sinks.yaml", by_certificate, by_login)
    with (
        worker(server.url, file, SINK_SECRETS_DIR=str(secrets)),
        TopicReader(kafka.plain, "by-certificate") as first,
        TopicReader(kafka.plain, "by-login") as second,
    ):
        wait_placed(client, "tls", "lake")
        made = OutboxWriter(client).write(50)
        for reader in (first, second):
            wait_for(lambda reader=reader: not outbox.missing(made, reader.read()), 90, "50 events")  # type: ignore[misc]
            outbox.check(made, reader.got)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"ca_file": "other.ca", **CLIENT}, "of none of the authorities in `ca_file`"),
        ({"ca_file": None, **CLIENT}, "an authority that this machine does not know"),
        ({}, "client certificate, set `cert_file` and `key_file`"),
        ({"cert_file": "stranger.cert", "key_file": "stranger.key"}, "refuses our client certificate"),
    ],
    ids=["another authority", "no authority", "no client certificate", "a stranger's certificate"],
)
def test_a_wrong_certificate_is_refused_in_words(
    kafka: TlsKafka, secrets: Path, more: dict[str, Any], said: str
) -> None:
    given = {name: value for name, value in sink(kafka.tls, timeout_s=3, **more).items() if value is not None}
    found = refusal(secrets, given)
    assert isinstance(found, UnavailableError)
    assert said in str(found)


def test_a_wrong_password_is_a_refused_login(kafka: TlsKafka, secrets: Path) -> None:
    given = sink(kafka.login, user=USER, password="wrong.password", timeout_s=5)
    found = refusal(secrets, given)
    assert isinstance(found, LoginRefusedError)
    assert "check `user`, `password`" in str(found)
    assert "not the password" not in str(found)
