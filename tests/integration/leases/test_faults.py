"""Many workers through kills, freezes, partitions, drains, shifted clocks and a Redis that restarts empty.

Seeded, so that each run is the same but for time. EI_LEASE_SEEDS sets how many runs there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.lease_pool import Pool
from tests.support.waiting import wait_for

SEEDS = int(os.environ.get("EI_LEASE_SEEDS", "4"))
STEPS = 25


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_fault_mixes_frames_or_leaves_an_item_alone(valkey: EmbeddedValkey, seed: int) -> None:
    pool = Pool(valkey.port, seed)
    faults: list[Callable[[], None]] = [
        *(pool.join, pool.kill, pool.freeze, pool.wake, pool.cut_off, pool.mend, pool.drain, pool.empty),
        *(pool.shift_clock, pool.pause, pool.wait, pool.rounds, pool.rounds, pool.rounds, pool.rounds),
    ]
    try:
        for _ in range(STEPS):
            pool.random.choice(faults)()
            pool.rounds()
        pool.wake()
        pool.mend()
        for worker in pool.workers:
            worker.draining = False
        wait_for(pool.settled, what="each item to have one worker that pushes", timeout_s=20)
        assert pool.pushed > STEPS
    finally:
        pool.close()
