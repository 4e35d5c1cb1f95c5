"""All faults, in the order of the table."""

from __future__ import annotations

from tests.faults import clients, connections, habits, machine, network, pool, processes, writers
from tests.faults.runner import Fault

FAULTS: tuple[Fault, ...] = (
    *clients.FAULTS,
    *writers.FAULTS,
    *connections.FAULTS,
    *habits.FAULTS,
    *processes.FAULTS,
    *pool.FAULTS,
    *network.FAULTS,
    *machine.FAULTS,
)
