"""A pop that fails halfway: what it had popped is returned or put back. And pops of very large frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import redis
from redis.exceptions import NoPermissionError

from elastic_inference.adapters.frame_queue import MAX_POP_BYTES, consumer
from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidReason
from elastic_inference.domain.sequence import Tombstone
from tests.support.queue_bench import TYPE, QueueBench

ORDER = script("order").sha
REFUSED = NoPermissionError("NOPERM this user has no permissions to run the 'lpop' command")
BROKEN = redis.ConnectionError("the connection to Redis broke")


class BreakingLink(PipelineConnection):
    """Fails at every exchange that contains the word `at`: raises `error`, or returns it if it is a refusal.

    With `expired`, every fetch of a frame finds nothing.
    """

    at = ""
    error: Exception = BROKEN
    expired = False

    def exchange_packed(self, pieces: list[Any], count: int) -> list[Any]:
        if self.at and f"\r\n{self.at}\r\n".encode() in b"".join(pieces):
            if isinstance(self.error, redis.ResponseError):
                return [self.error] * count
            raise type(self.error)(*self.error.args)
        fetches = b"".join(pieces).count(b"\r\nGETDEL\r\n") if self.expired else 0
        replies = super().exchange_packed(pieces, count)
        replies[1 : 1 + fetches] = [None] * fetches
        return replies


@pytest.fixture
def bench(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[QueueBench]:
    monkeypatch.setattr(consumer, "PipelineConnection", BreakingLink)
    monkeypatch.setattr(BreakingLink, "at", "")
    with QueueBench(valkey) as found:
        yield found


@pytest.mark.parametrize("error", [BROKEN, REFUSED, OSError("gone")], ids=["unavailable", "refused", "OSError"])
@pytest.mark.parametrize("at", ["LPOP", ORDER], ids=["LPOP", "order script"])
def test_fair_frames_and_drops_survive_a_legacy_part_that_fails(
    bench: QueueBench, monkeypatch: pytest.MonkeyPatch, at: str, error: Exception
) -> None:
    bench.push("cam-1", 6)  # two too many
    bench.push_legacy("old", 3)
    bench.push_junk()
    monkeypatch.setattr(BreakingLink, "at", at)
    monkeypatch.setattr(BreakingLink, "error", error)
    batch = bench.pop()
    assert len(batch.frames) == 4
    assert batch.dropped == {DropReason.QUEUE_FULL: 2}
    with pytest.raises(type(error)):
        bench.pop()
    monkeypatch.setattr(BreakingLink, "at", "")
    bench.drain()
    assert len(bench.orders["old"]) == 3
    assert bench.invalid == 1
    bench.check_account()
    bench.check_order()


def test_drops_survive_a_wait_that_fails(bench: QueueBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.push("cam-1", 2)
    bench.make_stale("cam-1", 2)
    monkeypatch.setattr(BreakingLink, "at", "BLPOP")
    assert bench.pop(wait_s=0.2).dropped == {DropReason.STALE: 2}
    with pytest.raises(redis.ConnectionError):
        bench.pop(wait_s=0.2)
    bench.check_account()


def test_a_frame_that_expires_after_it_was_numbered_leaves_a_tombstone(
    bench: QueueBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.push("cam-1")
    monkeypatch.setattr(BreakingLink, "expired", True)
    gone = bench.pop()
    monkeypatch.setattr(BreakingLink, "expired", False)
    bench.push("cam-1")
    (popped,) = bench.pop().frames
    assert gone.frames == []
    assert gone.dropped == {DropReason.STALE: 1}
    assert gone.tombstones == [Tombstone("cam-1:people:inferred", popped.order - 1, "stale")]
    bench.check_account()


@pytest.mark.parametrize("at", [script("pop").sha, ORDER], ids=["pop script", "order script"])
def test_a_stop_puts_back_what_is_in_hand_in_its_order(
    bench: QueueBench, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    bench.pop()
    assert bench.pop(wait_s=0.05).frames == []
    for seq in range(3):
        message = {"name": "old", "category": TYPE, "data": b"\xff\xd8\xff\xc0\0\x11\x08\0\x01\0\x01\x03", "seq": seq}
        bench.redis.rpush(keys.legacy_queue(TYPE), msgpack.packb(message))
    bench.pushed += 3
    monkeypatch.setattr(BreakingLink, "at", at)
    end = bench.consumer()
    end._look_first = at == ORDER  # otherwise BLPOP brings the first
    with pytest.raises(redis.ConnectionError):
        bench.pop(wait_s=0.5)
    assert end.legacy_in_hand + bench.legacy_waiting() == 3
    assert end.legacy_in_hand
    end.close()
    assert end.legacy_in_hand == 0
    assert bench.legacy_waiting() == 3
    monkeypatch.setattr(BreakingLink, "at", "")
    batch = bench.pop(pod="pod-2")
    batch.frames += bench.pop(pod="pod-2").frames
    assert [each.frame.seq for each in batch.frames] == [0, 1, 2]


def test_what_cannot_be_put_back_is_reported(bench: QueueBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.push_legacy("old")
    monkeypatch.setattr(BreakingLink, "at", ORDER)
    with pytest.raises(redis.ConnectionError):
        bench.pop()
    monkeypatch.setattr(BreakingLink, "at", "LPUSH")
    end = bench.consumer()
    with pytest.raises(redis.ConnectionError):
        end.close()
    assert end.legacy_in_hand == 1
    monkeypatch.setattr(BreakingLink, "at", "")
    end.close()
    assert (end.legacy_in_hand, bench.legacy_waiting()) == (0, 1)


def test_legacy_and_fair_frames_share_the_bytes_of_a_pop(bench: QueueBench) -> None:
    bench.push_legacy("old", 12, size=1024 * 1024)
    for index in range(12):
        bench.push(f"cam-{index}", size=1024 * 1024)
    sizes = bench.drain_sizes(8)
    assert max(sizes) <= MAX_POP_BYTES
    assert bench.popped == 24
    bench.check_order()


def test_legacy_frames_of_any_size_are_served_beside_large_fair_ones(bench: QueueBench) -> None:
    bench.push_legacy("old", 4, size=3 * 1024 * 1024)
    served = 0
    for _ in range(12):
        bench.push("cam-1", size=3 * 1024 * 1024)
        names = [popped.frame.name for popped in bench.pop(8).frames]
        assert len(names) == 1, "two of them are more than a pop may hold"
        served += names == ["old"]
    assert served == 4
    assert len(bench.orders["cam-1"]) >= 4


def test_a_legacy_message_of_fifty_megabytes_is_too_large_and_harms_no_one(bench: QueueBench) -> None:
    bench.push("cam-1")
    bench.push_junk(b"x" * 50_000_000)
    bench.push_legacy("old", 3)
    bench.push("cam-2")
    found = []
    while (batch := bench.pop()).frames or batch.invalid:
        found += [each.error.reason for each in batch.invalid]
    assert found == [InvalidReason.TOO_LARGE]
    assert {name: len(orders) for name, orders in bench.orders.items()} == {"cam-1": 1, "cam-2": 1, "old": 3}
    bench.check_account()
