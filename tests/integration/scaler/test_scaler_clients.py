"""Clients of the scaler that do wrong: a clear error, or the end of their connection; others notice nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import grpc
import pytest

from elastic_inference.adapters.grpc_server.server import LIMITS
from elastic_inference.domain.scaler_messages import ScaledObjectRef, scaled_object_message
from tests.integration.scaler.conftest import Start
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.scaler import KedaClient, reference, states
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)


@pytest.fixture
def served(start: Start) -> Iterator[tuple[ServiceProcess, int, KedaClient]]:
    service, port = start()
    with KedaClient(port) as keda:
        assert keda.is_active() is False
        yield service, port, keda


def refusal(call: Any, *arguments: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        call(*arguments)
    return refused.value.code(), str(refused.value.details())


def test_requests_that_ask_for_nonsense_get_a_clear_error(served: tuple[ServiceProcess, int, KedaClient]) -> None:
    service, _, keda = served
    code = grpc.StatusCode
    nobody = scaled_object_message(ScaledObjectRef("x", "video"))
    status, text = refusal(keda.call, "IsActive", nobody)
    assert (status, "inferType" in text) == (code.INVALID_ARGUMENT, True)
    assert refusal(keda.is_active, "../queue")[0] is code.INVALID_ARGUMENT
    for target in ("0", "-1", "nan", "inf", "many", ""):
        status, text = refusal(keda.target, "people", target)
        assert (status, "such as 0.8" in text) == (code.INVALID_ARGUMENT, True)
    assert refusal(keda.value, "people", "s0-cpu")[0] is code.INVALID_ARGUMENT
    status, text = refusal(keda.call, "IsActive", b"\xff\xff")
    assert (status, "cannot be read" in text) == (code.INVALID_ARGUMENT, True)
    # Optional in KEDA, which stops asking after this answer.
    assert refusal(keda.call, "StreamMetricSpec", b"")[0] is code.UNIMPLEMENTED
    assert refusal(keda.call, "IsActive", bytes(20_000))[0] is code.RESOURCE_EXHAUSTED
    call = keda.channel.unary_stream("/externalscaler.ExternalScaler/StreamIsActive")(nobody)
    assert refusal(next, call)[0] is code.INVALID_ARGUMENT
    assert keda.is_active() is False, "the same connection goes on"
    counted = service.metrics()
    assert counted['ei_scaler_requests_total{method="other",status="UNIMPLEMENTED"}'] == 1
    assert counted['ei_scaler_requests_total{method="GetMetricSpec",status="INVALID_ARGUMENT"}'] == 6
    assert counted['ei_scaler_requests_total{method="other",status="RESOURCE_EXHAUSTED"}'] == 1
    assert "Traceback" not in service.log()


def test_a_client_that_breaks_http2_or_floods_loses_its_connection(
    served: tuple[ServiceProcess, int, KedaClient],
) -> None:
    service, port, keda = served
    said = states(keda.stream())
    assert next(said) is False
    ping, unknown = (b"\x00\x00\x08" + kind + bytes(5) + bytes(8) for kind in (b"\x06", b"\xfa"))
    for reason, data in (
        ("protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("protocol", PREFACE + b"\xff" * 4096),
        ("flood", PREFACE + unknown * 200_000),
        ("flood", PREFACE + ping * 10),  # the address has sent too much
    ):
        loses_its_connection(service, port, reason, data)
    assert next(states(keda.stream())) is False, "the connection of a client that sends little goes on"
    wait_for(lambda: service.metrics()["ei_connections"] == 1, 20, "closed connections")
    assert "Traceback" not in service.log()


def loses_its_connection(service: ServiceProcess, port: int, reason: str, data: bytes) -> None:
    closed = f'ei_scaler_connections_closed_total{{reason="{reason}"}}'
    before = service.metrics()[closed]
    with socket.create_connection(("127.0.0.1", port), 20) as raw:
        try:
            raw.sendall(data)
            while raw.recv(65536):
                pass
        except ConnectionError:
            pass  # closed while this side still writes
    wait_for(lambda: service.metrics()[closed] == before + 1, 20, reason)


def test_a_client_that_reads_no_answers_loses_its_connection(start: Start) -> None:
    service, port = start(constants={"elastic_inference.adapters.grpc_server.flood_meter.FLOOD_FRAMES": 10**6})
    # It reads nothing while it writes.
    loses_its_connection(service, port, "slow", PREFACE + (b"\x00\x00\x08\x06" + bytes(5) + bytes(8)) * 100_000)


def test_many_connections_that_flood_together_do_not_stop_housekeeping(
    served: tuple[ServiceProcess, int, KedaClient],
) -> None:
    """Each is within what one connection may send."""
    service, port, keda = served
    ping = b"\x00\x00\x08\x06" + bytes(5) + bytes(8)
    closed = 'ei_scaler_connections_closed_total{reason="flood"}'
    with ExitStack() as opened:
        clients = [opened.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(20)]
        for each in clients:
            with suppress(ConnectionError):
                each.sendall(PREFACE + ping * 4_000)
        wait_for(lambda: service.metrics()[closed] >= 10, 20, "the end of those that send")
        assert keda.is_active() is False


def test_one_address_gets_no_more_than_its_connections(start: Start) -> None:
    service, port = start(constants={"elastic_inference.adapters.grpc_server.connection.HELLO_S": 3.0})
    with ExitStack() as opened:
        keda = opened.enter_context(KedaClient(port))
        assert keda.is_active() is False
        for _ in range(LIMITS.per_address - 1):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        wait_for(lambda: service.metrics()["ei_connections"] == LIMITS.per_address, 20, "the connections")
        refused = opened.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        assert refused.recv(100) == b""
        assert service.metrics()["ei_connections_refused_total"] == 1
        assert keda.is_active() is False
        # They say nothing, so they end, and a client that speaks takes their place.
        closed = 'ei_scaler_connections_closed_total{reason="silent"}'
        wait_for(lambda: service.metrics()[closed] == LIMITS.per_address - 1, 30, "the silent ones")


def test_requests_whose_client_leaves_are_forgotten(served: tuple[ServiceProcess, int, KedaClient]) -> None:
    service, port, _ = served
    with KedaClient(port) as other:
        calls = [other.stream(f"kind-{number}") for number in range(20)]
        for call in calls:
            assert next(states(call)) is False
        assert service.metric("ei_scaler_streams") == 20
        for call in calls[:10]:
            call.cancel()
        wait_for(lambda: service.metric("ei_scaler_streams") == 10, 20, "streams that were cancelled")
    wait_for(lambda: service.metric("ei_scaler_streams") == 0, 20, "streams of a closed connection")
    assert "Traceback" not in service.log()


def test_a_header_that_is_too_long_is_refused(served: tuple[ServiceProcess, int, KedaClient]) -> None:
    service, port, keda = served
    with KedaClient(port) as other:
        method = other.channel.unary_unary("/externalscaler.ExternalScaler/IsActive")
        with pytest.raises(grpc.RpcError):
            method(scaled_object_message(reference()), metadata=(("x-long", "x" * 60_000),), timeout=20)
    assert keda.is_active() is False
    assert "Traceback" not in service.log()


def test_tls_with_certificates_of_clients(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tls")
    authority, strangers = Authority(folder, "ours"), Authority(folder, "theirs")
    cert, key = authority.write("server", "localhost")
    service, port = start(SCALER_TLS_CERT=str(cert), SCALER_TLS_KEY=str(key), SCALER_CLIENT_CA=str(authority.ca_file))

    def credentials(issuer: Authority, name: str) -> grpc.ChannelCredentials:
        own_cert, own_key = issuer.write(name, "keda")
        return grpc.ssl_channel_credentials(authority.ca_file.read_bytes(), own_key.read_bytes(), own_cert.read_bytes())

    with KedaClient(port, credentials(authority, "keda")) as keda:
        assert keda.is_active() is False
    unknown = scaled_object_message(reference())
    for given in (credentials(strangers, "stranger"), grpc.ssl_channel_credentials(authority.ca_file.read_bytes())):
        with KedaClient(port, given) as stranger:
            method = stranger.channel.unary_unary("/externalscaler.ExternalScaler/IsActive")
            assert refusal(lambda m=method: m(unknown, timeout=20))[0] is grpc.StatusCode.UNAVAILABLE
    with socket.create_connection(("127.0.0.1", port), 20) as plain:
        plain.sendall(PREFACE)
        assert plain.recv(100)[:1] in (b"", b"\x15"), "an alert of TLS, or nothing"
    assert service.metrics()['ei_scaler_connections_closed_total{reason="tls"}'] >= 1
    # A renewed certificate is used without a restart.
    renewed, renewed_key = authority.write("server", "localhost")
    assert (renewed, renewed_key) == (cert, key)
    with KedaClient(port, credentials(authority, "keda")) as keda:
        assert keda.is_active() is False
    assert "Traceback" not in service.log()


def test_wrong_settings_stop_the_start(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        with pytest.raises(AssertionError, match=r"(?s)ended with 2: .*SCALER_PORT"):
            start(SCALER_PORT=str(taken.getsockname()[1]))
    with pytest.raises(AssertionError, match=r"(?s)ended with 2: .*SCALER_TLS_CERT"):
        start(SCALER_TLS_KEY="/etc/hostname")
    with pytest.raises(AssertionError, match=r"(?s)ended with 2: .*SCALER_TLS_CERT"):
        start(SCALER_TLS_CERT="/etc/hostname", SCALER_TLS_KEY="/etc/hostname")
