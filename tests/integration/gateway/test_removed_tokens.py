"""A token that is removed while its client reads nothing: events, lists and live video end as soon as for others."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.base.connections import WRITE_STALL_S
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.pool import Streams
from elastic_inference.flows.gateway.access import Access
from elastic_inference.flows.gateway.pool_state import PoolState
from tests.support.gateway import JPEG, RunningGateway, a_result, write_tokens
from tests.support.waiting import wait_for

WALL = "the-token-of-the-wall"
# Lists of these names are larger than what the kernel keeps for a client.
NAMES = [f"gate-{'camera' * 18}-{number}" for number in range(300)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.json"
    write_tokens(path, {"name": "wall", "role": "viewer", "token": WALL, "cameras": ["gate-*"]})
    return path


@pytest.fixture
def publish(client: redis.Redis) -> Callable[[], None]:
    """Publishes a result of every stream."""
    publisher = ResultPublisher(client, "people", "pod-1", 100)
    orders = iter(range(1, 1_000_000))

    def publish() -> None:
        order = next(orders)
        publisher.publish([(a_result(order, name), JPEG) for name in NAMES])

    return publish


@contextmanager
def silent_client(gateway: RunningGateway, path: str) -> Iterator[socket.socket]:
    """Asks for a path and reads nothing."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", gateway.port))
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {WALL}\r\n\r\n".encode())
        yield raw


def is_stalled(raw: socket.socket) -> bool:
    """Whether the beginning of a long list has arrived: its end can't, since nobody reads."""
    return len(raw.recv(4096, socket.MSG_PEEK)) > 1500


def test_events_and_lists_that_nobody_reads_end(
    valkey: EmbeddedValkey, file: Path, publish: Callable[[], None]
) -> None:
    publish()
    with (
        RunningGateway(valkey.url, GATEWAY_TOKENS_FILE=str(file)) as gateway,
        silent_client(gateway, "/api/events") as events,
        silent_client(gateway, "/api/streams") as streams,
    ):
        wait_for(lambda: is_stalled(events) and is_stalled(streams), what="the lists")
        write_tokens(file)
        wait_for(lambda: gateway.metric("ei_connections") == 0, WRITE_STALL_S / 2, "the end of both connections")
        assert gateway.metric("ei_gateway_event_clients") == 0


def test_a_list_that_was_being_made_is_not_sent(
    valkey: EmbeddedValkey, file: Path, publish: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    asked, removed = threading.Event(), threading.Event()
    streams = PoolState.streams

    async def late(state: PoolState, access: Access) -> Streams:
        found = await streams(state, access)
        asked.set()
        while not removed.is_set():
            await asyncio.sleep(0.02)
        return found

    monkeypatch.setattr(PoolState, "streams", late)
    answers: list[int] = []
    with RunningGateway(valkey.url, GATEWAY_TOKENS_FILE=str(file)) as gateway:
        login = {"Authorization": f"Bearer {WALL}"}
        asking = threading.Thread(target=lambda: answers.append(gateway.ask("/api/streams", **login).status))
        asking.start()
        assert asked.wait(20)
        write_tokens(file)
        wait_for(lambda: gateway.ask("/api/openapi.json", **login).status == 401, what="the removal", every_s=0.2)
        removed.set()
        asking.join()
    assert answers == [401]
