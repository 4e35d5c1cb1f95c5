"""A new installation on a real cluster, seen from outside: detections, users, the dashboard."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgpack
import pytest
import redis
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_websocket

from elastic_inference.domain import keys
from tests.cluster.conftest import OWN_TYPE, PATIENCE_S, Installation
from tests.support.manifests import PROJECT
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2700)]


def streams(here: Installation) -> list[dict[str, object]]:
    status, body, _ = here.http("/api/streams")
    return list(json.loads(body)["streams"]) if status == 200 else []


def test_the_images_are_small(installed: Installation) -> None:
    models = PROJECT / "build" / "models"
    models_mb = sum(path.stat().st_size for path in models.rglob("*") if path.is_file()) / 1e6
    assert len(installed.image_mb) == 6
    for name, mb in installed.image_mb.items():
        assert mb < (700 + models_mb if name == "ei-inference-service" else 250), (name, mb)


def test_every_pod_is_ready_and_none_was_restarted(installed: Installation) -> None:
    assert installed.kubectl.unready() == []
    for pod in installed.kubectl.get("pods")["items"]:
        assert all(each["ready"] for each in pod["status"]["containerStatuses"]), pod["metadata"]["name"]
        assert all(each["restartCount"] == 0 for each in pod["status"]["containerStatuses"]), pod["metadata"]["name"]


@pytest.mark.parametrize(
    ("stream", "labels"),
    [
        ("sample-face:face-fp32:inferred", {"face"}),
        ("sample-face:face-int8:inferred", {"face"}),
        ("sample-people:people:inferred", {"person"}),
        ("sample-car:car-fp32:inferred", {"vehicle", "person", "bike"}),
        ("sample-car:car-int8:inferred", {"vehicle", "person", "bike"}),
        ("sample-object:object:inferred", {"person", "bicycle", "car", "bus", "truck", "motorcycle"}),
    ],
)
def test_detections_arrive_through_the_node_port(installed: Installation, stream: str, labels: set[str]) -> None:
    with installed.watcher(stream) as viewer:

        def detected() -> list[str]:
            return [each["label"] for _, result in list(viewer.results) for each in result["detections"]]

        wait_for(lambda: set(detected()) & labels, PATIENCE_S, f"a detection of {stream}", every_s=0.2)
        assert set(detected()) & labels
        result = viewer.results[-1][1]
    assert result["stream"] == stream
    assert all(0 <= edge <= 1 for each in result["detections"] for edge in each["box"])


def test_the_dashboard_is_there_for_those_who_have_the_token(installed: Installation) -> None:
    status, page, kind = installed.http("/")
    assert (status, kind.partition(";")[0]) == (200, "text/html")
    assert b'id="app"' in page, "the built dashboard, not the notice that it is missing"
    assert {str(each["type"]) for each in streams(installed)} >= {"face-fp32", "face-int8", "people", "object"}
    assert installed.http("/api/streams", token=False)[0] == 401
    with pytest.raises(InvalidStatus, match="401"):
        connect_websocket(f"{installed.websocket_base}/sample-people:people:inferred", open_timeout=10)


def test_a_frame_of_a_legacy_client_comes_back_as_a_result(installed: Installation) -> None:
    message = msgpack.packb({"name": "legacy-1", "category": OWN_TYPE, "data": installed.jpeg})
    with installed.redis("camera") as camera, installed.watcher(f"legacy-1:{OWN_TYPE}:inferred") as viewer:

        def came_back() -> bool:
            camera.rpush(keys.legacy_queue(OWN_TYPE), message)
            return bool(viewer.results)

        wait_for(came_back, PATIENCE_S, "a result of the legacy frame", every_s=0.5)
        assert viewer.results[0][1]["type"] == OWN_TYPE


def test_the_camera_user_can_push_and_nothing_else(installed: Installation) -> None:
    attempts: dict[str, Callable[[redis.Redis], object]] = {
        "read a frame": lambda client: client.lrange(keys.legacy_queue(OWN_TYPE), 0, -1),
        "read a key": lambda client: client.get(keys.frame(OWN_TYPE, "legacy-1", "1")),
        "read the results": lambda client: client.xrange(keys.results(OWN_TYPE)),
        "list the channels": lambda client: client.pubsub_channels(),
        "publish": lambda client: client.publish(f"legacy-1:{OWN_TYPE}:inferred", "x"),
        "run a script": lambda client: client.eval("return 1", 0),
        "list keys": lambda client: client.keys("*"),
        "empty the server": lambda client: client.flushall(),
        "change the server": lambda client: client.config_set("maxmemory", "1"),
        "list the users": lambda client: client.acl_list(),
        "write elsewhere": lambda client: client.set("streams", "x"),
        "stop the server": lambda client: client.shutdown(),
    }
    for what, attempt in attempts.items():
        with installed.redis("camera") as client:
            try:
                attempt(client)
            except redis.exceptions.NoPermissionError:
                continue
        pytest.fail(f"the camera user may {what}")


def test_nobody_logs_in_without_a_password(installed: Installation) -> None:
    with redis.Redis(host=installed.node, port=installed.queue_port, socket_timeout=5) as client:
        for attempt in (client.ping, lambda: client.rpush(keys.legacy_queue("people"), b"x"), client.info):
            with pytest.raises(redis.AuthenticationError):
                attempt()
    with (
        redis.Redis(host=installed.node, port=installed.queue_port, username="camera", password="guess") as guesser,
        pytest.raises(redis.AuthenticationError),
    ):
        guesser.ping()
