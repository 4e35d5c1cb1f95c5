"""The state of a camera, from its specification, its lease and its worker's report. Pure.

Called by the gateway for REST, and by the camera controller for the objects of a cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from elastic_inference.adapters.camera_registry.camera_values import RegisteredCamera
from elastic_inference.adapters.camera_registry.listing import CameraRecords, cost_of
from elastic_inference.domain.camera import CameraState, CameraStatus
from elastic_inference.domain.camera_errors import sentence
from elastic_inference.domain.leases import NoWorker, Unassigned

NO_WORKER = "No source worker is running: start a camera stream service with CAMERA_POOL=true."
NEXT = "A worker will claim it within a few seconds."
OPENING = "A worker has just claimed it and is opening it."
_RUNS = (CameraState.LIVE, CameraState.QUIET)
OPENS = "It is being opened."
QUARANTINE = "It has crashed the decoder twice: it now runs in a process of its own, and is tried again after pauses."


def status_of(name: str, camera: RegisteredCamera, records: CameraRecords) -> CameraStatus:
    """The status of one camera; `records` holds what Redis knows of it."""
    lease, reported = records.leases.get(name), records.statuses.get(name)
    if not camera.spec.enabled:
        return CameraStatus(CameraState.PAUSED)
    if lease is None or lease.worker is None:
        return CameraStatus(CameraState.UNASSIGNED, _why_unassigned(name, records), cost=cost_of(name, records))
    if reported is not None and lease.former is not None and reported.worker == lease.former:
        # The former worker runs it until the new one does.
        status = replace(reported, reason=reported.reason or f"It is moving to {lease.worker}.")
    elif reported is None or reported.worker != lease.worker:
        # The report is from the worker that held it before.
        status = CameraStatus(CameraState.RECONNECTING, OPENING, lease.worker, cost=cost_of(name, records))
    else:
        status = replace(reported)
        if status.state is CameraState.RECONNECTING:
            status.reason = status.reason or OPENS
    status.cost = status.cost or cost_of(name, records)
    status.waiting_types = _not_served(camera, records)
    if status.waiting_types and status.state in _RUNS:
        status.reason = " ".join(filter(None, (status.reason, waits_for_pods(status.waiting_types))))
    if lease.quarantined:
        status.state, status.reason = CameraState.QUARANTINED, status.reason or QUARANTINE
    return status


def waits_for_pods(types: Sequence[str]) -> str:
    """Says which types no pod serves. That is no error: their pools may be scaled to zero."""
    several = len(types) > 1
    return (
        f"No inference pod serves the type{'s' * several} {', '.join(types)} now: "
        f"{'their' if several else 'its'} frames wait for one."
    )


def _not_served(camera: RegisteredCamera, records: CameraRecords) -> tuple[str, ...]:
    served = records.served
    return () if served is None else tuple(each for each in camera.spec.types if each not in served)


def _why_unassigned(name: str, records: CameraRecords) -> str:
    workers, cost = records.workers.values(), cost_of(name, records)
    if not workers:
        return NO_WORKER
    if all(each.draining for each in workers):
        return sentence(Unassigned(NoWorker.DRAINING, cost).reason)
    if cost > max(each.capacity for each in workers):
        return sentence(Unassigned(NoWorker.LARGE, cost).reason)
    if all(each.draining or each.capacity - each.load < cost for each in workers):
        return sentence(Unassigned(NoWorker.FULL, cost).reason)
    return NEXT
