"""Random histories of producers, pods, janitor and time: the account adds up and the bounds hold."""

from __future__ import annotations

import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from elastic_inference.base import config
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.queue_bench import TYPE, QueueBench

STREAMS = ("cam-1", "cam-2", "cam.3")
RULES = config.QueueRules(stream_queue_depth=3, queue_depth=6, token_limit=7, max_frame_age_s=60)
streams = st.sampled_from(STREAMS)


class QueueMachine(RuleBasedStateMachine):
    """Random histories of one queue."""

    def __init__(self, server: EmbeddedValkey) -> None:
        super().__init__()
        with redis.Redis(port=server.port) as client:
            client.flushall()
        self.bench = QueueBench(server, RULES)
        for name in STREAMS:
            self.bench.producer(name).report_source("live", 15.0, 0, 0)
        self.bench.run_janitor()

    def teardown(self) -> None:
        self.bench.drain()
        self.bench.check_account()
        assert self.bench.token_counts().total() == self.bench.frame_keys() == 0
        self.bench.close()

    @rule(name=streams, count=st.integers(1, 5))
    def push(self, name: str, count: int) -> None:
        self.bench.push(name, count)

    @rule(name=st.sampled_from(["old-1", "old-2"]), count=st.integers(1, 8))
    def push_legacy(self, name: str, count: int) -> None:
        self.bench.push_legacy(name, count)

    @rule(message=st.binary(max_size=40))
    def push_junk(self, message: bytes) -> None:
        self.bench.push_junk(message)

    @rule(count=st.integers(1, 9), pod=st.sampled_from(["pod-1", "pod-2"]))
    def pop(self, count: int, pod: str) -> None:
        tokens_before = self.bench.token_counts().total()
        batch = self.bench.pop(count, pod)
        legacy = sum(1 for frame in batch.frames if frame.frame.name.startswith("old")) + len(batch.invalid)
        if tokens_before >= count and self.bench.token_counts():
            assert legacy <= max(1, count // 2)

    @rule(name=streams, count=st.integers(1, 3))
    def frames_grow_old(self, name: str, count: int) -> None:
        self.bench.make_stale(name, count)

    @rule(name=streams)
    def a_frame_expires(self, name: str) -> None:
        for key in self.bench.redis.scan_iter(match=keys.frame(TYPE, name, "") + "*"):
            self.bench.redis.unlink(key)
            break

    @rule()
    def run_janitor(self) -> None:
        self.bench.run_janitor()
        assert self.bench.legacy_waiting() <= RULES.queue_depth

    @precondition(lambda self: self.bench.token_counts())
    @rule()
    def pod_dies_with_a_token(self) -> None:
        self.bench.redis.lpop(keys.tokens(TYPE))
        self.bench.run_janitor()

    @rule()
    def scripts_go(self) -> None:
        self.bench.redis.script_flush()
        self.bench.consumer().load_scripts()

    @invariant()
    def account_adds_up(self) -> None:
        self.bench.check_account()

    @invariant()
    def as_many_tokens_as_frames(self) -> None:
        assert self.bench.token_counts() == self.bench.waiting_counts()

    @invariant()
    def bounds_hold(self) -> None:
        waiting = self.bench.waiting_counts()
        assert all(count <= RULES.stream_queue_depth for count in waiting.values()), waiting
        assert waiting.total() <= RULES.token_limit
        assert self.bench.frame_keys() <= waiting.total()

    @invariant()
    def order_is_gapless(self) -> None:
        self.bench.check_order()


HISTORIES = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


def test_any_history(valkey_server: EmbeddedValkey) -> None:
    run_state_machine_as_test(lambda: QueueMachine(valkey_server), settings=HISTORIES)


def test_any_history_in_cluster_mode(cluster_server: EmbeddedValkey) -> None:
    run_state_machine_as_test(lambda: QueueMachine(cluster_server), settings=settings(HISTORIES, max_examples=8))
