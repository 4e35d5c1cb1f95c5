"""Leases in Redis: which worker of a group runs which item, without a leader. See `doc/leases.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elastic_inference.base.late_names import late_names

if TYPE_CHECKING:
    from elastic_inference.adapters.leases.client import LeaseClient
    from elastic_inference.domain.leases import Claim, Holding, Lease, NoWorker, Round, Unassigned, WorkerLoad

__all__ = ["Claim", "Holding", "Lease", "LeaseClient", "NoWorker", "Round", "Unassigned", "WorkerLoad"]

__getattr__ = late_names(
    __name__,
    {
        **dict.fromkeys(__all__, "elastic_inference.domain.leases"),
        "LeaseClient": ".client",
    },
)
