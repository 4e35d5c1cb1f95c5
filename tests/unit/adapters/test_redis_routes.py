"""Which server of a cluster a command of the broker goes to."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from elastic_inference.adapters.redis_cluster import SlotTable, slot_of
from elastic_inference.adapters.redis_routes import join, parts
from elastic_inference.domain import keys

ADDRESSES = [("a", 1), ("b", 2), ("c", 3)]
TABLE = SlotTable([(0, 5000, "a", 1), (5001, 10_000, "b", 2), (10_001, 16_383, "c", 3)])
CHANNELS = [f"cam-{number}:people:inferred" for number in range(9)]


def owner(key: str) -> tuple[str, int]:
    return TABLE.owner(slot_of(key))


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("HSET", "stream:x", "fps", 1), "stream:x"),
        (("EVALSHA", "0" * 40, 2, "events:{3}", "events:{3}:state", 1), "events:{3}"),
        (("XREAD", "COUNT", 5, "STREAMS", "results:{7}", "0-0"), "results:{7}"),
        (("XREAD", b"COUNT", b"5", b"STREAMS", "results:{7}", "0-0"), "results:{7}"),
        (("MEMORY USAGE", "{events}:leases", "SAMPLES", 0), "{events}:leases"),
        (("MEMORY", "USAGE", "{events}:leases"), "{events}:leases"),
        (("BLPOP", "{snapshots}:requests:pod", 1), "{snapshots}:requests:pod"),
        (("TIME",), keys.STREAMS),
        (("INFO", "memory"), keys.STREAMS),
        (("UNLINK", b"dead:\xff"), "dead:x"),
    ],
)
def test_a_command_goes_to_the_server_of_its_key(command: tuple[Any, ...], key: str) -> None:
    expected = TABLE.owner(slot_of(command[1])) if command[0] == "UNLINK" else owner(key)
    assert parts(command, TABLE) == [(expected, command)]


def test_messages_are_sharded_and_go_to_the_server_of_their_channel() -> None:
    for channel in CHANNELS:
        assert parts(("PUBLISH", channel, b"x"), TABLE) == [(owner(channel), ("SPUBLISH", channel, b"x"))]


def test_subscribers_are_counted_at_each_channels_server_and_answered_in_the_order_asked() -> None:
    question = ("PUBSUB", "NUMSUB", *CHANNELS)
    asked = parts(question, TABLE)
    assert [address for address, _ in asked] == list(dict.fromkeys(map(owner, CHANNELS)))
    replies: list[Any] = []
    for address, (*words, channels) in ((each, (part[0], part[1], part[2:])) for each, part in asked):
        assert words == ["PUBSUB", "SHARDNUMSUB"]
        assert {owner(channel) for channel in channels} == {address}
        replies.append([part for each in channels for part in (each.encode(), int(each[4]))])
    expected = [part for each in CHANNELS for part in (each.encode(), int(each[4]))]
    assert join(question, replies) == expected
    replies[0] = 5
    assert len(join(question, replies)) == len(expected)
    replies[1] = redis.ResponseError("NOPERM")
    assert join(question, replies) is replies[1]


def test_a_script_is_loaded_everywhere() -> None:
    for command in (("SCRIPT", "LOAD", "return 1"), ("SCRIPT LOAD", "return 1")):
        assert parts(command, TABLE) == [(address, command) for address in ADDRESSES]
        assert join(command, [b"a", b"a", b"a"]) == b"a"


def test_a_slot_without_a_server_is_an_error_that_is_tried_again() -> None:
    table = SlotTable([(0, 10, "a", 1), (20, 30, "b", 2)])
    assert table.owner(10) == ("a", 1)
    for slot in (11, 31):
        with pytest.raises(redis.ConnectionError, match="no node of the cluster owns slot"):
            table.owner(slot)
    with pytest.raises(redis.ConnectionError):
        SlotTable([]).owner(0)
