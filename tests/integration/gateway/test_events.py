"""The gateway's events over real HTTP, and what clients get while Redis is unavailable."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.flows.gateway import events as gateway_events
from tests.support.gateway import Pool, RunningGateway, first_event
from tests.support.openapi import check, check_schema, streams_by_id
from tests.support.waiting import wait_for


def test_events_start_with_hello_and_then_report_changes(gateway: RunningGateway, client: redis.Redis) -> None:
    with gateway.events() as events:
        kind, hello = next(events)
        assert kind == "hello"
        check_schema(hello, "HelloEvent")
        assert abs(hello["time_ms"] / 1000 - time.time()) < 60
        check_schema(first_event(events, "streams", lambda each: each["streams"] == []), "StreamsEvent")
        pool = Pool(client)
        pool.publish()
        streams = first_event(events, "streams", lambda each: len(each["streams"]) == 1)
        check_schema(streams, "StreamsEvent")
        check_schema(first_event(events, "stats", lambda each: each["totals"]["replicas"] == 1), "StatsEvent")
        assert gateway.metric("ei_gateway_event_clients") == 1
    wait_for(lambda: gateway.metric("ei_gateway_event_clients") == 0, what="the client to leave")


def test_only_the_clock_is_sent_while_nothing_changes(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_events, "KEEPALIVE_S", 1.5)
    monkeypatch.setattr("elastic_inference.flows.gateway.api.KEEPALIVE_S", 1.5)
    with gateway.events() as events:
        seen = []
        for kind, document in events:
            seen.append(kind)
            if kind == "time":
                check_schema(document, "TimeEvent")
                break
    assert sorted(seen) == sorted(["hello", "streams", "stats", "cameras", ":", "time"])


def test_many_clients_load_redis_as_much_as_one(gateway: RunningGateway, client: redis.Redis) -> None:
    Pool(client).publish()

    def zranges() -> int:
        return int(client.info("commandstats").get("cmdstat_zrange", {}).get("calls", 0))

    connections = []
    for _ in range(30):
        connection = gateway.connection(30)
        connection.request("GET", "/api/events")
        connections.append(connection)
    wait_for(lambda: gateway.metric("ei_gateway_event_clients") == 30, what="30 clients")
    before, began = zranges(), time.monotonic()
    while time.monotonic() - began < 2:
        assert gateway.ask("/api/streams").status == 200
        assert gateway.ask("/api/stats").status == 200
    # Streams and workers twice a second, plus the round in progress.
    assert zranges() - before <= 2 * (2 * (time.monotonic() - began) + 2)
    for connection in connections:
        connection.close()


def test_too_many_event_streams_are_refused(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_events, "MAX_CLIENTS", 1)
    with RunningGateway(valkey.url) as gateway, gateway.events() as events:
        next(events)
        answer = check(gateway.ask("/api/events"), "/api/events")
        assert (answer.status, answer.code) == (429, "too_many")


def test_a_client_that_reads_nothing_does_not_delay_the_others(gateway: RunningGateway, client: redis.Redis) -> None:
    pool = Pool(client)
    with socket.create_connection(("127.0.0.1", gateway.port)) as stuck:
        stuck.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: gateway.metric("ei_gateway_event_clients") == 1, what="the stuck client")
        with gateway.events() as events:
            pool.publish()
            first_event(events, "streams", lambda each: len(each["streams"]) == 1)


def test_redis_unavailable_from_the_start_is_reported_and_recovered_from() -> None:
    server = EmbeddedValkey()
    with RunningGateway(server.url) as gateway:
        answer = check(gateway.ask("/api/streams"), "/api/streams")
        assert (answer.status, answer.code) == (503, "unavailable")
        assert check(gateway.ask("/api/stats"), "/api/stats").status == 503
        assert str(server.port) not in answer.body.decode()
        with gateway.events() as events:
            assert next(events)[0] == "hello"
            problem = first_event(events, "problem")
            check_schema(problem, "ProblemEvent")
            assert set(problem["missing"]) == {"queue", "broker"}
            with server:
                first_event(events, "problem", lambda each: each["missing"] == {})
                assert check(gateway.ask("/api/streams"), "/api/streams").json["streams"] == []


def test_while_redis_is_unavailable_the_last_known_state_is_served_and_recovery_takes_under_5_s() -> None:
    server = EmbeddedValkey().start()
    try:
        with RunningGateway(server.url) as gateway, redis.Redis(port=server.port) as client:
            pool = Pool(client)
            pool.publish()
            pool.push()
            wait_for(lambda: len(streams_by_id(gateway)) == 1, what="the stream")
            server.kill()

            def told() -> Any:
                document = check(gateway.ask("/api/streams"), "/api/streams").json
                return set(document["missing"]) == {"queue", "broker"} and document

            document = wait_for(told, 5, "the problem")
            assert [each["id"] for each in document["streams"]] == [pool.stream_id]
            assert check(gateway.ask("/api/stats"), "/api/stats").json["totals"]["replicas"] == 1
            snapshot = check(
                gateway.ask(f"/api/streams/{pool.stream_id}/snapshot.jpg"), "/api/streams/{id}/snapshot.jpg"
            )
            assert snapshot.status == 503
            assert gateway.lifecycle.missing() == {}, "it stays ready"
            assert set(gateway.lifecycle.degraded()) == {"queue", "broker"}
            server.start()
            fresh = Pool(client)
            wait_for(client.ping, 10, "Redis")
            fresh.publish()
            wait_for(lambda: streams_by_id(gateway) and not gateway.ask("/api/stats").json["missing"], 5, "it is back")
            assert gateway.lifecycle.degraded() == {}
    finally:
        server.close()
