"""Makes the documents of the pool's cameras from the registry and the leases. Pure; called by `cameras`."""

from __future__ import annotations

from dataclasses import replace

from elastic_inference.adapters.camera_registry.camera_values import RegisteredCamera
from elastic_inference.adapters.camera_registry.listing import CameraRecords
from elastic_inference.adapters.camera_registry.state import status_of
from elastic_inference.domain.camera_documents import Camera, Cameras
from elastic_inference.domain.camera_errors import sentence
from elastic_inference.flows.gateway.access import Access

NO_OWNER = (
    "No service answers that may change cameras: give housekeeping CAMERAS_FILE, or on Kubernetes look at the camera "
    "controller."
)


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
    return Camera(name, camera.revision, camera.spec, camera.has_login, status_of(name, camera, records))


def worth_an_event(document: Cameras) -> object:
    """The part of the document whose change is worth an event: no cost, no times, and only a rough frame rate."""
    return document.problem, [
        (
            each.revision,
            each.name,
            replace(each.status, cost=0.0, frame_ms=None, since_ms=0.0, fps=float(round(each.status.fps))),
        )
        for each in document.cameras
    ]
