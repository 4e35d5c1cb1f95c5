"""The health port speaks as much of HTTP/1.1 as probes, Prometheus and people's tools need."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from elastic_inference.base.health_http import MAX_HEAD_BYTES, BadHealthRequestError, read_request
from elastic_inference.base.lifecycle import HealthServer, Lifecycle


@pytest.fixture
def port() -> Iterator[int]:
    server = HealthServer(Lifecycle("test"), CollectorRegistry(), 0, "127.0.0.1")
    server.start()
    yield server.port
    server.close()


def exchange(port: int, request: bytes) -> bytes:
    """All that the server sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_connection_is_kept_for_further_requests(port: int) -> None:
    found = exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    assert found.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert found.count(b'"alive": true') == 3


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.0\r\n",
        b"GET /healthz HTTP/1.1\r\nConnection: Close\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: 5\r\n",
        b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_a_connection_is_closed_where_no_request_can_follow(port: int, head: bytes) -> None:
    found = exchange(port, head + b"\r\n" + b"GET /healthz HTTP/1.1\r\n\r\n")
    assert found.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close\r\n" in found


def test_the_response_to_head_has_no_body(port: int) -> None:
    head, _, body = exchange(port, b"HEAD /healthz HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: " in head
    assert body == b""


def test_other_methods_are_refused(port: int) -> None:
    assert exchange(port, b"POST /healthz HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize(
    "line", [b"", b"GET", b"GET /healthz", b"GET /healthz SMTP/1.0", b"GET / x HTTP/1.1", b"\x16\x03"]
)
def test_what_is_not_http_is_refused(port: int, line: bytes) -> None:
    found = exchange(port, line + b"\r\nHost: x\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_head_is_limited() -> None:
    with pytest.raises(BadHealthRequestError) as caught:
        read_request(io.BytesIO(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES))
    assert caught.value.status == 431
    endless = io.BytesIO(b"\r\n" * MAX_HEAD_BYTES)
    with pytest.raises(BadHealthRequestError):
        read_request(endless)
    assert endless.tell() <= MAX_HEAD_BYTES


def test_a_client_that_leaves_within_a_head_is_no_request() -> None:
    assert read_request(io.BytesIO(b"")) is None
    assert read_request(io.BytesIO(b"GET / HTTP/1.1\r\nHost")) is None


def test_names_of_headers_are_read_in_any_case() -> None:
    request = read_request(io.BytesIO(b"\r\nGET /metrics?x=1 HTTP/1.1\r\nACCEPT:  text/plain \r\n\r\n"))
    assert request is not None
    assert (request.method, request.path, request.headers, request.keep) == (
        *("GET", "/metrics", {"accept": "text/plain"}, True),
    )
