"""Clients and links whose keys lie in many slots, against a real cluster: slots that move, servers that stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis

from elastic_inference.adapters.redis_cluster import SlotFinder, slot_of
from elastic_inference.adapters.redis_connection import REDIS_ERRORS, connect, connect_async
from elastic_inference.adapters.redis_spread import SpreadClient, open_link, read_streams
from elastic_inference.adapters.redis_spread_async import AsyncSpreadClient
from elastic_inference.base.config import RedisTarget, Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.flows.relay.sharded_feed import ShardedFeed
from tests.support.redis_servers import cluster, owner_of
from tests.support.waiting import wait_for, wait_for_async

KEYS = [f"key-{number}" for number in range(20)]
CHANNELS = [f"cam-{number}:people:inferred" for number in range(12)]


@pytest.fixture
def nodes() -> Iterator[list[EmbeddedValkey]]:
    with cluster(3) as servers:
        yield servers


def target(servers: Sequence[EmbeddedValkey]) -> RedisTarget:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return RedisTarget(url=Secret(f"redis+cluster://{hosts}"))


def move_slot(servers: Sequence[EmbeddedValkey], key: str) -> None:
    """Gives the (empty) slot of a key to the next server."""
    giver = owner_of(servers, key)
    taker = servers[(servers.index(giver) + 1) % len(servers)]
    with redis.Redis(port=taker.port) as client:
        name = client.execute_command("CLUSTER", "MYID")
    # The taker first: it makes the change known under a newer epoch.
    for server in (taker, *(each for each in servers if each is not taker)):
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER", "SETSLOT", slot_of(key), "NODE", name)
    for server in servers:
        wait_for(lambda server=server: _knows(server, key, taker), 60, "the move")


def _knows(server: EmbeddedValkey, key: str, taker: EmbeddedValkey) -> bool:
    table = SlotFinder([("127.0.0.1", server.port)], {}).find()
    return table.owner(slot_of(key))[1] == taker.port


def test_commands_of_many_slots_are_answered_in_order(nodes: list[EmbeddedValkey]) -> None:
    client = connect(target(nodes), name="ei-test")
    assert isinstance(client, SpreadClient)
    link = open_link(client)
    assert link.exchange([("SET", key, index) for index, key in enumerate(KEYS)]) == [b"OK"] * len(KEYS)
    assert link.exchange([("GET", key) for key in KEYS]) == [b"%d" % index for index in range(len(KEYS))]
    assert len({owner_of(nodes, key).port for key in KEYS}) == 3
    replies = link.exchange([("SET", KEYS[0], b"x" * 20_000), ("LPUSH", KEYS[0], 1), ("GET", KEYS[1]), ("TIME",)])
    assert isinstance(replies[1], redis.ResponseError)
    assert replies[2] == b"1"
    text = "return redis.call('GET', KEYS[1])"
    (sha,) = link.exchange([("SCRIPT", "LOAD", text)])
    assert link.exchange([("EVALSHA", sha, 1, key) for key in KEYS[1:]]) == [b"%d" % n for n in range(1, len(KEYS))]
    pipe = client.pipeline(transaction=False)
    for key in KEYS[1:]:
        pipe.get(key)
        pipe.lpush(key, 1)
    found = pipe.execute(raise_on_error=False)
    assert found[::2] == [b"%d" % number for number in range(1, len(KEYS))]
    assert all(isinstance(each, redis.ResponseError) for each in found[1::2])
    with pytest.raises(redis.ResponseError):
        client.lpush(KEYS[1], 1)
    with pytest.raises(ValueError, match="transaction=False"):
        client.pipeline()
    streams = {f"results:{{{number}}}": "0-0" for number in range(4)}
    assert read_streams(link, streams, 10, 20) == []
    client.xadd("results:{2}", {"json": "x"})
    ((name, rows),) = read_streams(link, streams, 10, 20)
    assert (name, len(rows)) == (b"results:{2}", 1)
    assert [name for name, _ in client.xread(streams, count=10, block=20)] == [b"results:{2}"]
    link.close()
    client.close()


def test_a_slot_that_moves_is_found_again(nodes: list[EmbeddedValkey]) -> None:
    where = target(nodes)
    link, client = open_link(connect(where)), connect(where)

    async def check() -> None:
        later = connect_async(where)
        assert isinstance(later, AsyncSpreadClient)
        commands = later.pipeline(transaction=False).exists("a").exists("b").exists("c")
        assert await commands.execute() == [0, 0, 0]
        link.exchange([("EXISTS", key) for key in "abc"])
        client.exists("a")
        move_slot(nodes, "a")
        with pytest.raises(REDIS_ERRORS):
            link.exchange([("EXISTS", key) for key in "abc"])
        with pytest.raises(REDIS_ERRORS):
            client.exists("a")
        with pytest.raises(REDIS_ERRORS):
            await later.exists("a")
        assert link.exchange([("SET", "a", "1"), ("EXISTS", "b")]) == [b"OK", 0]
        assert client.exists("a")
        assert await later.exists("a")
        await later.aclose()

    asyncio.run(check())
    link.close()
    client.close()


def test_masters_alone_go_on_once_the_dead_one_is_back(nodes: list[EmbeddedValkey]) -> None:
    where = target(nodes)
    link, client = open_link(connect(where)), connect(where)
    link.exchange([("SET", key, "1") for key in KEYS])
    dead = owner_of(nodes, KEYS[0])
    left = [key for key in KEYS if owner_of(nodes, key) is not dead]
    dead.kill()
    for value in "23":
        with pytest.raises(REDIS_ERRORS):
            link.exchange([("SET", KEYS[0], value), *(("SET", key, value) for key in left)])
    with pytest.raises(REDIS_ERRORS):
        client.get(KEYS[0])
    # What first met the dead server may have been sent to the others. From then on, nothing is sent to some of them.
    living = connect(where)
    assert all(_get(living, key) in (b"1", b"2", None) for key in left)
    dead.start()

    def works() -> bool:
        try:
            replies = link.exchange([("SET", key, "4") for key in KEYS])
        except REDIS_ERRORS:
            return False
        return replies == [b"OK"] * len(KEYS)

    wait_for(works, 60, "the node that is back")
    wait_for(lambda: _get(client, KEYS[0]) == b"4", 60, "the other client")
    for each in (link, client, living):
        each.close()


def _get(client: redis.Redis, key: str) -> Any:
    try:
        return client.get(key)
    except REDIS_ERRORS:
        return None


class Listener:
    def __init__(self) -> None:
        self.got: dict[bytes, int] = {}

    def on_message(self, channel: bytes, message: bytes) -> None:
        self.got[channel] = int(message)

    def on_read(self, *, drained: bool) -> None:
        pass


def test_a_feed_follows_a_slot_that_moves(nodes: list[EmbeddedValkey]) -> None:
    where = target(nodes)
    publishing = open_link(connect(where))
    listener = Listener()

    def publish(number: int) -> bool:
        """Publishes this on every channel; whether the listener has got it on each but the last."""
        try:
            publishing.exchange([("PUBLISH", channel, number) for channel in CHANNELS])
        except REDIS_ERRORS:
            return False
        return all(listener.got.get(channel.encode()) == number for channel in CHANNELS[:-1])

    async def check() -> None:
        client = connect_async(where)
        assert isinstance(client, AsyncSpreadClient)
        reports: list[Exception | None] = []
        feed = ShardedFeed(client, listener, reports.append)
        for channel in CHANNELS[:4]:
            feed.subscribe(channel)
        running = asyncio.create_task(feed.run())
        await wait_for_async(lambda: feed.connected, 60, "the feed")
        for channel in CHANNELS[4:]:
            feed.subscribe(channel)
        feed.unsubscribe(CHANNELS[-1])
        feed.subscribe(CHANNELS[-1])
        feed.unsubscribe(CHANNELS[-1])
        await wait_for_async(lambda: publish(1), 60, "messages of all channels")
        # Its own unsubscribing is not taken for a slot that has moved.
        assert not any("moved" in str(each) for each in reports)
        await asyncio.to_thread(move_slot, nodes, CHANNELS[0])
        await wait_for_async(lambda: publish(2), 60, "messages of all channels after the move")
        assert CHANNELS[-1].encode() not in listener.got
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.aclose()

    asyncio.run(check())
    publishing.close()
