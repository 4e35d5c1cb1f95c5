"""Frames of leased streams: the queue takes only those of the newest lease, and their numbers continue."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from redis.exceptions import ResponseError

from elastic_inference.adapters.frame_queue import PushLease, QueueProducer, push_many
from elastic_inference.adapters.frame_queue.push_request import PushRequest
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.base import config
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidReason
from elastic_inference.domain.frame import Frame
from tests.support.jpeg import tiny_jpeg
from tests.support.queue_bench import TYPE, QueueBench

NAME = "gate-1"
FENCE = keys.push_epoch(TYPE, NAME)
RULES = config.QueueRules(stream_queue_depth=100, max_frame_age_s=60)
NewProducer = Callable[..., QueueProducer]


@pytest.fixture
def leased(valkey: EmbeddedValkey) -> Iterator[NewProducer]:
    made: list[QueueProducer] = []

    def new(lease: PushLease, name: str = NAME, infer_type: str = TYPE) -> QueueProducer:
        made.append(QueueProducer(redis.Redis(port=valkey.port), infer_type, name, RULES, lease))
        return made[-1]

    yield new
    for each in made:
        each.close()


def frame(seq: int, name: str = NAME, infer_type: str = TYPE) -> Frame:
    return Frame(name, infer_type, tiny_jpeg(), seq)


def seqs(bench: QueueBench) -> list[int | None]:
    return [each.frame.seq for each in bench.pop(256).frames]


def test_a_lower_epoch_enters_nothing_and_leaves_nothing(bench: QueueBench, leased: NewProducer) -> None:
    old, new = leased(PushLease(5)), leased(PushLease(6))
    assert old.push(frame(0)).pushed
    assert new.push(frame(1)).pushed
    before = set(bench.redis.keys("*frame*"))
    outcome = old.push_batch([frame(2), frame(3)])
    assert (outcome.pushed, outcome.frames, outcome.dropped) == (False, 0, {DropReason.FENCED: 2})
    assert set(bench.redis.keys("*frame*")) == before, "the frames that were SET are removed"
    assert old.lease is not None
    assert (old.lease.fenced, old.lease.fenced_by) == (True, 6)
    assert seqs(bench) == [0, 1]


def test_a_fenced_producer_sends_nothing_until_it_has_a_newer_lease(bench: QueueBench, leased: NewProducer) -> None:
    old, new = leased(PushLease(5)), leased(PushLease(6))
    new.push(frame(0))
    old.push(frame(0))
    asked = bench.redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert old.push(frame(1)).dropped == {DropReason.FENCED: 1}
    assert bench.redis.info("commandstats")["cmdstat_evalsha"]["calls"] == asked
    assert old.lease is not None
    old.lease.epoch = 7
    assert old.push(frame(1)).pushed
    assert new.push(frame(2)).dropped == {DropReason.FENCED: 1}


def test_numbers_continue_over_a_takeover_for_all_types_alike(valkey: EmbeddedValkey, leased: NewProducer) -> None:
    with QueueBench(valkey) as bench:
        old = leased(PushLease(5))
        for seq in range(10):
            old.push(frame(seq))
        bench.pop(256)
        lease = PushLease(6)
        link = PipelineConnection(redis.Redis(port=valkey.port))
        pair = [QueueProducer(link, kind, NAME, RULES, lease) for kind in ("car", TYPE)]
        for seq in range(3):
            pushes = [(each, [frame(seq, infer_type=kind)]) for each, kind in zip(pair, ("car", TYPE), strict=True)]
            assert all(outcome.pushed for outcome in push_many(pushes) if not isinstance(outcome, ResponseError))
        assert seqs(bench) == [10, 11, 12]
        assert bench.redis.get(keys.push_epoch("car", NAME)) == bench.redis.get(FENCE) == b"6 12"
        link.close()


def test_who_asks_for_its_first_number_refuses_the_former_at_once(bench: QueueBench, leased: NewProducer) -> None:
    old, new = leased(PushLease(5)), leased(PushLease(6))
    old.push(frame(0))
    request = new.request([frame(0)])
    assert isinstance(request, PushRequest)
    assert str(new.connection.exchange_packed(request.pieces, request.count)[-1]) == "EI_SEQ 0"
    # Otherwise the types of a stream, which are pushed one after another, would not change hands at the same frame.
    assert old.push(frame(1)).dropped == {DropReason.FENCED: 1}
    assert new.push(frame(0)).pushed
    assert seqs(bench) == [0, 1]
    assert bench.redis.get(FENCE) == b"6 1"


@pytest.mark.parametrize("left", [None, "5 0", "garbage"], ids=["nothing", "an older state", "garbage"])
def test_where_redis_has_lost_frames_of_a_lease_only_a_newer_epoch_pushes(
    bench: QueueBench, leased: NewProducer, left: str | None
) -> None:
    """It may have lost a newer lease too: who still holds the stream gets a newer epoch from the next round."""
    old, new = leased(PushLease(5)), leased(PushLease(6))
    old.push_batch([frame(0), frame(1)])
    assert new.push(frame(0)).pushed
    bench.redis.flushall()
    if left is not None:
        bench.redis.set(FENCE, left)
    assert old.push(frame(2)).dropped == {DropReason.FENCED: 1}
    assert new.push(frame(1)).dropped == {DropReason.FENCED: 1}
    for producer, epoch in ((old, 5), (new, 6)):
        assert producer.lease is not None
        assert (producer.lease.fenced, producer.lease.fenced_by) == (True, epoch)
    assert not bench.redis.keys("*frame:*")
    assert new.lease is not None
    new.lease.epoch = 7
    assert new.push(frame(2)).pushed
    assert new.push(frame(3)).pushed
    assert old.push(frame(3)).dropped == {DropReason.FENCED: 1}


def test_a_lease_that_has_pushed_nothing_needs_no_fence(bench: QueueBench, leased: NewProducer) -> None:
    new = leased(PushLease(6))
    bench.redis.flushall()
    assert new.push(frame(0)).pushed
    # Nor does it expect more of another type than it has pushed there.
    other = leased(PushLease(6), "car")
    assert other.push(frame(0)).pushed


def test_numbers_continue_in_the_same_lease(bench: QueueBench, leased: NewProducer) -> None:
    for _ in range(2):  # a process that starts again counts from 0
        producer = leased(PushLease(5))
        producer.push_batch([frame(0), frame(1)])
    assert seqs(bench) == [0, 1, 2, 3]


def test_the_script_is_loaded_and_no_frame_is_legacy(bench: QueueBench, leased: NewProducer) -> None:
    producer = leased(PushLease(5))
    for seq in range(2):
        bench.redis.script_flush()
        assert producer.push(frame(seq)).pushed
    assert bench.redis.exists(keys.legacy_queue(TYPE)) == 0
    assert bench.redis.llen(keys.waiting(TYPE, NAME)) == 2


def test_an_error_of_one_stream_does_not_touch_the_others(valkey: EmbeddedValkey) -> None:
    link = PipelineConnection(redis.Redis(port=valkey.port))
    with redis.Redis(port=valkey.port) as client, QueueBench(valkey):
        good, fenced, large, ordinary = (
            QueueProducer(link, TYPE, name, config.QueueRules(max_frame_bytes=4096), lease)
            for name, lease in (("a", PushLease(2)), ("b", PushLease(2)), ("c", PushLease(2)), ("d", None))
        )
        client.set(keys.push_epoch(TYPE, "b"), "3 9")
        outcomes = push_many(
            [
                (good, [frame(0, "a")]),
                (fenced, [frame(0, "b")]),
                (large, [Frame("c", TYPE, bytes(5000), 0)]),
                (ordinary, [frame(0, "d")]),
            ]
        )
        assert not any(isinstance(outcome, ResponseError) for outcome in outcomes)
        assert [getattr(outcome, "pushed", None) for outcome in outcomes] == [True, False, False, True]
        assert getattr(outcomes[2], "invalid", None) == InvalidReason.TOO_LARGE
        assert client.llen(keys.tokens(TYPE)) == 2
        link.close()


def test_many_streams_share_one_round_trip(valkey: EmbeddedValkey) -> None:
    link = PipelineConnection(redis.Redis(port=valkey.port))
    trips = []
    original = link.exchange_packed
    link.exchange_packed = lambda pieces, count: trips.append(count) or original(pieces, count)  # type: ignore[method-assign,func-returns-value]
    producers = [QueueProducer(link, TYPE, f"cam-{number}", RULES, PushLease(2)) for number in range(300)]
    for seq in range(2):
        trips.clear()
        outcomes = push_many([(each, [frame(seq, f"cam-{number}")]) for number, each in enumerate(producers)])
        assert all(getattr(outcome, "pushed", False) for outcome in outcomes)
    assert trips == [512, 88]
    link.close()


@pytest.mark.parametrize("value", [b"", b"x" * 100, b"99999999999999999 1", b"7", b"a b"])
def test_what_is_no_fence_is_replaced(bench: QueueBench, leased: NewProducer, value: bytes) -> None:
    bench.redis.set(FENCE, value)
    assert leased(PushLease(5)).push(frame(0)).pushed
    assert bench.redis.get(FENCE) == b"5 0"


def test_a_fence_that_is_made_up_stops_no_stream(bench: QueueBench, leased: NewProducer) -> None:
    bench.redis.set(FENCE, "8999999999999999 5")
    producer = leased(PushLease(1_790_000_000_000_000))
    assert producer.push(frame(0)).pushed
    assert bench.redis.get(FENCE) == b"1790000000000000 0"


def test_a_fence_of_the_wrong_type_is_replaced_and_it_expires(bench: QueueBench, leased: NewProducer) -> None:
    bench.redis.rpush(FENCE, "x")
    assert leased(PushLease(5)).push(frame(0)).pushed
    assert 0 < bench.redis.pttl(FENCE) <= 600_000
