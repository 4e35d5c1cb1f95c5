"""The store of a cluster's cameras, and an API server that is slow, endless, or sends rubbish; and hostile objects."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from elastic_inference.adapters.camera_resource import api_transport, kept_objects, kubernetes_store
from elastic_inference.adapters.camera_resource.api_errors import API_ERRORS
from elastic_inference.adapters.camera_resource.kubernetes_store import KubernetesStore, connect
from elastic_inference.domain.camera import CameraState, CameraStatus
from tests.support.api_server import ApiHandler, ApiServer, camera, drip
from tests.support.waiting import wait_for_async

Start = Callable[[], KubernetesStore]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as found:
        yield found


@pytest.fixture
async def start(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Returns a store, and begins to watch."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    found = KubernetesStore(connect(), "default")
    tasks: list[asyncio.Task[None]] = []

    def begin() -> KubernetesStore:
        tasks.append(asyncio.create_task(found.watch(asyncio.Event())))
        return found

    yield begin
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await found.close()


async def wait_names(store: KubernetesStore, *names: str) -> None:
    await wait_for_async(lambda: sorted(store.cameras() or ()) == sorted(names), what=f"the cameras {names}")


def gone(handler: ApiHandler) -> bool:
    """Ends each watch with 410."""
    if handler.watches:
        handler.begin()
        handler.send_event("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
    return handler.watches


def ends(handler: ApiHandler) -> bool:
    """Ends each watch at once."""
    if handler.watches:
        handler.begin()
    return handler.watches


@pytest.mark.parametrize("fault", [gone, ends])
async def test_a_server_that_ends_each_watch_is_not_asked_without_a_pause(
    server: ApiServer, start: Start, fault: object
) -> None:
    server.objects = [camera("gate")]
    server.faults = [fault]  # type: ignore[list-item]
    store = start()
    await wait_for_async(lambda: server.count("watch") >= 2, what="a second watch")
    before = len(server.asked)
    await asyncio.sleep(1.5)  # the time in which it is counted
    assert len(server.asked) - before <= 10
    assert list(store.cameras() or ()) == ["gate"]
    assert store.problem == ""


async def test_a_server_that_hangs_up_is_a_problem(server: ApiServer, start: Start) -> None:
    server.objects = [camera("gate")]
    server.faults = [gone]
    store = start()
    await wait_names(store, "gate")
    server.faults = [lambda _: True]
    await wait_for_async(lambda: "does not answer" in store.problem, what="the problem")
    before = len(server.asked)
    await asyncio.sleep(1.0)  # the time in which it is counted
    assert len(server.asked) - before <= 10
    assert list(store.cameras() or ()) == ["gate"]
    server.faults = []
    await wait_for_async(lambda: store.problem == "", what="the end of the problem")


async def test_a_list_that_drips_is_given_up(server: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_transport, "ANSWER_S", 1.0)
    server.faults = [lambda handler: not handler.watches and drip(handler)]
    store = start()
    await wait_for_async(lambda: "has not ended its answer" in store.problem, what="the problem")
    server.faults = []
    server.objects = [camera("gate")]
    await wait_names(store, "gate")


async def test_an_endless_answer_is_not_kept(server: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_transport, "MAX_ANSWER_BYTES", 1 << 20)
    monkeypatch.setattr(api_transport, "MAX_EVENT_BYTES", 1 << 20)
    sent = 0

    def endless(handler: ApiHandler) -> bool:
        nonlocal sent
        handler.begin()
        for _ in range(64):
            handler.wfile.write(b" " * (1 << 20))
            sent += 1
        return True

    server.faults = [lambda handler: not handler.watches and endless(handler)]
    store = start()
    await wait_for_async(lambda: "sends more than 1 MB" in store.problem, what="the problem")
    assert sent < 64
    server.objects = [camera("gate")]
    server.faults = [lambda handler: handler.watches and endless(handler)]
    await wait_for_async(lambda: server.count("watch") > 0 and "sends more" in store.problem, what="that of the watch")
    server.faults = []
    await wait_for_async(lambda: store.problem == "", what="the end of the problem")


async def test_an_endless_list_of_parts_ends(server: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_store, "LIST_S", 1.0)

    def more(handler: ApiHandler) -> bool:
        listed = {"kind": "CameraList", "apiVersion": "v1", "metadata": {"resourceVersion": "1", "continue": "9"}}
        handler.answer({**listed, "items": []})
        return True

    server.faults = [more]
    store = start()
    await wait_for_async(lambda: "has not listed the cameras" in store.problem, what="the problem")


async def test_a_silent_watch_begins_again(server: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_transport, "WATCH_S", 0)
    monkeypatch.setattr(api_transport, "WATCH_SPARE_S", 1.0)
    server.objects = [camera("gate")]
    store = start()
    await wait_names(store, "gate")
    server.objects = [camera("yard")]  # no watch says so
    await wait_names(store, "yard")
    assert store.problem == ""


@pytest.mark.parametrize(
    "line", [b"no JSON", b"[" * 5000, b'{"type":"ADDED","object":{"metadata":7}}', b'{"type":"ADDED","object":{}}']
)
async def test_rubbish_in_a_watch_does_not_end_it_for_good(server: ApiServer, start: Start, line: bytes) -> None:
    def rubbish(handler: ApiHandler) -> bool:
        if handler.watches:
            handler.begin()
            handler.wfile.write(line + b"\n")
        return handler.watches

    server.faults = [rubbish]
    server.objects = [camera("gate")]
    store = start()
    await wait_for_async(lambda: server.count("watch") >= 1, what="a watch")
    server.faults = []
    server.send("ADDED", camera("yard"))
    await wait_names(store, "gate", "yard")


async def test_one_object_that_is_rubbish_costs_no_other(server: ApiServer, start: Start) -> None:
    odd = {**camera("odd"), "metadata": {"name": "odd", "generation": "x", "labels": [1], "resourceVersion": 7}}
    server.objects = [{}, {"metadata": []}, {"metadata": {"name": 5}}, odd, camera("gate")]
    store = start()
    await wait_names(store, "gate", "odd")
    server.send("MODIFIED", camera("gate", 2, url="rtsp://10.0.0.7/new"))
    await wait_for_async(lambda: (store.cameras() or {})["gate"].url.endswith("/new"), what="the change")


async def test_an_older_state_that_comes_later_is_passed_over(server: ApiServer, start: Start) -> None:
    server.objects = [camera("gate", 5)]
    store = start()
    await wait_names(store, "gate")
    server.send("MODIFIED", camera("gate", 9, fps=9))
    server.send("MODIFIED", camera("gate", 8, fps=8))
    server.send("DELETED", camera("gate", 7))
    server.send("ADDED", camera("last", 10))
    await wait_names(store, "gate", "last")
    assert (store.cameras() or {})["gate"].fps == 9


async def test_too_many_cameras_leave_the_oldest(
    server: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (kept_objects, kubernetes_store):
        monkeypatch.setattr(module, "MAX_CAMERAS", 3)
    made = [camera(f"a-{number:03}") for number in range(300)] + [camera(name) for name in ("x", "y", "z")]
    for number, each in enumerate(made):
        each["metadata"]["creationTimestamp"] = f"2026-01-{'02' if number < 300 else '01'}T00:00:00Z"
    server.objects = list(made)
    store = start()
    await wait_names(store, "x", "y", "z")
    server.send("ADDED", camera("another"))
    server.send("MODIFIED", camera("x", 2, fps=3))
    await wait_for_async(lambda: (store.cameras() or {})["x"].fps == 3, what="the change")
    assert sorted(store.cameras() or ()) == ["x", "y", "z"]


async def test_fat_objects_are_not_kept_and_cost_no_other(
    server: ApiServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_transport, "MAX_ANSWER_BYTES", 10 << 20)
    fat = [camera(f"fat-{number:02}", labels={"x": "y" * 1_000_000}) for number in range(20)]
    for each in fat:
        each["metadata"]["annotations"] = {"note": "z" * 200_000}
    server.objects = [*fat, camera("gate")]
    store = start()
    await wait_names(store, "gate")
    assert store.problem == ""
    stored = store.stored()
    assert len(stored) == 21
    assert all("at most 64 kB" in (stored[each["metadata"]["name"]].problem or "") for each in fat)
    assert len(repr(store._resources)) < 50_000


async def test_slow_secrets_do_not_hold_up_a_round(server: ApiServer, start: Start) -> None:
    value = base64.b64encode(b"x").decode()
    names = [f"c-{number}" for number in range(16)]
    server.secrets = {f"s-{name}": {"user": value, "password": value} for name in names}
    server.objects = [camera("gate"), *(camera(name, login_secret=f"s-{name}") for name in names)]

    def slow(handler: ApiHandler) -> bool:
        if handler.parts[0] == "secrets":
            time.sleep(1.0)
        return False

    server.faults = [slow]
    store = start()
    await wait_for_async(lambda: store.cameras() is not None, what="the cameras")
    began = time.monotonic()
    await store.refresh()
    assert time.monotonic() - began < 8, "one after the other, they take 16 s"
    assert "gate" in (store.cameras() or {})

    async def all_read() -> bool:
        await store.refresh()
        return sorted(store.cameras() or ()) == sorted(["gate", *names])

    await wait_for_async(all_read, 30, "the logins")


async def test_a_secret_that_the_server_cannot_give_costs_no_other(server: ApiServer, start: Start) -> None:
    value = base64.b64encode(b"x").decode()
    names = [f"c-{number}" for number in range(8)]
    server.secrets = {f"s-{name}": {"user": value, "password": value} for name in names}
    server.objects = [camera(name, login_secret=f"s-{name}") for name in names]

    def broken(handler: ApiHandler) -> bool:
        if handler.parts == ["secrets", "s-c-0"]:
            handler.refuse(500)
        return handler.parts == ["secrets", "s-c-0"]

    server.faults = [broken]

    async def all_read() -> bool:
        await store.refresh()
        return sorted(store.cameras() or ()) == names[1:]

    store = start()
    await wait_for_async(all_read, what="the logins")


async def test_a_status_that_is_always_refused_keeps_no_other_waiting(server: ApiServer, start: Start) -> None:
    server.objects = [camera("a"), camera("b")]
    store = start()
    await wait_names(store, "a", "b")

    def forbidden(handler: ApiHandler) -> bool:
        if handler.parts == ["cameras", "a", "status"]:
            handler.refuse(403, "an admission webhook denied the request")
        return handler.parts == ["cameras", "a", "status"]

    server.faults = [forbidden]

    async def written() -> bool:
        statuses = {name: CameraStatus(CameraState.LIVE, worker="pod-1") for name in ("a", "b")}
        with contextlib.suppress(*API_ERRORS):
            await store.report(statuses)
        return "b" in server.statuses

    await wait_for_async(written, what="the status of b")


async def test_the_login_of_a_camera_called_password_goes_to_no_other(server: ApiServer, start: Start) -> None:
    login = base64.b64encode(json.dumps({"user": "root", "password": "s3cret!"}).encode()).decode()
    server.secrets = {"ei-camera-logins": {"password": login}}
    server.objects = [camera("thief", login_secret="ei-camera-logins"), camera("gate")]
    store = start()
    await wait_names(store, "gate")
    await store.refresh()
    assert list(store.cameras() or ()) == ["gate"]
    assert "has no login of the camera thief" in (store.stored()["thief"].problem or "")
