"""Makes the documents of the pool's cameras from what the registry and the leases hold. Pure; called by `cameras`."""

from __future__ import annotations

from dataclasses import replace

from elastic_inference.adapters.camera_registry.listing import CameraRecords, cost_of
from elastic_inference.adapters.camera_registry.records import RegisteredCamera
from elastic_inference.domain.camera import CameraState, CameraStatus
from elastic_inference.domain.camera_documents import Camera, Cameras
from elastic_inference.domain.camera_errors import sentence
from elastic_inference.domain.leases import NoPlace, Unassigned
from elastic_inference.flows.gateway.access import Access

NO_OWNER = (
    "No service answers that may change cameras: give housekeeping CAMERAS_FILE, or on Kubernetes look at the camera "
    "controller."
)
NO_WORKER = "No source worker runs: start a camera stream service with CAMERA_POOL=true."
NEXT = "The next free worker takes it within a few seconds."
OPENING = "A worker has just taken it and opens it."
QUARANTINE = "It has crashed its decoder twice: it runs alone now and is tried again with pauses."


def cameras_document(records: CameraRecords, access: Access) -> Cameras:
    """The cameras that `access` sees."""
    names = [name for name in sorted(records.cameras) if access.sees(name)]
    problem = sentence(records.problem) if records.problem else None
    return Cameras(
        tuple(camera_document(name, records.cameras[name], records) for name in names),
        problem if records.owned else NO_OWNER,
    )


def camera_document(name: str, camera: RegisteredCamera, records: CameraRecords) -> Camera:
    """One camera."""
    return Camera(name, camera.revision, camera.spec, camera.has_login, _status(name, camera, records))


def worth_an_event(document: Cameras) -> object:
    """What of the document is worth one: not cost and times, nor a small change of the rate."""
    return document.problem, [
        (
            each.revision,
            each.name,
            replace(each.status, cost=0.0, frame_ms=None, since_ms=0.0, fps=float(round(each.status.fps))),
        )
        for each in document.cameras
    ]


def _status(name: str, camera: RegisteredCamera, records: CameraRecords) -> CameraStatus:
    lease, reported = records.leases.get(name), records.statuses.get(name)
    if not camera.spec.enabled:
        return CameraStatus(CameraState.PAUSED)
    if lease is None or lease.worker is None:
        return CameraStatus(CameraState.UNASSIGNED, _why_unassigned(name, records), cost=cost_of(name, records))
    if reported is None or reported.worker != lease.worker:
        # The report is that of a worker that held it before.
        status = CameraStatus(CameraState.RECONNECTING, OPENING, lease.worker, cost=cost_of(name, records))
    else:
        status = replace(reported)
    if lease.quarantined:
        status.state, status.reason = CameraState.QUARANTINED, status.reason or QUARANTINE
    return status


def _why_unassigned(name: str, records: CameraRecords) -> str:
    workers, cost = records.workers.values(), cost_of(name, records)
    if not workers:
        return NO_WORKER
    if all(each.draining for each in workers):
        return sentence(Unassigned(NoPlace.DRAINING, cost).reason)
    if cost > max(each.capacity for each in workers):
        return sentence(Unassigned(NoPlace.LARGE, cost).reason)
    if all(each.draining or each.capacity - each.load < cost for each in workers):
        return sentence(Unassigned(NoPlace.FULL, cost).reason)
    return NEXT
