"""The queue's rules, one by one, on a real server."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis

from elastic_inference.adapters.frame_queue import MAX_POP_BYTES, Janitor, QueueReader
from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.base import config
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidReason
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.sequence import Tombstone
from elastic_inference.flows.inference.inference_service import IMAGE_SHARE
from elastic_inference.flows.inference.pipeline import _HELD_SHARE
from tests.support.jpeg import tiny_jpeg
from tests.support.queue_bench import TYPE, QueueBench
from tests.support.waiting import wait_for, wait_for_async


def test_a_frame_comes_out_as_it_went_in(bench: QueueBench) -> None:
    frame = Frame("cam-1", TYPE, tiny_jpeg(640, 480), seq=7, ts=1790000000.5, age_ms=3.5)
    assert bench.producer("cam-1").push(frame).pushed
    begin = time.time()
    (popped,) = bench.pop().frames
    assert (popped.frame.width, popped.frame.height) == (640, 480)
    assert (popped.frame.data, popped.frame.seq, popped.frame.ts, popped.frame.age_ms) == (
        *(frame.data, 7, 1790000000.5, 3.5),
    )
    assert 0 <= popped.queue_ms < 60_000
    assert popped.popped_monotonic <= time.monotonic()
    assert abs(popped.order / 1e6 - begin) < 60, "a stream's first number is the Redis clock in µs"


def test_full_stream_drops_its_own_oldest(bench: QueueBench) -> None:
    bench.push("other")
    for _ in range(10):
        bench.push("cam-1")
    batch = bench.pop()
    assert [frame.frame.seq for frame in batch.frames if frame.frame.name == "cam-1"] == [7, 8, 9, 10]
    assert [frame.frame.name for frame in batch.frames].count("other") == 1
    assert batch.dropped == {DropReason.QUEUE_FULL: 6}
    assert bench.pop().dropped == {}, "each drop is reported once"
    bench.check_account()


def test_token_limit_drops_the_oldest_token_with_its_frame(valkey: EmbeddedValkey) -> None:
    with QueueBench(valkey, config.QueueRules(token_limit=3, max_frame_age_s=60)) as bench:
        for name in ("a", "b", "c", "d"):
            bench.push(name)
        batch = bench.pop()
        assert [frame.frame.name for frame in batch.frames] == ["b", "c", "d"]
        assert batch.dropped == {DropReason.QUEUE_FULL: 1}
        bench.check_account()


def test_stale_frames_are_skipped(bench: QueueBench) -> None:
    bench.push("slow", 3)
    bench.push("cam-1")
    bench.make_stale("slow", 2)
    batch = bench.pop()
    assert [(frame.frame.name, frame.frame.seq) for frame in batch.frames] == [("slow", 3), ("cam-1", 1)]
    assert batch.dropped == {DropReason.STALE: 2}
    assert batch.waiting == 0
    bench.check_account()


def test_expired_frame_is_stale(bench: QueueBench) -> None:
    bench.push("cam-1", 2)
    bench.redis.unlink(*bench.redis.keys(keys.frame(TYPE, "cam-1", "") + "*-0"))
    batch = bench.pop()
    assert [frame.frame.seq for frame in batch.frames] == [2]
    assert batch.dropped == {DropReason.STALE: 1}
    bench.check_order()


def test_janitor_drops_frames_that_no_pod_pops(bench: QueueBench) -> None:
    bench.push("cam-1", 3)
    bench.push_legacy("old", 300)
    bench.make_stale("cam-1", 2)
    bench.run_janitor()
    assert bench.legacy_waiting() == bench.rules.queue_depth
    assert bench.unclaimed_drops() == {"stale": 2, "queue_full": 44}
    assert bench.token_counts() == {"cam-1": 1}
    bench.check_account()
    assert bench.pop(1).dropped == {DropReason.STALE: 2, DropReason.QUEUE_FULL: 44}


def test_janitor_derives_the_age_of_legacy_frames(valkey: EmbeddedValkey) -> None:
    with QueueBench(valkey, config.QueueRules(max_frame_age_s=0.3)) as bench:
        bench.push_legacy("old", 10)
        bench.pop(2)
        bench.run_janitor()
        assert bench.unclaimed_drops() == {}

        def janitor_drops() -> int:
            bench.run_janitor()
            return bench.unclaimed_drops()["stale"]

        assert wait_for(janitor_drops, what="legacy frames going stale", every_s=0.1) == 10 - bench.popped
        bench.push_legacy("old", 3)
        bench.run_janitor()
        assert bench.legacy_waiting() == 3, "fresh ones stay"
        bench.check_account()


async def test_the_janitor_runs_once_a_second(valkey: EmbeddedValkey) -> None:
    with QueueBench(valkey) as bench:
        reader = QueueReader(bench.target)
        first, second = (Janitor(reader.clients, bench.rules, f"replica-{number}") for number in (1, 2))
        assert await first.run(TYPE)
        assert not await second.run(TYPE)
        await wait_for_async(lambda: second.run(TYPE), 5, "the lock's end")
        await reader.close()


def test_a_pop_ends_at_its_limit_of_bytes(bench: QueueBench) -> None:
    for index in range(8):
        bench.push(f"cam-{index}", size=1024 * 1024)
    sizes = bench.drain_sizes(8)
    assert max(sizes) <= MAX_POP_BYTES
    assert len(sizes) == 3
    assert bench.popped == 8
    bench.check_order()
    for _ in range(3):
        bench.push_legacy("old", 4, size=1024 * 1024)
    assert bench.drain() == 12


def test_frames_live_a_bounded_time(bench: QueueBench) -> None:
    longest_ms = (bench.rules.max_frame_age_s + 5) * 1000
    bench.push("cam-1", 2)
    (key, _) = bench.redis.keys(keys.frame(TYPE, "cam-1", "") + "*")
    assert 0 < bench.redis.pttl(key) <= longest_ms
    # A pod that dies between the script and the fetch leaves the frame under its own name, with the same lifetime.
    bench.redis.evalsha(
        *(script("pop").sha, 2, keys.tokens(TYPE), keys.dropped(TYPE)),
        *(keys.queue_prefix(TYPE), "dead", 1, 2_000_000, MAX_POP_BYTES, 60_000),
    )
    assert 0 < bench.redis.pttl(keys.taken(TYPE, "dead", 0)) <= longest_ms
    assert 50_000 < bench.redis.pttl(keys.order(TYPE, "cam-1")) <= 60_000


def test_an_idle_pod_waits_without_asking(bench: QueueBench) -> None:
    bench.pop()
    calls = int(bench.redis.info("stats")["total_commands_processed"])
    begin = time.monotonic()
    assert bench.pop(wait_s=0.5).frames == []
    assert time.monotonic() - begin >= 0.4
    assert int(bench.redis.info("stats")["total_commands_processed"]) - calls < 30
    # … and a frame wakes it.
    pushing = threading.Timer(0.1, lambda: bench.push("cam-1"))
    pushing.start()
    wait_for(lambda: bench.pop(wait_s=3.0).frames, what="the frame")
    pushing.join()
    assert bench.popped == 1
    assert bench.token_counts() == bench.waiting_counts()


def test_only_legacy_frames_cost_a_pop_additional_round_trips(
    bench: QueueBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = 0
    exchange = PipelineConnection.exchange_packed

    def counted(self: PipelineConnection, pieces: list[Any], count: int) -> list[Any]:
        nonlocal trips
        trips += 1
        return exchange(self, pieces, count)

    bench.push("cam-1")
    monkeypatch.setattr(PipelineConnection, "exchange_packed", counted)
    assert len(bench.pop().frames) == 1
    assert bench.pop().frames == []
    assert trips == 2, "a full pop and an empty one"
    bench.push_legacy("old")
    assert len(bench.pop().frames) == 1
    assert trips == 5, "the length with the fair frames, the messages, their numbers"


def test_a_frame_wakes_one_pod(bench: QueueBench) -> None:
    got: dict[str, int] = {}

    def wait(pod: str) -> None:
        got[pod] = len(bench.consumer(pod).pop(8, 3.5).frames)

    pods = [threading.Thread(target=wait, args=(f"pod-{index}",)) for index in range(3)]
    for index in range(3):
        bench.consumer(f"pod-{index}")
    for pod in pods:
        pod.start()
    wait_for(lambda: bench.redis.info("clients")["blocked_clients"] == 3, what="three blocked pods")
    bench.push("cam-1")
    wait_for(lambda: bench.redis.info("clients")["blocked_clients"] <= 2, what="a pod to wake")
    assert bench.redis.info("clients")["blocked_clients"] == 2
    for pod in pods:
        pod.join()
    assert sorted(got.values()) == [0, 0, 1]


def test_a_dead_pods_token_is_replaced(bench: QueueBench) -> None:
    bench.push("cam-1")
    assert bench.redis.blpop([keys.tokens(TYPE)], 1)  # and the pod dies
    bench.push("cam-1")
    assert bench.token_counts() == bench.waiting_counts() == {"cam-1": 2}
    assert [frame.frame.seq for frame in bench.pop().frames] == [1, 2]
    bench.check_account()


def test_producer_without_scripts_pushes_the_legacy_form(bench: QueueBench) -> None:
    bench.redis.script_flush()
    bench.push("cam-1")
    assert bench.legacy_waiting() == 1
    assert bench.frame_keys() == 0
    assert [frame.frame.seq for frame in bench.pop().frames] == [1]  # the pod loads the scripts again

    def own_form() -> bool:
        bench.push("cam-1")
        scripted = bool(bench.token_counts())
        bench.drain()
        return scripted

    wait_for(own_form, what="the producer's return to the script")
    bench.check_account()
    bench.check_order()


def test_a_frame_that_is_too_large_is_not_sent(valkey: EmbeddedValkey) -> None:
    with QueueBench(valkey, config.QueueRules(max_frame_bytes=2048, max_frame_age_s=60)) as bench:
        outcome = bench.producer("cam-1").push(Frame("cam-1", TYPE, tiny_jpeg(padding=3000)))
        assert outcome.invalid is InvalidReason.TOO_LARGE
        assert not outcome.pushed
        assert bench.redis.keys() == [keys.pods_mark(TYPE).encode()]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", InvalidReason.EMPTY),
        (b"\xc1", InvalidReason.NOT_MSGPACK),
        (b"\x93\x01\x02\x03", InvalidReason.NOT_MSGPACK),
        (b"x" * 5_000_000, InvalidReason.TOO_LARGE),
    ],
    ids=["empty", "never used byte", "array", "5 MB"],
)
def test_junk_is_invalid_and_harms_no_one(bench: QueueBench, message: bytes, reason: InvalidReason) -> None:
    bench.push_junk(message)
    bench.push_legacy("old")
    bench.push("cam-1")
    bench.drain()
    assert bench.popped == 2
    assert bench.invalid == 1
    bench.push_junk(message)
    assert [found.error.reason for found in bench.pop().invalid] == [reason]


def test_message_under_another_streams_name_is_invalid(bench: QueueBench) -> None:
    assert bench.producer("cam-1").push(Frame("cam-2", TYPE, tiny_jpeg())).pushed
    (invalid,) = bench.pop().invalid
    assert (invalid.stream, invalid.error.reason) == ("cam-1", InvalidReason.NAME)


def test_numbered_frames_that_are_invalid_leave_tombstones(bench: QueueBench) -> None:
    producer = bench.producer("cam-1")
    for data in (tiny_jpeg(), b"junk", tiny_jpeg(), tiny_jpeg()[:4]):
        assert producer.push(Frame("cam-1", TYPE, data)).pushed
    batch = bench.pop()
    first, third = (popped.order for popped in batch.frames)
    assert third == first + 2
    assert batch.tombstones == [
        Tombstone("cam-1:people:inferred", first + 1, "not_jpeg"),
        Tombstone("cam-1:people:inferred", first + 3, "truncated"),
    ]
    assert [invalid.order for invalid in batch.invalid] == [first + 1, first + 3]
    bench.push_junk()
    batch = bench.pop()
    assert [invalid.order for invalid in batch.invalid] == [None]
    assert batch.tombstones == [], "a message without a stream gets no number"


@pytest.mark.parametrize(
    "key",
    [keys.tokens(TYPE), keys.legacy_queue(TYPE), keys.dropped(TYPE), keys.legacy_account(TYPE), keys.flow(TYPE)],
)
def test_a_key_of_the_wrong_type_does_not_stall_the_type(bench: QueueBench, key: str) -> None:
    bench.redis.set(key, "x")
    bench.pop()
    bench.run_janitor()
    bench.push("cam-1")
    bench.push_legacy("old")
    bench.drain()
    assert set(bench.orders) == {"cam-1", "old"}


def test_wrong_keys_of_a_stream_hurt_no_other(bench: QueueBench) -> None:
    bench.push("cam-1")
    bench.push("cam-2")
    bench.redis.set(keys.waiting(TYPE, "cam-1"), "x")
    bench.redis.set(keys.order(TYPE, "cam-2"), "x")
    assert [frame.frame.name for frame in bench.pop().frames] == ["cam-2"]
    bench.push("cam-1")
    assert [frame.frame.name for frame in bench.pop().frames] == ["cam-1"]


def test_order_is_shared_by_all_pods_and_by_legacy_and_fair_frames(bench: QueueBench) -> None:
    for turn in range(30):
        bench.push("cam-1") if turn % 3 else bench.push_legacy("cam-1")
        bench.pop(1, pod=f"pod-{turn % 2}")
    bench.drain()
    bench.check_order()
    assert len(bench.orders["cam-1"]) == 30


async def test_a_source_with_a_future_timestamp_is_not_listed_and_is_removed(valkey: EmbeddedValkey) -> None:
    with QueueBench(valkey) as bench:
        reader = QueueReader(bench.target, "test")
        bench.producer("cam-1").report_source("live", 15, 0, 0)
        bench.redis.zadd(keys.sources(TYPE), {"never": float("inf"), "far": (time.time() + 3600) * 1000})
        for name in ("never", "far"):
            bench.redis.hset(keys.source(TYPE, name), "state", "live")
        assert [source.name for source in await reader.sources(TYPE)] == ["cam-1"]
        assert await Janitor(reader.clients, bench.rules, "replica-1").run(TYPE)
        assert bench.redis.zrange(keys.sources(TYPE), 0, -1) == [b"cam-1"]
        await reader.close()


def test_two_producers_with_one_name_are_reported(bench: QueueBench, caplog: pytest.LogCaptureFixture) -> None:
    with QueueBench(bench.server) as other:
        for _ in range(3):
            bench.producer("cam-1").report_source("live", 15, 0, 0)
        assert not caplog.messages, "one alone is not reported"
        for _ in range(2):
            other.producer("cam-1").report_source("live", 15, 0, 0)
            bench.producer("cam-1").report_source("live", 15, 0, 0)
    reported = [message for message in caplog.messages if "same name" in message]
    assert len(reported) == 2, "each once a minute"


def test_redis_restarts_under_both_ends() -> None:
    server = EmbeddedValkey()
    with server, QueueBench(server) as bench:
        bench.push("cam-1", 2)
        before = bench.pop().frames[-1].order
        bench.push("cam-1")
        server.kill()
        for end in (lambda: bench.push("cam-1"), bench.pop):
            with pytest.raises(redis.ConnectionError):
                end()
        server.start()
        bench.pushed = bench.popped = 0
        bench.push("cam-1")  # the legacy form
        after = bench.pop().frames
        assert [frame.frame.seq for frame in after] == [5]
        assert after[0].order > before
        bench.check_account()


def test_large_legacy_frames_after_small_ones_come_in_a_pop_of_bounded_size(bench: QueueBench) -> None:
    """Their sizes are unknown before: a pod must have room for the list and one frame (ADR 20)."""
    bench.push_legacy("old", 16)
    assert sum(bench.drain_sizes(16)) < 10_000
    bench.push_legacy("old", 24, size=4_000_000)
    sizes = bench.drain_sizes(16)
    assert 3 * MAX_POP_BYTES < max(sizes) <= bench.rules.legacy_bytes + bench.rules.max_frame_bytes
    left = ((1 << 30) - 200_000_000) * (1 - IMAGE_SHARE * (1 + 1 / _HELD_SHARE))
    assert bench.rules.legacy_bytes + bench.rules.max_frame_bytes < left / 3
    bench.run_janitor()
