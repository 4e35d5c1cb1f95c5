"""The websocket server's connections: limits on what viewers send and on how many they are."""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import ExitStack

import pytest
import redis

from elastic_inference.base import config
from elastic_inference.base.connections import ConnectionLimits
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.flows.relay.server import Limits
from elastic_inference.flows.relay.websocket_service import _connection_limits
from tests.support.raw_viewer import PING, RawViewer
from tests.support.waiting import wait_for
from tests.support.websocket_server import BIG_JPEG, STREAM, Relay, check_cut_off, message, orders, wait_subscribed

# Masked with zeros: an empty ping, the start of a message and an empty part of it.
PING_FRAME, MESSAGE_START, MESSAGE_PART = (bytes([first, 0x80, 0, 0, 0, 0]) for first in (0x89, 0x01, 0x00))


@pytest.mark.parametrize("flood", [PING_FRAME * 40_000, MESSAGE_START + MESSAGE_PART * 40_000], ids=["pings", "parts"])
def test_a_flood_of_frames_ends_its_connection_and_costs_others_nothing(
    valkey: EmbeddedValkey, client: redis.Redis, flood: bytes
) -> None:
    with Relay(Limits(close_s=0.3), queue_url=valkey.url) as relay, relay.open() as other, relay.open() as viewer:
        wait_subscribed(client, relay, 2)
        before = time.process_time()
        try:
            viewer.send_bytes(flood)
            assert viewer.read_close_code() == 1008
        except (ConnectionError, EOFError):
            pass  # the end overtook the rest of the flood
        wait_for(lambda: relay.metric("ei_viewers") == 1, what="its end")
        assert time.process_time() - before < 1.5, "40,000 frames were not read"
        client.publish(STREAM, message(1))
        assert orders(other, 1) == [1]


def test_pings_of_a_polite_viewer_are_answered(relay: Relay, client: redis.Redis) -> None:
    with relay.open() as viewer:
        wait_subscribed(client, relay)
        for _ in range(100):
            viewer.send(PING, b"hello")
        client.publish(STREAM, message(1))
        assert orders(viewer, 1) == [1]


def test_answers_to_our_own_pings_do_not_count(
    valkey: EmbeddedValkey, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elastic_inference.flows.relay.viewer.MAX_FRAMES", 3)
    with Relay(queue_url=valkey.url) as relay, relay.open(f"/{STREAM}?format=frame") as viewer:
        wait_subscribed(client, relay)
        for order in range(1, 60):
            client.publish(STREAM, message(order, BIG_JPEG))
            assert viewer.read()[0] == 2


def test_a_viewer_that_accepts_nothing_is_cut_off_though_pings_may_wait_longer(
    valkey: EmbeddedValkey, client: redis.Redis
) -> None:
    check_cut_off(Limits(write_stall_s=0.5), valkey.url, client)


def test_additional_viewers_wait_for_a_place(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    limits = Limits(connections=ConnectionLimits(3, 3))
    with Relay(limits, queue_url=valkey.url) as relay, ExitStack() as viewers:
        opened = [viewers.enter_context(relay.open()) for _ in range(3)]
        wait_subscribed(client, relay, 3)
        assert relay.metric("ei_connections") == relay.metric("ei_max_connections") == 3
        with socket.create_connection(("127.0.0.1", relay.port)) as waiting:
            key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            upgrade = f"Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
            waiting.sendall(f"GET /{STREAM} HTTP/1.1\r\n{upgrade}".encode())
            waiting.settimeout(0.5)
            with pytest.raises(TimeoutError):
                waiting.recv(1)
            opened[0].close()
            waiting.settimeout(10)
            assert waiting.recv(12) == b"HTTP/1.1 101"
    wait_for(lambda: relay.metric("ei_connections") == 0, what="all places")


def test_behind_a_proxy_the_clients_own_address_counts(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    limits = Limits(connections=ConnectionLimits(10, 1))
    with Relay(limits, queue_url=valkey.url, trusted_proxies="127.0.0.1") as relay:
        first, second = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        with relay.open(headers=first), relay.open(headers=second):
            wait_subscribed(client, relay, 2)
            with pytest.raises(AssertionError, match=r"(?s)refused: .* 429 .*too many connections"):
                relay.open(headers=first)
        wait_for(lambda: relay.metric("ei_connections") == 0, what="all places")
        with relay.open(headers=first):
            wait_subscribed(client, relay)


@pytest.mark.parametrize("setting", [{}, {"MAX_CONNECTIONS": "1500"}, {"MAX_CONNECTIONS_PER_ADDRESS": "10"}])
def test_all_viewers_of_a_gateway_find_room(setting: dict[str, str]) -> None:
    settings = config.load(config.WebsocketSettings, setting)
    assert settings.max_viewers + 100 < _connection_limits(settings).per_address <= settings.connections


def test_connections_that_break_give_their_places_back(valkey: EmbeddedValkey, relay: Relay) -> None:
    for data in (b"", b"GET", os.urandom(3000), b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", relay.port)) as raw:
            raw.sendall(data)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with pytest.raises(AssertionError, match="refused"):
        RawViewer(relay.port, f"/{STREAM}?format=gif")
    wait_for(lambda: relay.metric("ei_connections") == 0, 15, "all places")
