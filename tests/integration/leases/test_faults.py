"""Many workers through kills, freezes, partitions, drains, shifted clocks, and a Redis that is empty, lost or replaced.

Seeded, so that each run is the same but for time. EI_LEASE_SEEDS sets how many runs there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.failing_redis import FailingRedis
from tests.support.lease_pool import ITEMS, Pool
from tests.support.waiting import wait_for

SEEDS = int(os.environ.get("EI_LEASE_SEEDS", "4"))
STEPS = 25
# A failover takes longer than other faults.
STEPS_BETWEEN = 8
Fault = Callable[[], None]


def faults_of(pool: Pool) -> list[Fault]:
    return [
        *(pool.join, pool.kill, pool.freeze, pool.wake, pool.cut_off, pool.mend, pool.drain, pool.empty),
        *(pool.go_wild, pool.go_wild, pool.forge),
        *(pool.shift_clock, pool.pause, pool.wait, pool.rounds, pool.rounds, pool.rounds, pool.rounds),
    ]


def end(pool: Pool) -> None:
    """When all faults are over, each item is pushed by one worker."""
    pool.wake()
    pool.mend()
    for worker in pool.workers:
        worker.draining = False
    wait_for(pool.settled, what="each item to have one worker that pushes", timeout_s=20)
    assert pool.pushed > len(ITEMS)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_fault_mixes_frames_or_leaves_an_item_alone(valkey: EmbeddedValkey, seed: int) -> None:
    pool = Pool(valkey.port, seed)
    faults = faults_of(pool)
    try:
        for _ in range(STEPS):
            pool.random.choice(faults)()
            pool.rounds()
        end(pool)
    finally:
        pool.close()


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_nor_does_a_redis_that_is_lost_or_fails_over(seed: int) -> None:
    with FailingRedis() as server:
        pool = Pool(server.port, seed, server)
        faults = [*faults_of(pool), pool.lose, pool.lose, pool.lose]
        try:
            for step in range(1, STEPS + 1):
                (pool.random.choice(faults) if step % STEPS_BETWEEN else pool.fail_over)()
                pool.rounds()
            end(pool)
        finally:
            pool.close()
