"""A crowd of streams whose names begin alike takes no more than half of its type's turns while others wait."""

from __future__ import annotations

import asyncio

import pytest

from elastic_inference.adapters.frame_queue import CrowdControl, QueueReader
from elastic_inference.adapters.frame_queue.crowd_control import BUSY_PAUSE_S, MAX_GROUP_STREAMS, PAUSE_S, Crowd
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.queue_bench import PATIENT, TYPE, QueueBench

LIMIT = PATIENT.token_limit


def look(bench: QueueBench, *, limit: int = LIMIT, busy: bool = True) -> list[Crowd]:
    async def once() -> list[Crowd]:
        reader = QueueReader(bench.target)
        try:
            control = CrowdControl(reader.clients, limit)
            found = await control.look([TYPE, "car"])
        finally:
            await reader.close()
        assert control.pause_s >= BUSY_PAUSE_S if busy else control.pause_s == PAUSE_S
        return found

    return asyncio.run(once())


def push_crowd(bench: QueueBench, streams: int, group: str = "yard") -> None:
    for number in range(streams):
        bench.push(f"{group}-{number}")


def pop_names(bench: QueueBench, count: int) -> list[str]:
    return [each.frame.name for each in bench.pop(count).frames]


def test_the_others_have_every_second_turn(bench: QueueBench) -> None:
    push_crowd(bench, 3 * MAX_GROUP_STREAMS)
    for name in ("gate-1", "gate-2", "door"):
        bench.push(name, 2)
    assert look(bench) == [Crowd(TYPE, "yard", 0)]
    names = pop_names(bench, 12)
    assert [name for name in names if not name.startswith("yard")] == ["gate-1"] * 2 + ["gate-2"] * 2 + ["door"] * 2
    assert [name.startswith("yard") for name in names] in ([True, False] * 6, [False, True] * 6)
    bench.drain()
    bench.check_account()
    bench.check_order()


def test_either_side_is_first_half_of_the_time(bench: QueueBench) -> None:
    """Slow pods take a single token between two looks: neither side may have all of them."""
    push_crowd(bench, MAX_GROUP_STREAMS + 41)
    for number in range(40):
        bench.push(f"gate-{number}")
    crowd = 0
    for _ in range(40):
        look(bench)
        crowd += pop_names(bench, 1)[0].startswith("yard")
    assert 4 < crowd < 36
    bench.drain()
    bench.check_account()


@pytest.mark.parametrize("others", [0, 20])
def test_groups_of_few_streams_and_a_crowd_alone_stay_as_they_are(bench: QueueBench, others: int) -> None:
    push_crowd(bench, MAX_GROUP_STREAMS if others else 2 * MAX_GROUP_STREAMS)
    push_crowd(bench, others, "gate")
    before = bench.redis.lrange(keys.tokens(TYPE), 0, -1)
    assert look(bench) == []
    assert bench.redis.lrange(keys.tokens(TYPE), 0, -1) == before


def test_without_many_frames_the_next_look_comes_later(bench: QueueBench) -> None:
    bench.push("gate-1")
    assert look(bench, busy=False) == []


def test_a_crowd_that_nearly_fills_the_list_loses_its_oldest_frames(bench: QueueBench) -> None:
    limit = 400
    bench.push("gate-1", 3)
    push_crowd(bench, 350)
    assert look(bench, limit=limit) == [Crowd(TYPE, "yard", 150)]
    assert bench.unclaimed_drops() == {"queue_full": 150}
    assert bench.token_counts() == bench.waiting_counts()
    assert bench.token_counts()["gate-1"] == 3
    assert bench.frame_keys() == 203
    assert "yard-149" not in bench.token_counts()
    assert "yard-150" in bench.token_counts()
    bench.drain()
    bench.check_account()


def test_what_clients_may_write_into_the_keys_is_survived(bench: QueueBench) -> None:
    push_crowd(bench, 100)
    bench.push("gate-1")
    tokens = keys.tokens(TYPE)
    bench.redis.rpush(tokens, b"\xff\n", "yard-:x", b"n" * 600, "*")
    bench.redis.set(keys.waiting(TYPE, "yard-7"), "not a list")
    bench.redis.set(keys.dropped(TYPE), "not a hash")
    assert look(bench, limit=110) == [Crowd(TYPE, "yard", 44)]
    assert bench.unclaimed_drops() == {"queue_full": 44}
    assert bench.redis.llen(tokens) == 56, "what names no stream is gone"
    # Too large for names: the janitor removes it.
    bench.redis.rpush(tokens, b"n" * 1_000_000, *["yard-1"] * 64)
    assert look(bench) == []
    bench.redis.unlink(tokens)
    bench.redis.rpush(tokens, *[f"yard-{number}" for number in range(9000)], "gate-1")
    assert look(bench, limit=10_000) == [], "longer than a call may read"
    bench.redis.set(tokens, "of the wrong type")
    assert look(bench, busy=False) == []


def test_a_type_whose_key_has_the_wrong_type_hides_no_crowd(bench: QueueBench) -> None:
    bench.redis.set(keys.tokens("car"), "not a list")
    push_crowd(bench, 100)
    bench.push("gate-1")
    assert look(bench) == [Crowd(TYPE, "yard", 0)]


def test_it_works_in_a_cluster_and_when_memory_is_out(cluster_server: EmbeddedValkey) -> None:
    with QueueBench(cluster_server) as bench:
        push_crowd(bench, 100)
        bench.push("gate-1")
        bench.redis.config_set("maxmemory", 1)
        try:
            assert look(bench) == [Crowd(TYPE, "yard", 0)]
        finally:
            bench.redis.config_set("maxmemory", 0)
        assert "gate-1" in pop_names(bench, 2)
