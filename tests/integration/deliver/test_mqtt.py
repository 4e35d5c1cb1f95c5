"""Delivery to a real MQTT broker that stops, freezes and restarts empty."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from elastic_inference.adapters.sinks import Item, SinkAccess, UnavailableError
from elastic_inference.adapters.sinks.mqtt import Mqtt
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.events.event import CameraChange, EventKind, Phase, event_json
from elastic_inference.domain.sink_spec import read_sink
from tests.support import outbox
from tests.support.delivery_worker import wait_placed, worker, write_sinks
from tests.support.mosquitto import Mosquitto, Subscriber
from tests.support.outbox import OutboxWriter, an_event
from tests.support.waiting import wait_for


def test_events_states_discovery_and_the_will(server: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        file = write_sinks(tmp_path / "sinks.yaml", {"name": "home", "kind": "mqtt", "url": broker.url})
        with worker(server.url, file):
            wait_placed(client, "home")
            wait_for(lambda: subscriber.newest.get("elastic-inference/status") == "online", 30, "online")
            writer = OutboxWriter(client, streams=1)
            made = writer.write(3)
            ended = an_event(0, rev=2, phase=Phase.END)
            writer.add(ended)
            writer.add(
                an_event(9, id="c/1", kind=EventKind.CAMERA, state=CameraChange.LOST, phase=Phase.END, zone=None)
            )
            wait_for(lambda: len(subscriber.got) >= 5, 30, "five events")
            wait_for(
                lambda: subscriber.newest.get("elastic-inference/cameras/cam-0/status") == "offline", 30, "the camera"
            )
        wait_for(lambda: subscriber.newest["elastic-inference/status"] == "offline", 30, "the will")
        outbox.check([*made, ended], subscriber.got, repeats=0)
        assert subscriber.newest["elastic-inference/zones/cam-0/yard/count"] == "2"
        assert subscriber.newest["elastic-inference/zones/cam-0/yard/occupied"] == "ON"
        (config,) = (
            json.loads(text)
            for topic, text in subscriber.newest.items()
            if topic.startswith("homeassistant/binary_sensor/") and topic.endswith("_occupied/config")
        )
        assert config["state_topic"] == "elastic-inference/zones/cam-0/yard/occupied"
        assert config["availability_topic"] == "elastic-inference/status"


def test_a_broker_that_restarts_empty_gets_the_states_again_and_every_event(
    server: EmbeddedValkey, client: redis.Redis, tmp_path: Path
) -> None:
    with Mosquitto(tmp_path) as broker:
        sink = {"name": "home", "kind": "mqtt", "url": broker.url, "timeout_s": 1}
        file = write_sinks(tmp_path / "sinks.yaml", sink)
        with worker(server.url, file):
            wait_placed(client, "home")
            writer = OutboxWriter(client, streams=2)
            with Subscriber(broker.port) as subscriber:
                writer.write(20)
                wait_for(lambda: len(subscriber.got) >= 20, 30, "20 events")
                outbox.check(writer.sent, subscriber.got, repeats=0)
                broker.freeze()
                writer.write(10)
                wait_for(lambda: not_delivering(client), 30, "the sink fails")
                broker.thaw()
                wait_for(lambda: not outbox.missing(writer.sent, subscriber.got), 60, "all after the freeze")
                outbox.check(writer.sent, subscriber.got)
            broker.stop()
            later = writer.write(10)
            broker.start()
            with Subscriber(broker.port, "second") as second:
                # States come again without any event; the events went to whoever was there.
                wait_for(lambda: "elastic-inference/zones/cam-1/yard/count" in second.newest, 60, "the state")
                later += writer.write(10)
                wait_for(lambda: not outbox.missing(later[10:], second.got), 60, "the events after the restart")
        # A worker that takes over knows the states from the outbox.
        broker.stop()
        broker.start()
        with worker(server.url, file), Subscriber(broker.port, "third") as third:
            wait_for(lambda: third.newest.get("elastic-inference/zones/cam-0/yard/count") == "25", 60, "the count")


def not_delivering(client: redis.Redis) -> bool:
    """Whether the worker says that the sink fails."""
    state = client.hget("{sinks}:states", "home")
    return state is not None and bool(json.loads(state)["condition"] == "failing")


def test_a_refused_login_and_an_event_that_is_too_large(
    server: EmbeddedValkey, client: redis.Redis, tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    with (
        Mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as closed,
        Mosquitto(tmp_path, "max_packet_size 2000") as small,
        Subscriber(small.port) as subscriber,
    ):
        (tmp_path / "secret").write_text("wrong")
        login = {"user": "me", "password": "secret"}
        file = write_sinks(
            tmp_path / "sinks.yaml",
            {"name": "closed", "kind": "mqtt", "url": closed.url, **login},
            {"name": "small", "kind": "mqtt", "url": small.url},
        )
        with worker(server.url, file, SINK_SECRETS_DIR=str(tmp_path)) as running:
            wait_placed(client, "small", "closed")
            writer = OutboxWriter(client, streams=1)
            first = writer.write(2)
            writer.add(an_event(77, snapshot_reason="x" * 3000))
            last = writer.write(2)
            wait_for(lambda: not outbox.missing(first + last, subscriber.got), 30, "the small ones")
            assert running.metric("ei_sink_dead_total", "small") == 1
            said = wait_for(lambda: running.lifecycle.degraded().get("sink closed"), 30, "a word")
            assert "refuses the login" in str(said)
            assert "wrong" not in str(said)


def test_no_side_of_the_connection_waits_for_the_others_kernel(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        sink = Mqtt(read_sink({"name": "home", "kind": "mqtt", "url": broker.url}), SinkAccess(None, None), "")
        event = an_event(0)
        sink.deliver([Item(event, event_json(event))])
        connection = sink._client.socket()
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        sink.close()


def test_no_more_is_in_flight_than_the_broker_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Mosquitto(tmp_path, "max_inflight_messages 3") as broker, Subscriber(broker.port) as subscriber:
        sink = Mqtt(read_sink({"name": "home", "kind": "mqtt", "url": broker.url}), SinkAccess(None, None), "")
        sink.idle()
        client, most = sink._client, 0
        assert client is not None
        publish = client.publish

        def counted(*given: Any, **more: Any) -> Any:
            nonlocal most
            most = max(most, len(sink._unconfirmed) + 1)
            return publish(*given, **more)

        monkeypatch.setattr(client, "publish", counted)
        events = [an_event(number) for number in range(20)]
        sink.deliver([Item(event, event_json(event)) for event in events])
        wait_for(lambda: len(subscriber.got) >= 20, 30, "all events")
        outbox.check(events, subscriber.got, repeats=0)
        assert most == 3
        sink.close()


def test_a_frozen_broker_that_wants_few_in_flight_is_given_up_after_one_wait(tmp_path: Path) -> None:
    spec = {"name": "home", "kind": "mqtt", "timeout_s": 1}
    with Mosquitto(tmp_path, "max_inflight_messages 3") as broker:
        sink = Mqtt(read_sink({**spec, "url": broker.url}), SinkAccess(None, None), "")
        sink.idle()
        broker.freeze()
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="did not confirm within 1 s"):
            sink.deliver([Item(an_event(number), event_json(an_event(number))) for number in range(20)])
        assert time.monotonic() - began < 8, "each further event waited"
        broker.thaw()
        sink.close()


def test_a_broker_that_ends_without_a_word_is_named(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        sink = Mqtt(read_sink({"name": "home", "kind": "mqtt", "url": broker.url}), SinkAccess(None, None), "")
        sink.idle()
        broker.stop()
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:\d+ closed the connection without a reason"):
            sink.deliver([Item(an_event(0), event_json(an_event(0)))])
