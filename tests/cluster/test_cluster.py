"""The suite on a real cluster, seen from outside. `make test-cluster` runs it; the tests build on one another."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import redis
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_websocket

from elastic_inference.domain import keys
from tests.cluster.books import COUNTED, Books
from tests.cluster.conftest import OWN_TYPE, Installation
from tests.cluster.foreign_pod import ask_from
from tests.support.manifests import PROJECT, generate
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2700)]

REDIS, RELAY, GATEWAY = "ei-redis-deployment", "ei-websocket-server-deployment", "ei-gateway-server-deployment"
HOUSEKEEPING = "ei-housekeeping-deployment"
# What is there is found within this time, on a machine that does everything else at once.
PATIENCE_S = 120


def streams(here: Installation) -> list[dict[str, object]]:
    status, body, _ = here.http("/api/streams")
    return list(json.loads(body)["streams"]) if status == 200 else []


# --- what a new installation does -------------------------------------------------------------------------------


def test_the_images_are_small(installed: Installation) -> None:
    models = PROJECT / "build" / "models"
    models_mb = sum(path.stat().st_size for path in models.rglob("*") if path.is_file()) / 1e6
    assert len(installed.image_mb) == 5
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


def test_a_frame_of_a_plain_redis_client_comes_back_as_a_result(installed: Installation) -> None:
    message = msgpack.packb({"name": "plain-1", "category": OWN_TYPE, "data": installed.jpeg})
    with installed.redis("camera") as camera, installed.watcher(f"plain-1:{OWN_TYPE}:inferred") as viewer:

        def came_back() -> bool:
            camera.rpush(keys.legacy_queue(OWN_TYPE), message)
            return bool(viewer.results)

        wait_for(came_back, PATIENCE_S, "a result of the plain frame", every_s=0.5)
        assert viewer.results[0][1]["type"] == OWN_TYPE


def test_the_camera_user_can_push_and_nothing_else(installed: Installation) -> None:
    attempts: dict[str, Callable[[redis.Redis], object]] = {
        "read a frame": lambda client: client.lrange(keys.legacy_queue(OWN_TYPE), 0, -1),
        "read a key": lambda client: client.get(keys.frame(OWN_TYPE, "plain-1", "1")),
        "read the results": lambda client: client.xrange(keys.results(OWN_TYPE)),
        "list the channels": lambda client: client.pubsub_channels(),
        "publish": lambda client: client.publish(f"plain-1:{OWN_TYPE}:inferred", "x"),
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


def test_nobody_gets_in_without_a_password(installed: Installation) -> None:
    with redis.Redis(host=installed.node, port=installed.queue_port, socket_timeout=5) as client:
        for attempt in (client.ping, lambda: client.rpush(keys.legacy_queue("people"), b"x"), client.info):
            with pytest.raises(redis.AuthenticationError):
                attempt()
    with (
        redis.Redis(host=installed.node, port=installed.queue_port, username="camera", password="guess") as guesser,
        pytest.raises(redis.AuthenticationError),
    ):
        guesser.ping()


# --- who may talk to whom ---------------------------------------------------------------------------------------


def addresses(here: Installation) -> dict[str, tuple[str, int]]:
    space = here.kubectl.namespace
    return {
        "gateway": (f"ei-gateway-server-svc.{space}.svc.cluster.local", 5000),
        "redis": (f"ei-redis-svc.{space}.svc.cluster.local", 6379),
        "relay": (f"ei-websocket-server-svc.{space}.svc.cluster.local", 31611),
        "metrics": (f"{COUNTED}.{space}.svc.cluster.local", 8000),
        "redis pod": (here.kubectl.pods(REDIS)[0]["status"]["podIP"], 6379),
        "relay pod": (here.kubectl.pods(RELAY)[0]["status"]["podIP"], 31611),
    }


@pytest.mark.parametrize(
    ("space_label", "open_to_it"),
    [
        ("", {"gateway"}),
        ("none", {"gateway"}),
        ("elastic-inference/metrics=allowed", {"gateway", "metrics"}),
        ("elastic-inference/scaler=allowed", {"gateway", "redis", "redis pod"}),
    ],
    ids=["in the namespace", "in another namespace", "with the metrics label", "with the scaler label"],
)
def test_a_foreign_pod_reaches_only_what_the_picture_allows(
    installed: Installation, space_label: str, open_to_it: set[str]
) -> None:
    kubectl, known = installed.kubectl, addresses(installed)
    namespace = kubectl.namespace if not space_label else f"{kubectl.namespace}-guest"
    try:
        if space_label:
            kubectl.run("create", "namespace", namespace)
            if "=" in space_label:
                kubectl.run("label", "namespace", namespace, space_label)
        first = known[next(iter(open_to_it - {"gateway"}), "gateway")]
        answers = ask_from(installed, namespace, first, list(known.values()))
    finally:
        if space_label:
            kubectl.run("delete", "namespace", namespace, "--timeout=90s", check=False)
    reached = {name for name, (host, port) in known.items() if answers[f"{host}:{port}"]}
    assert reached == open_to_it


# --- pods that go away under load -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "may_lose"),
    [(COUNTED, 0), (RELAY, 0), (GATEWAY, 0), (REDIS, 64)],
    ids=["inference", "websocket server", "gateway", "redis"],
)
def test_frames_flow_again_after_a_component_was_deleted(installed: Installation, app: str, may_lose: int) -> None:
    kubectl = installed.kubectl
    name = f"cam-{app.removeprefix('ei-').split('-')[0]}"
    with (
        installed.results() as results,
        installed.camera(name) as camera,
        installed.watcher(f"{name}:{OWN_TYPE}:inferred") as viewer,
    ):
        viewer.wait_flowing(PATIENCE_S, "frames before the deletion")
        books = Books(installed, camera, results)
        old = {each["metadata"]["name"] for each in kubectl.pods(app)}
        began = time.monotonic()
        kubectl.run("delete", "pod", "-l", f"app={app}", "--wait=false")
        wait_for(lambda: set(kubectl.ready_pods(app)) - old, 90, f"a new pod of {app}", every_s=0.2)
        ready = time.monotonic()
        # the first frame that was captured after the new pod was Ready, or any after it where nothing was cut
        flowing = viewer.wait_flowing(30, f"frames after {app} was deleted", count=2)
        gap = viewer.longest_gap(began)
        kubectl.wait_rolled_out()
        added = books.close()
    print(
        f"\n{app}: new pod Ready after {ready - began:.1f} s, frames {max(flowing - ready, 0):.1f} s after that, "
        f"longest gap {gap:.1f} s, viewer cut {len(viewer.cuts)} times; {added}"
    )
    assert flowing - ready < 10
    assert gap < 20
    assert 0 - added["uncertain"] <= added["lost"] <= may_lose
    assert results.doubles[camera.name] == 0


def test_a_producer_that_was_deleted_comes_back(installed: Installation) -> None:
    app = "ei-sample-people-deployment"
    with installed.watcher("sample-people:people:inferred") as viewer:
        viewer.wait_flowing(PATIENCE_S, "frames before the deletion")
        old = {each["metadata"]["name"] for each in installed.kubectl.pods(app)}
        began = time.monotonic()
        installed.kubectl.run("delete", "pod", "-l", f"app={app}", "--wait=false")
        wait_for(lambda: set(installed.kubectl.ready_pods(app)) - old, 90, "a new producer", every_s=0.2)
        ready = time.monotonic()
        flowing = viewer.wait_flowing(30, "frames of the new producer", count=2)
        print(f"\n{app}: Ready after {ready - began:.1f} s, longest gap {viewer.longest_gap(began):.1f} s")
        assert flowing - ready < 10
        assert viewer.longest_gap(began) < 20


def test_a_rolling_update_of_the_inference_loses_no_frame(installed: Installation) -> None:
    with (
        installed.results() as results,
        installed.camera("roll") as camera,
        installed.watcher(f"roll:{OWN_TYPE}:inferred") as viewer,
    ):
        viewer.wait_flowing(PATIENCE_S, "frames before the update")
        books = Books(installed, camera, results)
        began = time.monotonic()
        installed.kubectl.run("rollout", "restart", f"deployment/{COUNTED}")
        installed.kubectl.wait_rolled_out()
        viewer.wait_flowing(20, "frames after the update")
        added = books.close()
        print(f"\nrolling update of {COUNTED}: longest gap {viewer.longest_gap(began):.1f} s; {added}")
    assert added["lost"] == 0
    assert added["pushed"] == added["inferred"] + added["dropped"]
    assert results.doubles[camera.name] == 0


def test_a_viewer_is_back_soon_after_a_rolling_update_of_the_gateway(installed: Installation) -> None:
    with installed.camera("gate") as _, installed.watcher(f"gate:{OWN_TYPE}:inferred") as viewer:
        viewer.wait_flowing(PATIENCE_S, "frames before the update")
        began = time.monotonic()
        installed.kubectl.run("rollout", "restart", f"deployment/{GATEWAY}")
        installed.kubectl.wait_rolled_out()
        # The rollout counts as done when the new pods are Ready: the old one still serves for its grace period.
        wait_for(lambda: viewer.cuts, 60, "the end of the gateway that served the viewer")
        viewer.wait_flowing(20, "frames after the update")
        gap = viewer.longest_gap(began)
        print(f"\nrolling update of the gateway: viewer cut {len(viewer.cuts)} times, longest gap {gap:.1f} s")
        assert gap < 5


# --- what it says when something is wrong -----------------------------------------------------------------------


def status(here: Installation) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [str(PROJECT / "tools" / "status.sh"), "-k", "-n", here.kubectl.namespace, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=here.kubectl.environ,
    )
    assert done.stdout.startswith("{"), done.stderr
    return done.returncode, json.loads(done.stdout)


def test_status_finds_nothing_wrong_with_a_healthy_system(installed: Installation) -> None:
    installed.kubectl.wait_rolled_out()

    def healthy() -> bool:
        code, found = status(installed)
        return code == 0 and {each["state"] for each in found["findings"]} == {"ok"}

    try:
        wait_for(healthy, 60, "status.sh to find every link working", every_s=2)
    except AssertionError as error:
        raise AssertionError(f"{error}; it says {status(installed)}") from None


@pytest.mark.parametrize(
    ("deployments", "link"),
    [
        ([f"ei-sample-{name}-deployment" for name in ("face", "people", "car", "object")], "camera"),
        ([REDIS], "queue"),
        (["ei-infer-people-app"], "worker"),
        ([RELAY], "relay"),
        ([GATEWAY], "gateway"),
        ([HOUSEKEEPING], "housekeeping"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_status_names_the_link_that_is_scaled_to_zero(
    installed: Installation, deployments: list[str], link: str
) -> None:
    kubectl = installed.kubectl
    before = {each: kubectl.get("deployment", each)["spec"].get("replicas", 1) for each in deployments}
    try:
        kubectl.run("scale", "--replicas=0", *[f"deployment/{each}" for each in deployments])
        for each in deployments:
            wait_for(lambda name=each: not kubectl.pods(name), 60, f"{each} to be gone", every_s=0.5)  # type: ignore[misc]

        def named() -> bool:
            code, found = status(installed)
            return code == 1 and found["first_broken"] == link

        try:
            wait_for(named, 60, f"status.sh to name {link}", every_s=2)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {status(installed)}") from None
    finally:
        for each, replicas in before.items():
            kubectl.run("scale", f"--replicas={replicas}", f"deployment/{each}")
        kubectl.wait_rolled_out()


def waiting_reason(here: Installation, app: str) -> str:
    pods = here.kubectl.pods(app)
    states = [each for pod in pods for each in pod["status"].get("containerStatuses", ())]
    return str(next((each["state"]["waiting"]["reason"] for each in states if "waiting" in each["state"]), ""))


def test_an_image_that_does_not_exist_is_named_and_the_rest_goes_on(installed: Installation) -> None:
    folder = installed.folder / "no-image"
    generate(
        "-r",
        installed.registry,
        "-g",
        "no-such-tag",
        "-t",
        "noimage",
        "-m",
        "blazeface",
        "-a",
        "none",
        "-o",
        str(folder),
    )
    try:
        installed.apply(folder / "deployment.yaml")
        app = "ei-infer-noimage-app"
        wait_for(lambda: waiting_reason(installed, app) in ("ErrImagePull", "ImagePullBackOff"), 60, "the pull to fail")
        wait_for(lambda: "ei-inference-service:no-such-tag" in installed.kubectl.run("get", "events"), 30, "its event")
        code, found = status(installed)
        assert code == 1
        assert "no-such-tag" in json.dumps(found)
        goes_on(installed)
    finally:
        installed.remove(folder / "deployment.yaml")


def test_a_model_that_does_not_exist_is_what_its_log_ends_with(installed: Installation) -> None:
    folder = installed.folder / "no-model"
    installed.generate("-t", "nomodel", "-m", "no-such-model_FP32", "-a", "none", "-o", str(folder))
    try:
        installed.apply(folder / "deployment.yaml")
        app = "ei-infer-nomodel-app"
        wait_for(
            lambda: waiting_reason(installed, app) == "CrashLoopBackOff", PATIENCE_S, "the crash loop", every_s=0.5
        )
        log = installed.kubectl.run("logs", f"deployment/{app}", "--previous")
        print(f"\nthe log of a pod without its model:\n{log}")
        assert log.splitlines()[-1].startswith("error: INFER_MODEL_NAME=no-such-model_FP32 ")
        assert "Traceback" not in log
        goes_on(installed)
    finally:
        installed.remove(folder / "deployment.yaml")


def test_a_missing_secret_is_named_by_the_events(installed: Installation) -> None:
    folder = installed.folder / "no-secret"
    installed.generate(
        "-t", "nosecret", "-m", "blazeface", "-a", "none", "--existing-secret", "no-such-secret", "-o", str(folder)
    )
    try:
        installed.apply(folder / "deployment.yaml")
        wait_for(lambda: 'secret "no-such-secret" not found' in installed.kubectl.run("get", "events"), 60, "its event")
        wait_for(lambda: waiting_reason(installed, "ei-infer-nosecret-app") == "ContainerCreating", 30, "its state")
        goes_on(installed)
    finally:
        installed.remove(folder / "deployment.yaml")


def goes_on(here: Installation) -> None:
    """The rest of the system still works."""
    with here.watcher("sample-people:people:inferred") as viewer:
        viewer.wait_flowing(60, "frames beside the broken deployment")


# --- and the end ------------------------------------------------------------------------------------------------


def test_deleting_what_was_applied_leaves_nothing(installed: Installation) -> None:
    kubectl = installed.kubectl
    installed.remove(*installed.applied)
    kinds = "all,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets,ingresses,hpa,pvc"

    def left() -> list[str]:
        names = [f"{each['kind']}/{each['metadata']['name']}" for each in kubectl.get(kinds)["items"]]
        return [each for each in names if each not in ("ConfigMap/kube-root-ca.crt", "ServiceAccount/default")]

    wait_for(lambda: not left(), 90, f"nothing to be left of {left()}", every_s=1)
