"""The sum of a type's ratios: right when pods join, are killed, or come back together after an outage."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError

from elastic_inference.adapters.stream_broker.records import WorkerInfo
from elastic_inference.flows.housekeeping import pool_demand
from elastic_inference.flows.housekeeping.pool_demand import PoolDemand, sum_of_ratios

NOW_S = 1_790_000_000.0


def pod(number: int, ratio: float, age_s: float = 0.5, kind: str = "people") -> WorkerInfo:
    return WorkerInfo(kind, f"pod-{number}", 1.0, 0.0, ratio, "CPU", "m", "INT8", NOW_S - age_s)


def test_the_demand_is_the_sum_of_the_ratios() -> None:
    assert sum_of_ratios([], NOW_S) == 0.0
    assert sum_of_ratios([pod(1, 0.0)], NOW_S) == 0.0
    assert sum_of_ratios([pod(1, 0.5), pod(2, 1.25)], NOW_S) == 1.75


def test_a_pod_that_was_killed_blanks_nothing_and_one_that_joins_neither() -> None:
    pods = [pod(1, 0.5), pod(2, 0.75)]
    assert sum_of_ratios([*pods, pod(3, 9.0, age_s=8)], NOW_S) == 1.25
    assert sum_of_ratios([*pods, pod(3, 0.0, age_s=0)], NOW_S) == 1.25
    many = [pod(number, 0.5) for number in range(40)]
    late = [pod(100 + number, 0.5, age_s=8) for number in range(4)]
    assert sum_of_ratios([*many, *late], NOW_S) == 20.0


def test_there_is_no_value_while_several_pods_or_the_only_one_are_missing() -> None:
    late = [pod(1, 0.5, age_s=8), pod(2, 0.5, age_s=8)]
    assert sum_of_ratios([*late, pod(3, 0.5), pod(4, 0.5)], NOW_S) is None
    assert sum_of_ratios(late[:1], NOW_S) is None


def test_a_ratio_from_outside_is_bounded() -> None:
    assert sum_of_ratios([pod(1, 1e300), pod(2, 1e300)], NOW_S) == 2000.0


class Broker:
    """A registry and a queue: what is read, how often, and errors."""

    def __init__(self) -> None:
        self.pods = [pod(1, 0.5), pod(2, 0.75, kind="face")]
        self.up: float | None = 1000.0
        self.reads = 0
        self.fails = False

    async def reports(self) -> tuple[float, list[WorkerInfo]]:
        self.reads += 1
        await asyncio.sleep(0.01)
        if self.fails:
            raise ConnectionError("closed")
        return NOW_S, self.pods

    async def up_s(self) -> float | None:
        return self.up


def demand(broker: Broker, *, cluster: bool = False) -> PoolDemand:
    return PoolDemand(cast(Any, None), cast(Any, broker), cluster=cluster)


async def test_callers_share_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()
    read = demand(broker)
    assert await asyncio.gather(*(read.pods(kind) for kind in ("people", "face", "car"))) == [0.5, 0.75, 0.0]
    assert broker.reads == 1
    monkeypatch.setattr(pool_demand, "KEPT_S", 0.0)
    assert await read.pods("people") == 0.5
    assert broker.reads == 2


async def test_after_an_outage_pods_may_register_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_demand, "KEPT_S", 0.0)
    broker = Broker()
    read = demand(broker)
    assert await read.pods("people") == 0.5
    broker.fails = True
    with pytest.raises(ConnectionError):
        await read.pods("people")
    broker.fails = False
    assert await read.pods("people") is None
    monkeypatch.setattr(pool_demand, "SETTLE_S", 0.0)
    assert await read.pods("people") == 0.5


async def test_a_broker_that_has_just_started_may_miss_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_demand, "KEPT_S", 0.0)
    broker = Broker()
    broker.up = 3.0
    assert await demand(broker).pods("people") is None
    assert await demand(broker, cluster=True).pods("people") == 0.5, "a Redis Cluster says nothing of its start"
    broker.up = None
    assert await demand(broker).pods("people") == 0.5
