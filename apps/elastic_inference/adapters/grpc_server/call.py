"""gRPC's forms: a call's status, the prefix of a message, and the header fields. Pure.

Used by `connection`. The forms are those of gRPC over HTTP/2.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Callable, Mapping
from enum import IntEnum

# The limit for a request message, in bytes; those of KEDA are a few hundred.
MAX_MESSAGE_BYTES = 16 * 1024
PREFIX = struct.Struct(">BI")
_MAX_TEXT = 300
_FIELDS, _MAX_FIELD = (b":method", b":path", b"content-type"), 256
Headers = list[tuple[bytes, bytes]]


class GrpcStatus(IntEnum):
    """How a call ended; gRPC's numbers."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class CallError(Exception):
    """Ends a call with a status and a sentence for the client."""

    def __init__(self, status: GrpcStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


# Gets the request message, yields the messages of the response, and may raise CallError.
Method = Callable[[bytes], AsyncGenerator[bytes]]


def add_prefix(message: bytes) -> bytes:
    """A message as it is sent: not compressed, with its length before it."""
    return PREFIX.pack(0, len(message)) + message


def read_message(data: bytes) -> bytes:
    """The message of a request that has just one. Raises CallError."""
    if len(data) < PREFIX.size:
        raise CallError(GrpcStatus.INTERNAL, "expected a message, the request has none")
    compressed, length = PREFIX.unpack_from(data)
    if compressed:
        raise CallError(GrpcStatus.UNIMPLEMENTED, "expected a message that is not compressed")
    if length != len(data) - PREFIX.size:
        raise CallError(GrpcStatus.INTERNAL, f"expected one message of {length} bytes, got {len(data) - PREFIX.size}")
    return data[PREFIX.size :]


def read_headers(headers: Headers) -> dict[bytes, bytes]:
    """The fields of a request that count, cut to what a valid one has."""
    return {name: value[:_MAX_FIELD] for name, value in headers if name in _FIELDS}


def read_path(headers: Mapping[bytes, bytes]) -> str:
    """The method that a request asks for: `/<service>/<name>`. Raises CallError for a request that is not gRPC."""
    kind = headers.get(b"content-type", b"")
    if headers.get(b":method") != b"POST" or not kind.startswith(b"application/grpc"):
        raise CallError(GrpcStatus.UNIMPLEMENTED, "expected a POST of the content type application/grpc")
    return headers.get(b":path", b"").decode("ascii", "replace")


def response_headers() -> Headers:
    """The header fields before the first message."""
    return [(b":status", b"200"), (b"content-type", b"application/grpc")]


def trailers(status: GrpcStatus, text: str = "") -> Headers:
    """The header fields after the last message."""
    found = [(b"grpc-status", str(int(status)).encode())]
    if text:
        found.append((b"grpc-message", _percent_encoded(text[:_MAX_TEXT])))
    return found


def _percent_encoded(text: str) -> bytes:
    """All of ASCII that can be printed stays, except for `%`."""
    return b"".join(
        bytes([each]) if 0x20 <= each <= 0x7E and each != 0x25 else b"%%%02X" % each for each in text.encode()
    )
