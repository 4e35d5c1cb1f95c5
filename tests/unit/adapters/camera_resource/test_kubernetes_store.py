"""What errors of the API server mean and do, those inside a watch included, which have no HTTP answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import Status

from elastic_inference.adapters.camera_resource import camera_secrets
from elastic_inference.adapters.camera_resource.api_errors import explain
from elastic_inference.adapters.camera_resource.kept_objects import MANAGED_BY, kept, put
from elastic_inference.adapters.camera_resource.kubernetes_store import KubernetesStore
from elastic_inference.adapters.camera_resource.resource import CONTROLLER, LOGINS_SECRET
from elastic_inference.domain.camera import CameraState, CameraStatus


def test_an_error_inside_a_watch_is_explained_too() -> None:
    error = ApiError(status=Status(code=500, message="etcd is slow"))
    assert explain(error) == "The API server answers 500: etcd is slow"


class OneRefused:
    """An API server that does not accept the status of the camera `a`."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def patch(self, _kind: Any, name: str, *_: Any, **__: Any) -> None:
        self.asked.append(name)
        if name == "a":
            raise ApiError(status=Status(code=422, message="status.fps: not accepted"))


def store_of(server: Any, names: str) -> KubernetesStore:
    """A store whose objects have these names, of one letter each."""
    store = KubernetesStore(server, "default")
    for name in names:
        add(store, name)
    return store


def add(store: KubernetesStore, name: str, labels: dict[str, str] | None = None) -> None:
    spec = {"url": "rtsp://10.0.0.7/live"}
    found = kept({"metadata": {"name": name, "labels": labels}, "spec": spec})
    assert found is not None
    assert put(store._resources, found)


async def test_a_status_that_is_not_accepted_stops_no_other() -> None:
    server: Any = OneRefused()
    store = store_of(server, "ab")
    statuses = {name: CameraStatus(CameraState.LIVE, worker="pod-1") for name in ("a", "b")}
    await store.report(statuses)
    await store.report(statuses)
    assert server.asked == ["a", "b"]
    await store.report({name: CameraStatus(CameraState.STALLED, worker="pod-1") for name in ("a", "b")})
    assert server.asked == ["a", "b", "a", "b"]


async def test_cameras_that_change_all_the_time_keep_no_other_waiting() -> None:
    server: Any = OneRefused()
    names = "bcdefgh"
    store = store_of(server, names)
    for fps in (1, 2):
        await store.report({name: CameraStatus(CameraState.LIVE, worker="pod-1", fps=fps) for name in names})
    assert set(server.asked) == set(names)


class Logins:
    """An API server with the Secret of logins."""

    def __init__(self, *names: str) -> None:
        self.data = dict.fromkeys(names, "e30=")

    async def get(self, _kind: Any, name: str, **_: Any) -> Any:
        assert name == LOGINS_SECRET
        return SimpleNamespace(data=self.data)

    async def patch(self, _kind: Any, name: str, change: Any, **_: Any) -> Any:
        assert name == LOGINS_SECRET
        self.data = {key: value for key, value in (self.data | change["data"]).items() if value is not None}


async def test_a_login_goes_once_its_object_has_been_gone_for_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_secrets, "SECRETS_EVERY_S", 0.0)
    server: Any = Logins("a", "b")
    store = store_of(server, "")
    for name in "ab":
        add(store, name, {MANAGED_BY: CONTROLLER})
    store._listed, store._problem = True, ""
    for _ in range(3):
        await store.refresh()
    assert set(server.data) == {"a", "b"}
    del store._resources["b"]  # kubectl delete camera b
    server.data["new"] = "e30="  # REST writes a login before its object
    await store.refresh()
    assert set(server.data) == {"a", "b", "new"}
    add(store, "new", {MANAGED_BY: CONTROLLER})
    await store.refresh()
    assert set(server.data) == {"a", "new"}
    store._resources.clear()
    store._problem = "The API server does not answer."
    for _ in range(3):
        await store.refresh()
    assert set(server.data) == {"a", "new"}, "what is not seen is not gone"
