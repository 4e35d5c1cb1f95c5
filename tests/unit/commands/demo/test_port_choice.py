"""The demo's ports: free ones, and different ones for two demos that start at the same time."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.support.ports import free_port

from elastic_inference.commands.demo.port_choice import PortChoice
from elastic_inference.domain.errors import ElasticInferenceError


@pytest.fixture
def ports() -> Iterator[PortChoice]:
    found = PortChoice()
    yield found
    found.close()


def test_two_demos_get_different_ports_before_either_has_opened_one(ports: PortChoice) -> None:
    usual, other = free_port(), PortChoice()
    try:
        first, second = (each.choose(None, usual, "127.0.0.1", "--port") for each in (ports, other))
        assert first != second
        with pytest.raises(ElasticInferenceError, match=f"Port {first} is in use: choose another with --port"):
            other.choose(first, usual, "127.0.0.1", "--port")
    finally:
        other.close()
    ports.close()
    assert other.choose(first, usual, "127.0.0.1", "--port") == first
    other.close()


def test_a_port_asked_for_must_be_free(ports: PortChoice) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ElasticInferenceError, match=f"Port {port} is in use"):
            ports.choose(port, 1, "127.0.0.1", "--port")
        assert ports.choose(None, port, "127.0.0.1", "--port") != port


@pytest.mark.parametrize("host", ["203.0.113.99", "192.168..1", "redis://x"])
def test_a_host_that_is_not_this_machine_is_not_reported_as_a_port_in_use(ports: PortChoice, host: str) -> None:
    with pytest.raises(ElasticInferenceError, match="expected an address of this machine"):
        ports.choose(31002, 1, host, "--port")
    with pytest.raises(ElasticInferenceError, match="expected an address of this machine"):
        ports.choose(None, 31002, host, "--port")
