"""Housekeeping as a process: janitor, metrics, replicas, an unavailable Redis, SIGTERM, and what it costs when idle."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.background import repeating
from tests.support.gateway import Pool, RunningGateway
from tests.support.system import ServiceProcess, cpu_s
from tests.support.waiting import wait_for

# Of ten: pods come and go slowly, but a test waits for each.
COUNTS_SOON = {"elastic_inference.flows.housekeeping.rounds.WORKERS_EVERY_S": 1.0}


def start(
    server: EmbeddedValkey, folder: Path, name: str = "housekeeping", constants: Mapping[str, float] = COUNTS_SOON
) -> ServiceProcess:
    return ServiceProcess("housekeeping", {"QUEUE_URL": server.url}, folder, name, constants=constants).start()


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as found:
        yield found


@pytest.fixture
def housekeeping(valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> Iterator[ServiceProcess]:
    """A replica that has seen the type `people`, which has three frames and a pod."""
    Pool(client).publish()
    client.rpush(keys.legacy_queue("people"), *["frame"] * 3)
    started = start(valkey, tmp_path).wait_ready()
    yield started
    started.kill()


def test_the_queue_length_is_a_metric_and_the_janitor_runs(housekeeping: ServiceProcess) -> None:
    length = 'ei_queue_length{infer_type="people"}'
    wait_for(lambda: housekeeping.metrics().get(length) == 3, 20, "the length")
    # No pod pops: the janitor drops what is too old, as stale.
    wait_for(lambda: housekeeping.metrics().get(length) == 0, 20, "an empty queue")
    assert housekeeping.metrics()['ei_janitor_runs_total{infer_type="people"}'] >= 1


def test_frames_of_a_type_without_pods_are_counted_as_dropped(
    housekeeping: ServiceProcess, valkey: EmbeddedValkey, client: redis.Redis
) -> None:
    pool = Pool(client, "gate-2", "face-int8")
    pushed = 0

    def push() -> None:
        nonlocal pushed
        pool.push()
        pushed += 1

    def dropped() -> float:
        metrics = housekeeping.metrics()
        name = 'ei_frames_dropped_total{infer_type="face-int8",reason="%s"}'
        return sum(metrics.get(name % reason, 0) for reason in ("queue_full", "stale"))

    with RunningGateway(valkey.url) as gateway, repeating(push, 20):

        def drop_fps() -> float:
            types = {each["type"]: each["drop_fps"] for each in gateway.ask("/api/stats").json["types"]}
            return float(types.get("face-int8", 0))

        wait_for(lambda: 10 < drop_fps() < 25, 40, "the rate of drops in REST")
    waiting = keys.waiting("face-int8", "gate-2")
    wait_for(lambda: not client.llen(waiting), 20, "the end of the queue")
    wait_for(lambda: dropped() == pushed, 20, "an account without a gap")
    wait_for(lambda: client.exists(keys.janitor_lock("face-int8")), 5, "one more round")
    assert dropped() == pushed


def test_the_pods_that_report_are_a_metric(housekeeping: ServiceProcess, client: redis.Redis) -> None:
    metrics = housekeeping.metrics()
    assert metrics['ei_redis_up{part="broker"}'] == metrics['ei_redis_up{part="queue"}'] == 1
    Pool(client, "gate-2", "face-int8").push()
    wait_for(lambda: housekeeping.metrics().get('ei_workers{infer_type="people"}') == 1, 25, "the pod")
    wait_for(lambda: housekeeping.metrics().get('ei_workers{infer_type="face-int8"}') == 0, 25, "a type without a pod")


def test_memory_is_taken_from_the_type_that_fills_redis(housekeeping: ServiceProcess, client: redis.Redis) -> None:
    taken = 'ei_queue_relieved_bytes_total{infer_type="(no pods)"}'
    assert housekeeping.metrics()[taken] == 0
    limit = int(client.info("memory")["used_memory"]) + 30_000_000
    client.config_set("maxmemory", limit)
    try:
        for number in range(20):
            client.set(keys.frame("flood", "x", str(number)), bytes(1_250_000), px=60_000)
        wait_for(lambda: housekeeping.metrics()[taken] > 0, 20, "memory to be taken")
        assert "MiB of type flood, which uses most of it" in housekeeping.log()
        # Beside the rounds, which it must not wait for: they take longer under a flood.
        before = client.info("commandstats")["cmdstat_info"]["calls"]
        client.set(keys.frame("flood", "y", "1"), bytes(limit * 12 // 100), px=60_000)
        wait_for(lambda: client.info("commandstats")["cmdstat_info"]["calls"] > before + 60, 20, "looks")
    finally:
        client.config_set("maxmemory", 0)


def test_a_second_replica_continues_within_two_seconds(
    housekeeping: ServiceProcess, valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path
) -> None:
    Pool(client).push()  # a producer, whose type is known for longer than its frames wait
    other = start(valkey, tmp_path, "other").wait_ready()
    try:
        wait_for(lambda: 'ei_queue_length{infer_type="people"}' in other.metrics(), 20, "the type")
        housekeeping.kill()
        before = other.metric("ei_janitor_runs_total")
        began = time.monotonic()
        wait_for(lambda: other.metric("ei_janitor_runs_total") > before, 10, "the janitor")
        assert time.monotonic() - began < 6, "2 s, the time to ask, and what a busy machine adds"
    finally:
        other.kill()


def test_an_unavailable_redis_removes_the_figures_and_readiness(tmp_path: Path) -> None:
    server = EmbeddedValkey().start()
    housekeeping = start(server, tmp_path)
    try:
        with redis.Redis(port=server.port) as client:
            pool = Pool(client)
            pool.publish()
            pool.push()
            housekeeping.wait_ready()
            assert housekeeping.metrics()["ei_redis_used_memory_bytes"] > 0
            assert (
                0 < housekeeping.metrics()["ei_redis_connected_clients"] < housekeeping.metrics()["ei_redis_maxclients"]
            )
            wait_for(lambda: 'ei_queue_length{infer_type="people"}' in housekeeping.metrics(), 20, "the length")
            wait_for(lambda: housekeeping.metrics().get('ei_workers{infer_type="people"}') == 1, 20, "the pod")
            server.kill()
            wait_for(lambda: housekeeping.metrics()['ei_redis_up{part="broker"}'] == 0, 20, "the outage")
            wait_for(lambda: housekeeping.metrics()['ei_redis_up{part="queue"}'] == 0, 20, "the outage")
            metrics = housekeeping.metrics()
            assert not any(name.startswith(("ei_queue_length{", "ei_workers{")) for name in metrics), "dead values"
            assert math.isnan(metrics["ei_redis_used_memory_bytes"])
            assert set(housekeeping.ready()["missing"]) == {"queue", "broker"}
            server.start()
            Pool(client).publish()
            housekeeping.wait_ready(10)
            wait_for(lambda: housekeeping.metrics()["ei_redis_used_memory_bytes"] > 0, 10, "the memory")
            wait_for(lambda: housekeeping.metrics().get('ei_workers{infer_type="people"}') == 1, 20, "the pod")
            assert "Traceback" not in housekeeping.log()
    finally:
        housekeeping.kill()
        server.close()


def test_it_ends_at_once_and_in_order(housekeeping: ServiceProcess) -> None:
    began = time.monotonic()
    assert housekeeping.terminate() == 0
    assert time.monotonic() - began < 5
    assert "Traceback" not in housekeeping.log()


def test_idle_costs_next_to_nothing(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with redis.Redis(port=valkey.port) as client:
        for kind in ("face-fp32", "face-int8", "people", "car-fp32", "car-int8", "object"):
            client.zadd(keys.sources(kind), {"gate-1": time.time() * 1000})
            client.rpush(keys.tokens(kind), "none")
    housekeeping = start(valkey, tmp_path, constants={}).wait_ready()
    try:
        wait_for(lambda: 'ei_queue_length{infer_type="people"}' in housekeeping.metrics(), 20, "the types")
        assert housekeeping.process is not None
        before, began = cpu_s(housekeeping.process.pid), time.monotonic()
        time.sleep(4)  # a measurement, not a wait
        share = (cpu_s(housekeeping.process.pid) - before) / (time.monotonic() - began)
        # The figure is about 1 %; the limit leaves room for a busy machine.
        assert share < 0.04
    finally:
        housekeeping.kill()
