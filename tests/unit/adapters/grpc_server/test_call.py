"""gRPC's forms."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.grpc_server.call import (
    CallError,
    GrpcStatus,
    add_prefix,
    read_message,
    read_path,
    trailers,
)

GOOD = {b":method": b"POST", b":path": b"/a.B/C", b"content-type": b"application/grpc+proto"}


def test_a_message_comes_back_as_it_was_sent() -> None:
    assert read_message(add_prefix(b"hello")) == b"hello"
    assert read_message(add_prefix(b"")) == b""
    assert read_path(GOOD) == "/a.B/C"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", GrpcStatus.INTERNAL),
        (b"\0\0\0\0", GrpcStatus.INTERNAL),
        (add_prefix(b"hello")[:-1], GrpcStatus.INTERNAL),
        (add_prefix(b"one") + add_prefix(b"two"), GrpcStatus.INTERNAL),
        (b"\1" + add_prefix(b"hello")[1:], GrpcStatus.UNIMPLEMENTED),
    ],
)
def test_other_requests_are_refused(data: bytes, status: GrpcStatus) -> None:
    with pytest.raises(CallError) as refused:
        read_message(data)
    assert refused.value.status is status


@pytest.mark.parametrize("change", [{b":method": b"GET"}, {b"content-type": b"application/json"}])
def test_what_is_not_grpc_is_refused(change: dict[bytes, bytes]) -> None:
    with pytest.raises(CallError, match="POST"):
        read_path({**GOOD, **change})


def test_a_reason_is_cut_and_escaped() -> None:
    assert trailers(GrpcStatus.OK) == [(b"grpc-status", b"0")]
    assert trailers(GrpcStatus.INTERNAL, "100 % – ok\n") == [
        (b"grpc-status", b"13"),
        (b"grpc-message", b"100 %25 %E2%80%93 ok%0A"),
    ]
    assert len(trailers(GrpcStatus.INTERNAL, "x" * 5000)[1][1]) == 300
