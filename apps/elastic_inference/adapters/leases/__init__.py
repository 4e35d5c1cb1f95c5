"""Leases in Redis: which worker of a group runs which item, without a leader. See `doc/redis.md`."""

from elastic_inference.adapters.leases.client import LeaseClient
from elastic_inference.domain.leases import Claim, Holding, Lease, NoPlace, Round, Unassigned, WorkerLoad

__all__ = ["Claim", "Holding", "Lease", "LeaseClient", "NoPlace", "Round", "Unassigned", "WorkerLoad"]
