"""Whatever the Redis user `camera` writes into the queue's keys, nothing breaks, stalls or is miscounted."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis

from elastic_inference.adapters.frame_queue import MAX_POP_BYTES, QueueReader, Sweeper
from elastic_inference.adapters.frame_queue.legacy_queue import LegacyQueue
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason
from tests.support.queue_bench import TYPE, QueueBench

PREFIX = keys.queue_prefix(TYPE)


def calls(bench: QueueBench, command: str) -> int:
    return int(bench.redis.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


def say_size(bench: QueueBench, name: str, size: int) -> None:
    """Gives all waiting frames of a stream a false size."""
    waiting = keys.waiting(TYPE, name)
    for index, entry in enumerate(bench.redis.lrange(waiting, 0, -1)):
        stamp, _, frame_id = entry.split(b" ", 2)
        bench.redis.lset(waiting, index, b"%s %d %s" % (stamp, size, frame_id))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queue_full", "-1"),
        ("queue_full", "many"),
        ("queue_full", b"\xff\xfe"),
        ("queue_full", "9" * 40),
        ("queue_full", "1e9"),
        ("a_reason_of_its_own", "1"),
        (b"\xff\xfe", "1"),
        ("source", "5"),
    ],
    ids=["negative", "word", "no UTF-8", "40 digits", "float", "unknown", "field without UTF-8", "not the queue's"],
)
def test_forged_drops_are_not_counted_and_cost_no_frame(bench: QueueBench, field: str | bytes, value: str) -> None:
    bench.push("cam-1", 4)
    bench.redis.hset(keys.dropped(TYPE), field, value)
    batch = bench.pop()
    assert len(batch.frames) == 4
    assert batch.dropped == {}
    assert not bench.redis.exists(keys.dropped(TYPE))
    bench.push("cam-1", 5)
    assert bench.pop().dropped == {DropReason.QUEUE_FULL: 1}


def test_a_million_forged_drops_count_as_no_more_than_is_possible(bench: QueueBench) -> None:
    bench.pop()
    for _ in range(2):
        bench.redis.hincrby(keys.dropped(TYPE), "queue_full", 1_000_000)
        assert bench.pop().dropped[DropReason.QUEUE_FULL] <= 20_000 * 10, "20,000 a second since the last pop"


@pytest.mark.parametrize("size", [4_000_000, 10**30], ids=["4 MB", "no number"])
def test_a_producer_that_overstates_its_frames_shrinks_no_pop(bench: QueueBench, size: int) -> None:
    for index in range(16):
        bench.push(f"cam-{index}")
        say_size(bench, f"cam-{index}", size)
    assert len(bench.pop(16).frames) == 16


def test_a_producer_that_understates_its_frames_does_not_swell_a_pop(bench: QueueBench) -> None:
    for index in range(8):
        bench.push(f"cam-{index}", size=1024 * 1024)
        say_size(bench, f"cam-{index}", 0)
    assert max(bench.drain_sizes(8)) <= MAX_POP_BYTES
    assert bench.popped == 8


def test_a_frame_key_of_the_wrong_type_is_stale(bench: QueueBench) -> None:
    bench.push("cam-1", 2)
    (key, _) = sorted(bench.redis.keys(PREFIX + "frame:cam-1:*"))
    bench.redis.unlink(key)
    bench.redis.rpush(key, "a list")
    batch = bench.pop()
    assert len(batch.frames) == 1
    assert batch.dropped == {DropReason.STALE: 1}
    bench.check_account()
    assert bench.frame_keys() == 0


def test_an_error_after_a_pop_hands_out_the_frames(bench: QueueBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.push("cam-1", 3)

    def broken(*_: object) -> list[str]:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a bug")

    monkeypatch.setattr(LegacyQueue, "accept", broken)
    assert len(bench.pop().frames) == 3


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 129, b"\xff\xfe", "a:b"], ids=ascii)
def test_a_token_that_names_no_stream_hands_out_nothing(bench: QueueBench, name: str | bytes) -> None:
    raw = name if isinstance(name, bytes) else name.encode()
    bench.redis.rpush(keys.tokens(TYPE), raw)
    bench.redis.rpush(keys.waiting(TYPE, "").encode() + raw, b"%d 5 1" % (time.time() * 1e6))
    bench.redis.set(PREFIX.encode() + b"frame:" + raw + b":1", b"frame")
    bench.push("cam-1")
    assert [popped.frame.name for popped in bench.pop().frames] == ["cam-1"]
    bench.redis.rpush(keys.tokens(TYPE), raw)
    bench.run_janitor()
    assert bench.token_counts() == {}


def test_forged_tokens_cost_a_bounded_amount_of_work_per_call(bench: QueueBench) -> None:
    bench.redis.rpush(keys.tokens(TYPE), *(f"made-up-{index}" for index in range(30_000)))
    bench.push("cam-1")
    bench.redis.config_resetstat()
    bench.run_janitor()
    assert bench.redis.llen(keys.tokens(TYPE)) <= bench.rules.token_limit
    assert calls(bench, "lrem") == 0, "its cost is the length of the list"
    assert calls(bench, "llen") <= 1024 + 10
    bench.redis.rpush(keys.tokens(TYPE), *(f"made-up-{index}" for index in range(30_000)))
    bench.redis.config_resetstat()
    bench.pop()
    assert calls(bench, "lpop") <= 9000
    assert bench.redis.llen(keys.tokens(TYPE)) > 0, "the rest is for the next pop"


def test_the_janitor_reaches_every_stream_in_turn(bench: QueueBench) -> None:
    for index in range(40):
        bench.push(f"cam-{index}")
        bench.make_stale(f"cam-{index}")
    for _ in range(5):
        bench.run_janitor(names=10)
    assert bench.unclaimed_drops() == {"stale": 40}
    assert bench.token_counts() == {}


def test_a_forged_waiting_list_costs_a_bounded_amount_of_work_per_call(bench: QueueBench) -> None:
    bench.push("cam-1")
    bench.redis.rpush(keys.waiting(TYPE, "cam-1"), *["1 5 x"] * 30_000)
    bench.redis.config_resetstat()
    bench.push("cam-1")
    assert calls(bench, "unlink") <= 1400
    bench.redis.config_resetstat()
    bench.run_janitor()
    assert calls(bench, "ltrim") <= 8192
    for _ in range(4):
        bench.run_janitor()
    assert bench.waiting_counts()["cam-1"] <= 1


def test_sources_are_bounded(bench: QueueBench) -> None:
    now_ms = time.time() * 1000
    for start in range(0, 15_000, 5000):
        bench.redis.zadd(
            keys.sources(TYPE), {f"x-{index}": now_ms + index / 1000 for index in range(start, start + 5000)}
        )
    bench.redis.zadd(keys.sources(TYPE), {b"\xff no name": now_ms - 30_000})
    bench.run_janitor()
    assert 0 < bench.redis.zcard(keys.sources(TYPE)) <= 4096


@pytest.mark.parametrize("held", ["3000000000000000 other", "no stamp", "1 other"], ids=["future", "foreign", "old"])
def test_a_lock_that_the_clock_has_outdated_does_not_stop_the_janitor(bench: QueueBench, held: str) -> None:
    bench.push("cam-1")
    bench.make_stale("cam-1")
    bench.redis.set(keys.janitor_lock(TYPE), held, px=3_600_000)
    bench.run_janitor(free_lock=False)
    assert bench.unclaimed_drops() == {"stale": 1}
    assert bench.redis.pttl(keys.janitor_lock(TYPE)) <= 1000


def test_frames_stamped_in_the_future_are_stale(bench: QueueBench) -> None:
    for name in ("cam-1", "cam-2"):
        bench.redis.rpush(keys.waiting(TYPE, name), b"3000000000000000 5 1")
        bench.redis.rpush(keys.tokens(TYPE), name)
    bench.run_janitor()
    assert bench.waiting_counts() == {}
    assert bench.token_counts() == {}


def test_the_janitor_frees_memory_when_none_is_left() -> None:
    with EmbeddedValkey() as server, QueueBench(server) as bench:
        for index in range(8):
            bench.push(f"cam-{index}", size=200_000)
            bench.make_stale(f"cam-{index}")
        bench.redis.config_set("maxmemory", "1mb")
        with pytest.raises(redis.OutOfMemoryError):
            bench.redis.set("one", "more")
        bench.run_janitor()
        assert bench.frame_keys() == 0
        assert bench.unclaimed_drops() == {"stale": 8}


@pytest.mark.parametrize(
    "key",
    [
        *(keys.source(TYPE, "cam-1"), keys.sources(TYPE), keys.waiting(TYPE, "cam-1")),
        *(keys.tokens(TYPE), keys.dropped(TYPE), keys.legacy_queue(TYPE)),
    ],
)
@pytest.mark.parametrize("legacy", [False, True], ids=["own form", "legacy form"])
def test_a_producer_removes_keys_of_the_wrong_type(bench: QueueBench, key: str, legacy: bool) -> None:
    bench.redis.set(key, b"\xff")
    if legacy:
        bench.redis.script_flush()
    producer = bench.producer("cam-1")
    producer.report_source("live", 15.0, 0, 0)
    bench.push("cam-1", 6)  # more than fit: drops are counted too
    producer.report_source("live", 15.0, 0, 0)
    bench.drain()
    bench.run_janitor()
    assert bench.popped == (6 if legacy else 4)
    bench.check_account()


def test_a_foreign_mark_that_is_not_text_counts_as_another_producers(bench: QueueBench) -> None:
    producer = bench.producer("cam-1")
    producer.report_source("live", 15.0, 0, 0)
    bench.redis.hset(keys.source(TYPE, "cam-1"), "producer", b"\xff\xfe")
    producer.report_source("live", 15.0, 0, 0)


async def test_oversized_and_invalid_reports_of_sources_are_not_read(bench: QueueBench) -> None:
    now_ms = time.time() * 1000
    reader = QueueReader(bench.target)
    fat, odd, junk = (keys.source(TYPE, name) for name in ("fat", "odd", "junk"))
    bench.redis.hset(fat, mapping={"state": b"x" * 4_000_000, "fps": "1"})
    bench.redis.hset(odd, mapping={"state": b"\xff", "fps": "inf", "reconnects": "9" * 30, "dropped": "-1"})
    bench.redis.set(junk, "no hash")
    bench.redis.zadd(keys.sources(TYPE), dict.fromkeys(("fat", "odd", "junk", "none", b"\xff"), now_ms))
    before = int(bench.redis.info("stats")["total_net_output_bytes"])
    (found,) = await reader.sources(TYPE)
    assert int(bench.redis.info("stats")["total_net_output_bytes"]) - before < 100_000
    assert (found.name, found.state, found.fps, found.reconnects, found.dropped) == ("odd", "\ufffd", 0, 0, 0)
    bench.redis.zadd(keys.sources(TYPE), {f"x-{index}": now_ms for index in range(200)})
    assert len(await reader.sources(TYPE, 20)) <= 20
    bench.redis.set(keys.sources(TYPE), "no set")
    assert await reader.sources(TYPE) == []
    await reader.close()


async def test_keys_without_an_expiry_are_found_and_removed(bench: QueueBench) -> None:
    bench.push("cam-1")
    bench.producer("cam-1").report_source("live", 1, 0, 0)
    bench.redis.set("foreign", "kept")
    client = bench.redis
    for index in range(3000):
        client.set(keys.frame(TYPE, "cam-2", str(index)), b"x" * 100)
    client.rpush(keys.frame("made-up", "cam", "1"), "a list")
    client.set(keys.taken(TYPE, "dead", 0), "x")
    client.hset(keys.source(TYPE, "cam-3"), "state", "live")
    client.rpush(keys.waiting(TYPE, "lost"), "1 5 1")
    client.rpush(PREFIX.encode() + b"waiting:\xff", "1 5 1")
    (own,) = client.keys(keys.frame(TYPE, "cam-1", "*"))
    life_ms = client.pttl(own)
    reader = QueueReader(bench.target)
    sweeper, found = Sweeper(reader.clients, bench.rules), set()
    for _ in range(4):
        shares = await sweeper.sweep([TYPE])
        found.update(shares.get(TYPE, ()))
    await reader.close()
    endless = [key for key in client.scan_iter(match="{queue_*}:*") if client.ttl(key) == -1]
    assert sorted(endless) == sorted(
        key.encode()
        for key in (keys.tokens(TYPE), keys.sources(TYPE), *(keys.waiting(TYPE, n) for n in ("cam-1", "lost")))
    )
    assert client.pttl(own) <= life_ms, "an expiry stays as it is"
    assert client.ttl("foreign") == -1
    assert found == {"cam-1", "lost"}
    await asyncio.to_thread(bench.run_janitor, found=sorted(found))
    assert not client.exists(keys.waiting(TYPE, "lost")), "nobody else would have found it"


MIB = 1024 * 1024


def waiting_bytes(bench: QueueBench) -> int:
    return sum(map(len, bench.redis.lrange(keys.legacy_queue(TYPE), 0, -1)))


def test_legacy_frames_are_bounded_by_their_bytes_too(bench: QueueBench) -> None:
    limit = bench.rules.legacy_bytes
    assert limit == 64 * MIB
    bench.push_legacy("old", 40, size=3 * MIB)
    bench.push_legacy("small", 10)
    assert waiting_bytes(bench) > limit
    bench.run_janitor()
    assert limit / 2 < waiting_bytes(bench) <= limit
    bench.check_account()
    # A pop that reports what it took trims as well.
    bench.pop(1)
    bench.push_legacy("old", 20, size=3 * MIB)
    bench.pop(1)
    bench.pop(1)
    assert waiting_bytes(bench) <= limit
    bench.drain()
    assert bench.popped >= 20
    assert bench.orders["small"], "the newest frames stay"
    bench.check_account()


def test_one_enormous_legacy_frame_does_not_cost_the_small_ones_their_place(bench: QueueBench) -> None:
    bench.push_legacy("huge", 1, size=80 * MIB)
    bench.push_legacy("small", 10)
    bench.run_janitor()
    assert 1 <= bench.legacy_waiting() <= 10
    assert bench.drain() == bench.popped == len(bench.orders["small"])
    bench.check_account()
