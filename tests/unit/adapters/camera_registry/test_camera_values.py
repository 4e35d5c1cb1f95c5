"""The values of the registry: what is written is read again, without secrets where they do not belong."""

from __future__ import annotations

import json

import pytest

from elastic_inference.adapters.camera_registry.camera_values import (
    MAX_BYTES,
    CompleteCamera,
    complete,
    read_spec,
    read_status,
    read_wanted,
    secrets_value,
    spec_value,
    status_value,
    wanted_value,
)
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus

LOGIN = {"user": "viewer-of-cameras", "password": "se cret"}
OPEN = CameraSpec(name="yard", url="rtsp://10.0.0.7/live")
SECRET = CameraSpec.model_validate(
    {"name": "gate", "url": "http://10.0.0.8/v?key=k1", "substream": "http://10.0.0.8/s?key=k2", "login": LOGIN}
)


@pytest.mark.parametrize("spec", [OPEN, SECRET], ids=["open", "secret"])
def test_a_camera_is_read_as_it_was_written(spec: CameraSpec) -> None:
    camera = CompleteCamera(7, spec)
    public = read_spec(spec.name, spec_value(camera))
    assert public is not None
    assert (public.revision, public.has_login) == (7, spec.login is not None)
    assert complete(public, secrets_value(camera)) == camera


def test_the_public_part_has_no_secret() -> None:
    value = spec_value(CompleteCamera(7, SECRET)).decode()
    assert not any(secret in value for secret in ("viewer-of-cameras", "se cret", "k1", "k2"))


def test_a_camera_is_not_used_without_its_secrets_or_with_those_of_another_revision() -> None:
    public = read_spec("gate", spec_value(CompleteCamera(8, SECRET)))
    assert public is not None
    assert complete(public, None) is None
    assert complete(public, secrets_value(CompleteCamera(7, SECRET))) is None
    only_query = SECRET.model_copy(update={"login": None})
    public = read_spec("gate", spec_value(CompleteCamera(8, only_query)))
    assert public is not None
    assert complete(public, None) is None


@pytest.mark.parametrize(
    "raw",
    [
        *[None, 7, b"", b"[]", b"{", b"\xff", b"[" * 3000, b'{"revision": 1}', b'{"revision": 1, "spec": []}'],
        *[b'{"revision": true, "spec": {"url": "rtsp://a"}}', b'{"revision": 1.5, "spec": {"url": "rtsp://a"}}'],
        *[b'{"revision": -1, "spec": {"url": "rtsp://a"}}', b'{"revision": 1, "spec": {"url": "gopher://a"}}'],
        b'{"revision": 1, "spec": {"url": "rtsp://a"}, "x": "' + b"x" * MAX_BYTES + b'"}',
    ],
    ids=lambda raw: str(raw)[:20],
)
def test_what_is_no_camera_is_none(raw: object) -> None:
    assert read_spec("gate", raw) is None


def test_a_field_of_a_newer_version_is_left_out() -> None:
    found = read_spec("gate", b'{"revision": 1, "spec": {"url": "rtsp://a", "zoom": 3, "name": "other"}}')
    assert found is not None
    assert found.spec.name == "gate"


def test_wanted_is_read_as_it_was_written() -> None:
    assert read_wanted(wanted_value(1_790_000_000_000, 0.25)) == (1_790_000_000_000, 0.25)
    assert [read_wanted(raw) for raw in (None, b"", b"1", b"1 nan", b"x 1", b"1 -1", b"1 2 3", b"9" * 63)] == [None] * 8


def test_a_status_is_read_as_it_was_written_and_mended() -> None:
    status = CameraStatus(CameraState.STALLED, "no packets", "pod-1", 14.5, 0.1, 640, 480, 2, 5.0, 6.0)
    assert read_status(status_value(status)) == status
    odd = {"state": "live", "fps": -1, "cost": "x", "width": True, "worker": "a b", "reason": "x" * 9000, "more": 1}
    found = read_status(json.dumps(odd).encode())
    assert found is not None
    assert (found.fps, found.cost, found.width, found.worker, len(found.reason or "")) == (0.0, 0.0, None, None, 500)
    assert read_status(b'{"state": "live", "fps": NaN}') == CameraStatus(CameraState.LIVE)
    assert read_status(b'{"state": "asleep"}') is None
