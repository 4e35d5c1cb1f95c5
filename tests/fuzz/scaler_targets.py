"""Targets that read what KEDA sends to the scaler: its messages, and all bytes of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

from h2.connection import H2Connection
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.grpc_server.connection import MAX_UNREAD_BYTES, GrpcConnection
from elastic_inference.adapters.grpc_server.flood_meter import FloodMeter
from elastic_inference.base.metrics import ScalerMetrics
from elastic_inference.domain.scaler_messages import (
    ScaledObjectRef,
    ScalerMessageError,
    metrics_request_message,
    parse_metrics_request,
    parse_scaled_object,
    scaled_object_message,
)
from tests.fuzz.target import Target

REFERENCE = ScaledObjectRef("ei-infer-people-app", "video", {"inferType": "people", "target": "0.8"})
PATH = "/externalscaler.ExternalScaler/IsActive"


def _message(data: bytes) -> None:
    reference = parse_scaled_object(data)
    assert parse_scaled_object(scaled_object_message(reference)) == reference
    asked = parse_metrics_request(metrics_request_message(reference, "m"))
    assert asked == (reference, "m")


class _Wire:
    """A transport that keeps nothing."""

    def __init__(self) -> None:
        self.closed = False
        self.written = 0

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += len(data)

    def get_write_buffer_size(self) -> int:
        return self.written

    def get_extra_info(self, _name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def _connection(data: bytes) -> None:
    """The first byte says in how many pieces the others arrive."""
    asyncio.run(_connected(data))


async def _connected(data: bytes) -> None:
    async def method(message: bytes) -> AsyncGenerator[bytes]:
        parse_scaled_object(message)
        yield b"\x08\x01"

    wire = _Wire()
    connection = GrpcConnection({PATH: method}, ScalerMetrics(CollectorRegistry()), FloodMeter(0.0), lambda: None)
    connection.connection_made(cast(asyncio.BaseTransport, wire))
    size = max(1, len(data) // (1 + data[0] % 8)) if data else 1
    for start in range(1, len(data), size):
        if not wire.closed:
            connection.data_received(data[start : start + size])
        await asyncio.sleep(0)
    assert wire.written < 2 * MAX_UNREAD_BYTES
    connection.connection_lost(None)
    assert connection.ended.is_set()
    await asyncio.sleep(0)


def _request(message: bytes, path: str = PATH, **changes: str) -> bytes:
    """All that a client sends for one call."""
    http = H2Connection()
    http.initiate_connection()
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
    given: Any = {**headers, "content-type": "application/grpc", **changes}
    http.send_headers(1, list(given.items()))
    http.send_data(1, b"\x00" + len(message).to_bytes(4, "big") + message, end_stream=True)
    return http.data_to_send()


def _connection_seeds() -> list[bytes]:
    good = _request(scaled_object_message(REFERENCE))
    return [
        *(b"\x00" + good, b"\x05" + good, b"\x00" + good + b"\x00\x00\x04\x03" + bytes(4) + b"\x01" + bytes(4)),
        *(b"\x00" + _request(b"", path="/x"), b"\x00" + _request(b"\xff", **{"content-type": "text/plain"})),
    ]


def _frames() -> st.SearchStrategy[bytes]:
    """After a good start, frames of any kind, with lengths that fit."""
    start = _request(b"")[:24] + bytes(3) + b"\x04" + bytes(5)
    frame = st.builds(
        lambda kind, flags, stream, body: len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream + body,
        st.integers(0, 11),
        st.integers(0, 255),
        st.sampled_from([bytes(4), b"\x00\x00\x00\x01", b"\x00\x00\x00\x03", b"\x7f\xff\xff\xff"]),
        st.binary(max_size=40),
    )
    return st.lists(frame, max_size=12).map(lambda frames: b"\x02" + start + b"".join(frames))


TARGETS = (
    Target(
        "scaler message",
        _message,
        (ScalerMessageError,),
        lambda: [scaled_object_message(REFERENCE), metrics_request_message(REFERENCE, "ei_scale_ratio")],
    ),
    Target("scaler connection", _connection, (), _connection_seeds, _frames),
)
