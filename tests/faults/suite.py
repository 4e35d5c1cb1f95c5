"""All faults, in the order of the table."""

from __future__ import annotations

from tests.faults import buffers, clients, connections, habits, machine, network, pool, processes, writers
from tests.faults.runner import Fault

FAULTS: tuple[Fault, ...] = (
    *clients.FAULTS,
    *writers.FAULTS,
    *connections.FAULTS,
    *buffers.FAULTS,
    *habits.FAULTS,
    *processes.FAULTS,
    *pool.FAULTS,
    *network.FAULTS,
    *machine.FAULTS,
)
