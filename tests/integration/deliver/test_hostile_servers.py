"""A sink's server that answers without end takes no memory from the event worker, and does not hold its thread."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from elastic_inference.adapters.sinks import Item, Sink, SinkAccess, UnavailableError, open_sink, redis_stream
from elastic_inference.domain.events.event import event_json
from elastic_inference.domain.sink_spec import read_sink
from tests.support.hostile_server import HostileServer
from tests.support.outbox import an_event

# What the kernel holds for both sides, at most.
BUFFERS = 16 << 20
MEGABYTE = bytes(1 << 20)
CONNACK = b"\x20\x03\x00\x00\x00"
Answer = Callable[[socket.socket], Iterator[bytes]]


def huge_packet(connection: socket.socket) -> Iterator[bytes]:
    """A message of 256 MB, as large as MQTT allows."""
    connection.recv(4096)
    yield CONNACK + b"\x30\xff\xff\xff\x7f\x00\x01x\x00"
    yield from itertools.repeat(MEGABYTE, 255)


def huge_packet_at_once(connection: socket.socket) -> Iterator[bytes]:
    connection.recv(4096)
    yield b"\x30\xff\xff\xff\x7f\x00\x01x\x00"
    yield from itertools.repeat(MEGABYTE, 255)


def messages_never_released(connection: socket.socket) -> Iterator[bytes]:
    """Messages of QoS 2: a client keeps each until the broker releases it."""
    connection.recv(4096)
    yield CONNACK
    for number in range(1, 2000):
        yield b"\x34\x84\x80\x06\x00\x01x" + number.to_bytes(2, "big") + bytes(98_303 - 4)


def pings(connection: socket.socket) -> Iterator[bytes]:
    """A client answers each."""
    connection.recv(4096)
    yield CONNACK
    yield from itertools.repeat(b"\xc0\x00" * 500_000, 200)


def long_reply(connection: socket.socket) -> Iterator[bytes]:
    connection.recv(4096)
    yield b"$400000000\r\n"
    yield from itertools.repeat(MEGABYTE, 400)


def many_replies(connection: socket.socket) -> Iterator[bytes]:
    connection.recv(4096)
    yield b"*1000000000\r\n"
    yield from itertools.repeat(b":1\r\n" * (1 << 18), 400)


def slow_reply(connection: socket.socket) -> Iterator[bytes]:
    connection.recv(4096)
    yield b"$400000000\r\n"
    while True:
        time.sleep(0.1)
        yield b"x"


def endless_body(connection: socket.socket) -> Iterator[bytes]:
    connection.recv(4096)
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield from itertools.repeat(b"fffff\r\n" + bytes(0xFFFFF) + b"\r\n", 400)


def endless_headers(connection: socket.socket) -> Iterator[bytes]:
    connection.recv(4096)
    yield b"HTTP/1.1 200 OK\r\n"
    yield from itertools.repeat(b"x: y\r\n" * 100_000, 400)


def endless_hints(connection: socket.socket) -> Iterator[bytes]:
    """Answers before the answer."""
    connection.recv(4096)
    yield from itertools.repeat(b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n" * 10_000, 4000)


def slow_headers(connection: socket.socket) -> Iterator[bytes]:
    connection.recv(4096)
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        time.sleep(0.1)
        yield b"x"


def sink(kind: str, port: int, **fields: object) -> Sink:
    scheme = {"mqtt": "mqtt", "redis": "redis", "webhook": "http"}[kind]
    spec = read_sink({"name": "x", "kind": kind, "url": f"{scheme}://127.0.0.1:{port}", **fields})
    return open_sink(spec, SinkAccess(None, None), "")


def deliver(found: Sink) -> None:
    found.deliver([Item(an_event(0), event_json(an_event(0)))])


@pytest.mark.parametrize("answer", [huge_packet, huge_packet_at_once, messages_never_released, pings])
def test_a_broker_that_sends_what_no_publisher_expects_is_left_and_named(answer: Answer) -> None:
    with HostileServer(answer) as server:
        found = sink("mqtt", server.port, timeout_s=20)
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:\d+ sent a packet .*: see what runs there"):
            deliver(found)
        assert server.sent < BUFFERS
        found.close()


@pytest.mark.parametrize("answer", [long_reply, many_replies])
def test_a_long_reply_of_another_redis_is_not_read(answer: Answer) -> None:
    with HostileServer(answer) as server:
        found = sink("redis", server.port)
        with pytest.raises(UnavailableError, match="more than 1048576 bytes"):
            deliver(found)
        assert server.sent < BUFFERS
        found.close()


def test_a_reply_that_comes_byte_by_byte_ends_with_the_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_stream, "_TIMEOUT_S", 1.0)
    with HostileServer(slow_reply) as server:
        found, began = sink("redis", server.port), time.monotonic()
        with pytest.raises(UnavailableError, match="Timeout"):
            deliver(found)
        assert time.monotonic() - began < 20
        found.close()


@pytest.mark.parametrize("answer", [endless_headers, endless_hints, slow_headers])
def test_an_answer_of_a_webhook_that_never_ends_is_given_up(answer: Answer) -> None:
    with HostileServer(answer) as server:
        found, began = sink("webhook", server.port, timeout_s=1), time.monotonic()
        with pytest.raises(UnavailableError):
            deliver(found)
        assert time.monotonic() - began < 20
        found.close()


def test_only_the_beginning_of_a_webhooks_answer_is_read() -> None:
    with HostileServer(endless_body) as server:
        found = sink("webhook", server.port)
        deliver(found)
        assert server.sent < BUFFERS
        found.close()
