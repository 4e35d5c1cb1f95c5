"""What one client of the scaler may take: others keep their calls, and Redis and the memory their room."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import redis
from h2.connection import H2Connection
from h2.events import Event, ResponseReceived, TrailersReceived

from elastic_inference.domain import keys
from elastic_inference.domain.scaler_messages import SERVICE, scaled_object_message
from tests.integration.scaler.conftest import Start
from tests.support.scaler import KedaClient, reference, states
from tests.support.waiting import wait_for

CONNECTION = "elastic_inference.adapters.grpc_server.connection"


class RawClient:
    """A client from another address that completes its requests or not."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket, self._http = opened, H2Connection()
        self._http.initiate_connection()
        self.statuses: list[str] = []
        opened.settimeout(0.05)

    def open_call(self, method: str, message: bytes, *, ends: bool) -> None:
        """Begins a call."""
        number = self._http.get_next_available_stream_id()
        headers = {":method": "POST", ":scheme": "http", ":path": f"/{SERVICE}/{method}", ":authority": "x"}
        self._http.send_headers(number, [*headers.items(), ("content-type", "application/grpc")])
        while self._http.local_flow_control_window(number) < len(message) + 5:
            self.read()
        prefix = b"\0" + len(message).to_bytes(4, "big")
        self._http.send_data(number, prefix + message if ends else prefix + message[:-1], end_stream=ends)
        self._socket.settimeout(20)
        self._socket.sendall(self._http.data_to_send())
        self._socket.settimeout(0.05)

    def read(self) -> int:
        """Reads what has come; returns how many calls have ended so far."""
        with suppress(TimeoutError):
            while data := self._socket.recv(65536):
                for event in self._http.receive_data(data):
                    self._note(event)
        self._socket.sendall(self._http.data_to_send())
        return len(self.statuses)

    def _note(self, event: Event) -> None:
        if isinstance(event, (ResponseReceived, TrailersReceived)):
            headers = {bytes(name): bytes(value) for name, value in event.headers or ()}
            if status := headers.get(b"grpc-status"):
                self.statuses.append(status.decode())


@contextmanager
def stranger(port: int) -> Iterator[RawClient]:
    with socket.create_connection(("127.0.0.1", port), 20, source_address=("127.0.0.2", 0)) as opened:
        yield RawClient(opened)


def test_unfinished_requests_have_a_limit(start: Start) -> None:
    service, port = start()
    with KedaClient(port) as keda, stranger(port) as client:
        for _ in range(60):
            client.open_call("IsActive", b"x" * 10_000, ends=False)
        # 256 kB may be unfinished.
        wait_for(lambda: client.read() >= 34, 20, "the end of those that are too many")
        assert set(client.statuses) == {"8"}
        assert len(client.statuses) < 40
        assert keda.is_active() is False
        # Its connection goes on.
        client.open_call("IsActive", scaled_object_message(reference()), ends=True)
        wait_for(lambda: "0" in client.statuses or client.read() < 0, 20, "an answer")
    assert "Traceback" not in service.log()


def test_requests_that_do_not_end_in_time_are_given_up(start: Start) -> None:
    limits = {f"{CONNECTION}.REQUEST_S": 1.0, f"{CONNECTION}.HELLO_S": 2.0, f"{CONNECTION}.PING_EVERY_S": 1.0}
    _, port = start(constants=limits)
    with stranger(port) as client:
        for _ in range(5):
            client.open_call("IsActive", b"x" * 100, ends=False)
        wait_for(lambda: client.read() == 5, 20, "their end")
        assert set(client.statuses) == {"4"}


def test_one_address_leaves_calls_to_others(start: Start) -> None:
    service, port = start(constants={f"{CONNECTION}.CALLS_PER_ADDRESS": 20})
    with KedaClient(port) as keda, stranger(port) as client:
        for number in range(30):
            client.open_call("StreamIsActive", scaled_object_message(reference(f"kind-{number}")), ends=True)
        wait_for(lambda: client.read() == 10, 20, "the refusals")
        assert set(client.statuses) == {"8"}
        call = keda.stream()
        assert next(states(call)) is False
        wait_for(lambda: service.metric("ei_scaler_streams") == 21, 20, "the streams")
    wait_for(lambda: service.metric("ei_scaler_streams") == 0, 20, "their end")
    with stranger(port) as client:
        client.open_call("StreamIsActive", scaled_object_message(reference()), ends=True)
        wait_for(lambda: service.metric("ei_scaler_streams") == 1, 20, "a stream of the same address")


def test_many_questions_at_once_take_few_connections_to_redis(start: Start, client: redis.Redis) -> None:
    _, port = start()
    most = before = client.info("clients")["connected_clients"]
    with stranger(port) as asking, ThreadPoolExecutor(1) as beside:
        for _ in range(300):
            asking.open_call("IsActive", scaled_object_message(reference()), ends=True)
        answered = beside.submit(lambda: wait_for(lambda: asking.read() == 300, 30, "the answers"))
        while not answered.done():
            most = max(most, client.info("clients")["connected_clients"])
        answered.result()
        most = max(most, client.info("clients")["connected_clients"])
    assert set(asking.statuses) == {"0"}
    assert most - before < 20


def test_a_foreign_key_in_place_of_one_queue_silences_no_other(start: Start, client: redis.Redis) -> None:
    _, port = start()
    with KedaClient(port) as keda:
        cars, people = states(keda.stream("car")), states(keda.stream("people"))
        assert (next(cars), next(people)) == (False, False)
        # A type that housekeeping does not serve yet: a camera's login may write both keys.
        client.set(keys.tokens("car"), "a text", px=10_000)
        client.rpush(keys.tokens("people"), "gate")
        assert next(people) is True
        assert keda.is_active("car") is False
