"""The registry on a real Valkey: what the owner writes, workers read; what Redis lost comes back."""

from __future__ import annotations

import redis

from elastic_inference.adapters.camera_registry.camera_reader import CameraReader
from elastic_inference.adapters.camera_registry.camera_values import (
    CompleteCamera,
    read_status,
    secrets_value,
    spec_value,
)
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus

LOGIN = {"user": "viewer", "password": "se cret"}


def spec(name: str, **more: object) -> CameraSpec:
    return CameraSpec.model_validate({"name": name, "url": f"rtsp://10.0.0.7/{name}", **more})


def test_a_worker_reads_cameras_with_their_logins_and_writes_statuses(client: redis.Redis) -> None:
    cameras = {f"cam-{n}": CompleteCamera(n + 1, spec(f"cam-{n}", login=LOGIN)) for n in range(150)}
    for name, camera in cameras.items():
        client.hset(keys.CAMERA_SPECS, name, spec_value(camera))
        client.hset(keys.CAMERA_SECRETS, name, secrets_value(camera) or b"")
    client.hset(keys.CAMERA_SPECS, "broken", b"{")
    client.hset(keys.CAMERA_SECRETS, "cam-0", b"{}")
    reader = CameraReader(client)
    found = reader.read([*cameras, "broken", "none", "no name"])
    assert found == {name: camera for name, camera in cameras.items() if name != "cam-0"}
    status = CameraStatus(CameraState.LIVE, worker="pod-1", fps=15.0)
    reader.write_statuses({"cam-1": status})
    assert read_status(client.hget(keys.CAMERA_STATUS, "cam-1")) == status
