"""Places for connections, and the watch over writes that wait."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from elastic_inference.base.connections import (
    ONE_DASHBOARD,
    SPARE_FILES,
    ConnectionLimits,
    ConnectionTable,
    WriteWatch,
    fit_connections,
    has_closed,
)
from elastic_inference.base.forwarded import parse_networks
from elastic_inference.base.metrics import ConnectionMetrics


def table(total: int = 10, per_address: int = 2, trusted: tuple[str, ...] = ()) -> ConnectionTable:
    return ConnectionTable(ConnectionLimits(total, per_address), parse_networks(trusted))


def test_an_address_has_so_many_places_and_gets_them_back() -> None:
    places = table()
    first, second = places.enter("192.0.2.1"), places.enter("192.0.2.1")
    assert first is not None
    assert second is not None
    assert places.enter("192.0.2.1") is None
    assert places.enter("::ffff:192.0.2.1") is None, "the same address in the form of a socket for both families"
    assert places.enter("192.0.2.2") is not None
    first.release()
    first.release()
    assert len(places) == 2
    assert places.enter("192.0.2.1") is not None


def test_an_ipv6_network_counts_as_one_address() -> None:
    places = table()
    assert places.enter("2001:db8::1") is not None
    assert places.enter("2001:db8::2") is not None
    assert places.enter("2001:db8::3") is None
    assert places.enter("2001:db8:0:1::3") is not None


def test_a_full_table_says_so_once_and_tells_when_there_is_room(caplog: pytest.LogCaptureFixture) -> None:
    places = table(total=3, per_address=3)
    rooms: list[int] = []
    places.on_room = lambda: rooms.append(len(places))
    taken = [places.enter("192.0.2.9"), places.enter("192.0.2.9"), places.enter("192.0.2.1")]
    assert all(places.full for _ in range(100))
    (line,) = caplog.messages
    assert line.startswith(
        "all 3 connections are in use (MAX_CONNECTIONS), 2 of them by 192.0.2.9: further clients wait"
    )
    for each in taken:
        assert each is not None
        each.release()
    assert rooms == [2, 1, 0]
    assert not places.full


def test_behind_a_trusted_proxy_the_client_counts() -> None:
    places = table(trusted=("10.0.0.0/8",))
    proxied = [places.enter("10.0.0.1") for _ in range(4)]
    assert None not in proxied, "a proxy's connections are those of its clients"
    first, second, third, fourth = (each for each in proxied if each is not None)
    assert first.count_for("192.0.2.1")
    assert second.count_for("192.0.2.1")
    assert not third.count_for("192.0.2.1")
    assert third.count_for("192.0.2.2")
    # The same connection carries the next request, of another client.
    assert first.count_for(None)
    assert fourth.count_for("192.0.2.1")
    assert fourth.count_for("192.0.2.1")
    assert fourth.count_for("10.0.0.1"), "the proxy did not say who the client is"
    fourth.release()
    assert first.count_for("192.0.2.1")
    assert not third.count_for("192.0.2.1")


def test_a_direct_client_cannot_choose_its_address() -> None:
    places = table(trusted=("10.0.0.0/8",))
    place = places.enter("192.0.2.1")
    assert place is not None
    assert places.enter("192.0.2.1") is not None
    assert place.count_for("192.0.2.77")
    assert places.enter("192.0.2.1") is None


def test_connections_and_refusals_are_exported() -> None:
    registry = CollectorRegistry()
    places = ConnectionTable(ConnectionLimits(10, 1), (), ConnectionMetrics(registry))
    place = places.enter("192.0.2.1")
    assert place is not None
    assert places.enter("192.0.2.1") is None
    names = ("ei_connections", "ei_max_connections", "ei_connections_refused_total")
    assert [registry.get_sample_value(name) for name in names] == [1, 10, 1]
    place.release()
    assert registry.get_sample_value("ei_connections") == 0


class Client:
    """Something that writes."""

    def __init__(self, source_has_closed: bool = False) -> None:
        self.ended = False
        self._source_has_closed = source_has_closed

    def end_stalled(self) -> None:
        self.ended = True

    def source_closed(self) -> bool:
        return self._source_has_closed


def test_a_write_without_progress_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("elastic_inference.base.connections.time.monotonic", lambda: now)
    watch = WriteWatch()
    stuck, slow, done, orphan = Client(), Client(), Client(), Client(source_has_closed=True)
    for each in (stuck, slow, done, orphan):
        watch.waits(each, moved=False)
    now = 106.0
    watch.sweep()
    assert [each.ended for each in (stuck, slow, done, orphan)] == [False, False, False, True]
    now = 120.0
    watch.waits(stuck, moved=False)
    watch.waits(slow, moved=True)
    watch.ends(done)
    now = 131.0
    watch.sweep()
    assert [each.ended for each in (stuck, slow, done)] == [True, False, False]
    now = 151.0
    watch.sweep()
    assert slow.ended
    assert len(watch) == 0


def test_a_peer_that_has_closed_is_noticed_before_its_data_are_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as near:
        near.connect(server.getsockname())
        far, _ = server.accept()
        far.sendall(b"unread")
        assert not has_closed(near)
        far.close()
        assert has_closed(near)
    assert has_closed(near), "closed on our side"


@pytest.fixture
def own_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_limit_below_what_one_dashboard_needs_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert fit_connections(100, ONE_DASHBOARD) == ConnectionLimits(100, ONE_DASHBOARD)
    assert fit_connections(16, None) == ConnectionLimits(16, 8)
    assert not caplog.messages
    assert fit_connections(100, 1) == ConnectionLimits(100, 1), "it counts nevertheless"
    (said,) = caplog.messages
    assert said.startswith("MAX_CONNECTIONS_PER_ADDRESS=1 is too low for one dashboard")
    assert "at least 8" in said


def test_connections_fit_into_the_open_files(
    own_limit: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    assert fit_connections(400, None, 100) == ConnectionLimits(400, 200)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 400 + 100 + SPARE_FILES
    assert fit_connections(100, 30) == ConnectionLimits(100, 30)
    assert not caplog.messages
    # A smaller limit of the system could not be raised again: only told here.
    monkeypatch.setattr("elastic_inference.base.connections.resource.getrlimit", lambda _: (456, 456))
    assert fit_connections(4000, None) == ConnectionLimits(200, 100)
    assert fit_connections(4000, None, 50) == ConnectionLimits(150, 75)
    assert fit_connections(4000, None, 1000) == ConnectionLimits(100, 50)
    assert "MAX_CONNECTIONS=4000 needs 4256 open files, and the limit is 456: at most 200" in caplog.messages[0]
