"""Frames that would make `h2` keep megabytes are found by their first bytes, however the bytes arrive."""

from __future__ import annotations

import pytest
from h2.connection import H2Connection

from elastic_inference.adapters.grpc_server.frame_guard import MAX_FRAME_BYTES, FrameGuard

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, length: int, body: bytes | None = None) -> bytes:
    return length.to_bytes(3, "big") + bytes([kind]) + bytes(5) + (bytes(length) if body is None else body)


@pytest.mark.parametrize("step", [1, 7, 1_000_000])
def test_what_a_client_sends_passes(step: int) -> None:
    client = H2Connection()
    client.initiate_connection()
    client.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "x")])
    client.send_data(1, bytes(MAX_FRAME_BYTES), end_stream=True)
    data, guard = client.data_to_send(), FrameGuard()
    assert all(guard.accepts(data[start : start + step]) for start in range(0, len(data), step))


@pytest.mark.parametrize("step", [1, 7, 1_000_000])
@pytest.mark.parametrize("bad", [frame(0, MAX_FRAME_BYTES + 1, b""), frame(250, 0xFFFFFF, b""), frame(9, 0)])
def test_a_frame_that_is_too_large_or_continues_headers_does_not(bad: bytes, step: int) -> None:
    data, guard = PREFACE + frame(4, 0) + frame(0, 100) + bad, FrameGuard()
    accepted = [guard.accepts(data[start : start + step]) for start in range(0, len(data), step)]
    assert accepted == [True] * (len(accepted) - 1) + [False]
