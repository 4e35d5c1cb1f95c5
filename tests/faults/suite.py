"""All faults, in the order of the table."""

from __future__ import annotations

from tests.faults import clients, connections, machine, network, processes
from tests.faults.runner import Fault

FAULTS: tuple[Fault, ...] = (
    *clients.FAULTS,
    *connections.FAULTS,
    *processes.FAULTS,
    *network.FAULTS,
    *machine.FAULTS,
)
