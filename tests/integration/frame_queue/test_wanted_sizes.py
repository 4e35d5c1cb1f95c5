"""Which size of frames is needed: pods and the websocket server write it, and a push answers with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from elastic_inference.adapters.frame_queue import PushLease, PushOutcome, QueueConsumer, QueueProducer, push_many
from elastic_inference.adapters.frame_queue import wanted_sizes as module
from elastic_inference.adapters.frame_queue.wanted_sizes import MODEL_LIFE_S, ModelSizeWriter, ask_sizes
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.image_size import UNKNOWN, WATCHED, ModelSize
from tests.support.jpeg import tiny_jpeg
from tests.support.queue_bench import TYPE, QueueBench

NAME = "gate-1"
MODEL = keys.model_size(TYPE)
SIZE = ModelSize(300, 200)


class Asking:
    """A producer that asks, with or without a lease."""

    def __init__(self, bench: QueueBench, lease: PushLease | None) -> None:
        self.producer = QueueProducer(connect(bench.target), TYPE, NAME, bench.rules, lease)
        self.producer.asks_size = True
        self._seq = 0

    def push(self) -> PushOutcome:
        self._seq += 1
        (outcome,) = push_many([(self.producer, [Frame(NAME, TYPE, tiny_jpeg(), self._seq)])])
        assert isinstance(outcome, PushOutcome)
        return outcome

    def answer(self) -> int | None:
        """What a push answers; the same as a question between pushes."""
        outcome = self.push()
        assert outcome.pushed
        assert ask_sizes([self.producer]) == [outcome.wanted]
        return outcome.wanted


@pytest.mark.parametrize("lease", [None, PushLease(1)])
def test_a_push_answers_with_what_is_needed(bench: QueueBench, lease: PushLease | None) -> None:
    asking = Asking(bench, lease)
    assert asking.answer() == UNKNOWN
    bench.redis.set(MODEL, str(SIZE))
    assert asking.answer() == SIZE.code
    for _ in range(bench.rules.stream_queue_depth + 2):  # frames are dropped: the answer counts them too
        assert asking.answer() == SIZE.code
    bench.redis.set(keys.size_wanted(TYPE, NAME), "watched")
    assert asking.answer() == WATCHED
    asking.producer.asks_size = False
    assert asking.push().wanted is None


@pytest.mark.parametrize("value", ["", "wide", "0x5 stretch", "99999x10 stretch", "-3x4 stretch", "x" * 100_000])
def test_a_foreign_value_is_no_size(bench: QueueBench, value: str) -> None:
    bench.redis.set(MODEL, value)
    assert Asking(bench, None).answer() == UNKNOWN


def test_a_key_of_the_wrong_type_does_no_harm(bench: QueueBench) -> None:
    bench.redis.rpush(MODEL, "300x300 stretch")
    bench.redis.rpush(keys.size_wanted(TYPE, NAME), "watched")
    assert Asking(bench, None).answer() == UNKNOWN


@pytest.fixture
def pod(bench: QueueBench) -> Callable[[ModelSize], None]:
    """Writes as a pod with this model does each 15 s."""
    link = PipelineConnection(connect(bench.target))
    return lambda size: ModelSizeWriter(link, TYPE, size).write(1.0)


def test_pods_write_what_their_models_need(bench: QueueBench, pod: Callable[[ModelSize], None]) -> None:
    pod(SIZE)
    assert bench.redis.get(MODEL) == b"300x200 stretch"
    bench.redis.pexpire(MODEL, 1000)
    pod(SIZE)
    assert bench.redis.pttl(MODEL) > MODEL_LIFE_S * 900, "its own size is renewed"
    pod(ModelSize(100, 500, letterbox=True))
    assert bench.redis.get(MODEL) == b"300x500 stretch", "room for both models"
    bench.redis.pexpire(MODEL, 1000)
    pod(SIZE)
    assert bench.redis.get(MODEL) == b"300x500 stretch"
    assert bench.redis.pttl(MODEL) <= 1000, "a larger size that nobody renews goes"


def test_pods_replace_a_foreign_value(bench: QueueBench, pod: Callable[[ModelSize], None]) -> None:
    for spoil in (lambda: bench.redis.set(MODEL, "rubbish"), lambda: bench.redis.rpush(MODEL, "x")):
        bench.redis.delete(MODEL)
        spoil()
        pod(SIZE)
        assert bench.redis.get(MODEL) == str(SIZE).encode()


def test_a_pod_writes_with_its_pops(valkey: EmbeddedValkey, bench: QueueBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_EVERY_S", 0.0)
    consumer = QueueConsumer(redis.Redis(port=valkey.port), TYPE, "pod-2", bench.rules, SIZE)
    consumer.load_scripts()
    consumer.pop(1, 0.0)
    assert bench.redis.get(MODEL) == str(SIZE).encode()
    consumer.close()
