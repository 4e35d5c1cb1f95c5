"""TLS of sinks with real servers: private authorities, client certificates, and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from elastic_inference.adapters.sinks import Item, SinkAccess, UnavailableError, open_sink
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.events.event import event_json
from elastic_inference.domain.sink_spec import read_sink
from tests.support import outbox
from tests.support.certificates import Authority
from tests.support.delivery_worker import wait_placed, worker, write_sinks
from tests.support.gateway import RunningGateway
from tests.support.mosquitto import Mosquitto, Subscriber
from tests.support.outbox import OutboxWriter, an_event
from tests.support.redis_servers import TlsFront
from tests.support.waiting import wait_for
from tests.support.webhook_server import WebhookServer

CLIENT = {"cert_file": "sink.cert", "key_file": "sink.key"}
Server = Callable[..., AbstractContextManager[dict[str, Any]]]


def deliver(folder: Path, sink: dict[str, Any]) -> str:
    """What the sink says of one event, empty if it took it."""
    event = an_event(0)
    made = open_sink(read_sink({"name": "sink", **sink}), SinkAccess(folder, None), "-test")
    try:
        made.deliver([Item(event, event_json(event))])
    except UnavailableError as error:
        return str(error)
    finally:
        made.close()
    return ""


def says(folder: Path, sink: dict[str, Any], words: str) -> None:
    """Waits until the sink says it: a slow machine may be late at first. Without words, until it took the event."""

    def said() -> bool:
        found = deliver(folder, sink)
        return words in found if words else not found

    wait_for(said, 90, words or "delivery")


@contextmanager
def webhook(authority: Authority, host: str, days: tuple[int, int], clients: Authority | None) -> Iterator[Any]:
    with WebhookServer(tls=authority.server(host, days=days, clients=clients)) as running:
        yield {"kind": "webhook", "url": running.url, "timeout_s": 30}


@contextmanager
def mqtt(authority: Authority, host: str, days: tuple[int, int], clients: Authority | None) -> Iterator[Any]:
    cert, key = authority.write("server", host, days)
    more = [f"cafile {clients.ca_file}", "require_certificate true"] if clients else []
    with Mosquitto(authority.folder, f"certfile {cert}", f"keyfile {key}", *more) as running:
        yield {"kind": "mqtt", "url": running.url, "timeout_s": 30}


@contextmanager
def valkey(authority: Authority, host: str, days: tuple[int, int], clients: Authority | None) -> Iterator[Any]:
    context = authority.server(host, days=days, clients=clients)
    with EmbeddedValkey() as far, TlsFront(far, authority.folder, tls=context) as front:
        yield {"kind": "redis", "url": f"rediss://127.0.0.1:{front.port}"}


@contextmanager
def kafka(authority: Authority, host: str, days: tuple[int, int], clients: Authority | None) -> Iterator[Any]:
    """Only what comes before the first message: no Kafka answers behind it."""
    with WebhookServer(tls=authority.server(host, days=days, clients=clients)) as running:
        yield {"kind": "kafka", "brokers": [f"127.0.0.1:{running.port}"], "tls": True, "timeout_s": 1}


servers = pytest.mark.parametrize("server", [webhook, mqtt, valkey])
and_kafka = pytest.mark.parametrize("server", [webhook, mqtt, valkey, kafka])


@and_kafka
def test_an_authority_that_nothing_names_is_not_trusted(server: Server, tmp_path: Path) -> None:
    Authority(tmp_path, "other")
    with server(Authority(tmp_path), "127.0.0.1", (-1, 2), None) as sink:
        says(tmp_path, sink, "an authority that this machine does not know; set `ca_file`")
        says(tmp_path, sink | {"ca_file": "other.ca"}, "of none of the authorities in `ca_file`")


@and_kafka
@pytest.mark.parametrize(
    ("host", "days", "said"),
    [
        ("sink.example", (-1, 2), "its certificate is for another name than 127.0.0.1"),
        ("127.0.0.1", (-9, -2), "its certificate has expired"),
        ("127.0.0.1", (2, 9), "its certificate is not valid yet"),
    ],
)
def test_a_wrong_certificate_is_named_in_words(
    server: Server, host: str, days: tuple[int, int], said: str, tmp_path: Path
) -> None:
    with server(Authority(tmp_path), host, days, None) as sink:
        says(tmp_path, sink | {"ca_file": "sink.ca"}, said)


@and_kafka
def test_a_client_certificate_that_is_missing_or_of_another_authority(server: Server, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    Authority(tmp_path, "other").write("other", "elastic-inference")
    with server(authority, "127.0.0.1", (-1, 2), authority) as sink:
        trusting = sink | {"ca_file": "sink.ca"}
        says(tmp_path, trusting, "client certificate, set `cert_file` and `key_file`")
        foreign = deliver(tmp_path, trusting | {"cert_file": "other.cert", "key_file": "other.key"})
        assert foreign
        assert "set `cert_file`" not in foreign


@servers
def test_events_arrive_with_a_private_authority_among_others_and_a_client_certificate(
    server: Server, tmp_path: Path
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    authority.write("sink", "elastic-inference")
    words = "# Zertifikate der Bürogebäude\n"
    (tmp_path / "all.ca").write_text(words + other.ca_file.read_text() + authority.ca_file.read_text())
    with server(authority, "127.0.0.1", (-1, 2), authority) as sink:
        says(tmp_path, sink | {"ca_file": "all.ca"} | CLIENT, "")


@and_kafka
def test_a_server_without_tls_gets_no_event(server: Server, tmp_path: Path) -> None:
    with WebhookServer() as plain, server(Authority(tmp_path), "127.0.0.1", (-1, 2), None) as sink:
        address = f"127.0.0.1:{plain.port}"
        place = {"brokers": [address]} if "brokers" in sink else {"url": f"{sink['url'].partition(':')[0]}://{address}"}

        def refused() -> bool:
            said = deliver(tmp_path, sink | place)
            return "does not speak TLS at this port" in said or "ended the connection" in said

        wait_for(refused, 90, "a word")
        assert not plain.requests


def test_a_renewed_authority_and_client_certificate_are_used_without_a_restart(
    server: EmbeddedValkey, client: redis.Redis, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "other")
    other.write("sink")
    with WebhookServer(tls=authority.server(clients=authority)) as hook, Mosquitto(tmp_path) as broker:
        place = {"kind": "webhook", "url": hook.url, "ca_file": "other.ca"}
        file = write_sinks(
            tmp_path / "sinks.yaml",
            {"name": "hook", **place, **CLIENT},
            {"name": "fine", "kind": "mqtt", "url": broker.url},
        )
        with worker(server.url, file, SINK_SECRETS_DIR=str(tmp_path)) as running, Subscriber(broker.port) as subscriber:
            wait_placed(client, "hook", "fine")
            made = OutboxWriter(client).write(5)
            wait_for(lambda: len(subscriber.got) >= 5, 60, "the other sink")
            said = wait_for(lambda: running.lifecycle.degraded().get("sink hook"), 60, "a word")
            assert "of none of the authorities in `ca_file`" in str(said)
            authority.write("sink")
            (tmp_path / "other.ca").write_bytes(authority.ca_file.read_bytes())
            wait_for(lambda: len(hook.got) >= 5, 90, "every event")
        outbox.check(made, hook.got, repeats=0)


def test_a_sink_by_rest_names_files_of_its_own_only(
    server: EmbeddedValkey, client: redis.Redis, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "hook")
    authority.write("hook")
    files = {"ca_file": "hook.ca", "cert_file": "hook.cert", "key_file": "hook.key"}
    with (
        RunningGateway(server.url) as gateway,
        WebhookServer(tls=authority.server(clients=authority)) as hook,
        worker(server.url, SINK_SECRETS_DIR=str(tmp_path), SINK_NETWORKS="127.0.0.0/8"),
    ):
        given = {"kind": "webhook", "url": hook.url}
        for wrong in ("../hook.ca", "/etc/hosts", "home.ca"):
            answer = gateway.ask("/api/sinks/hook", "PUT", given | {"ca_file": wrong})
            assert answer.status == 400
        assert gateway.ask("/api/sinks/hook", "PUT", given | files).status == 200
        wait_placed(client, "hook")
        tried = gateway.ask("/api/sinks/hook/test", "POST").json
        assert tried["delivered"], tried
        shown = gateway.ask("/api/sinks/hook")
        assert shown.json["spec"]["key_file"] == "hook.key"
        assert "PRIVATE KEY" not in str(shown.json)
