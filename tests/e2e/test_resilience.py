"""Two pods on one queue, and every part restarted in turn under load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import redis

from elastic_inference import keys
from elastic_inference.catalogue.download_models import fetch_embedded
from elastic_inference.catalogue.download_videos import fetch_clips
from tests.conftest import REPOSITORY
from tests.support.system import ServiceProcess, System
from tests.support.viewer import Viewer
from tests.support.waiting import TIME_FACTOR, wait_for

pytestmark = pytest.mark.alone

STREAM = "phone:face:inferred"
FPS = 30
BACK_WITHIN_S = 5.0


class Running(System):
    """One 30 fps stream, two pods, relay and gateway."""

    pods: tuple[ServiceProcess, ServiceProcess]
    camera: ServiceProcess

    def start_all(self) -> None:
        models = fetch_embedded(REPOSITORY / "models")
        assert models
        clips = fetch_clips(REPOSITORY / "videos")
        environ = {"INFER_MODEL_PATH": str(REPOSITORY / "models")}
        self.pods = (self.infer("face", environ), self.infer("face", environ))
        self.websocket_server()
        self.gateway()
        for service in self.services:
            service.wait_ready()
        self.camera = self.file(clips["carphone_pristine"], "face", "phone", {"VIDEO_FPS": str(FPS)}).wait_ready()

    def viewer(self) -> Viewer:
        return Viewer(f"ws://127.0.0.1:{self.gateway_port}", STREAM)


@pytest.fixture(scope="module")
def system() -> Iterator[Running]:
    with Running() as running:
        running.start_all()
        yield running


def test_two_pods_infer_each_frame_once_and_the_viewer_gets_them_in_order(system: Running) -> None:
    with system.viewer() as viewer:
        # Each pod asks once a second who watches: from the third second on both know.
        wait_for(lambda: len(viewer.results) >= 3 * FPS, 30, "3 s of results")
        first = viewer.results[-1].order
        wait_for(lambda: len(viewer.results) >= 11 * FPS, 30, "8 s of results more")
        seen = [each.order for each in viewer.results if each.order >= first]
    with redis.Redis(port=system.valkey.port) as client:
        entries = client.xrange(keys.results("face"))
    inferred = [json.loads(next(iter(fields.values())))["order"] for _, fields in entries]
    between = [order for order in inferred if first <= order <= seen[-1]]
    assert len(between) == len(set(between)), "a frame was inferred twice"
    assert sorted(between) == list(range(first, seen[-1] + 1)), "order has a gap"
    assert seen == sorted(seen), "the viewer saw frames out of order"
    assert len(set(seen)) >= 0.95 * len(between)
    pods = {json.loads(next(iter(fields.values())))["pod"] for _, fields in entries}
    assert len(pods) == 2, "both pods take part"


def back_after(viewer: Viewer, what: str) -> float:
    took_s = viewer.wait_for_new(30, f"pictures after the restart of {what}")
    assert took_s < BACK_WITHIN_S * TIME_FACTOR, f"pictures were away for {took_s:.1f} s after the restart of {what}"
    return took_s


def test_pictures_go_on_within_five_seconds_of_each_restart(system: Running) -> None:
    with system.viewer() as viewer:
        viewer.wait_for(lambda each: True, 20, "the first result")

        system.camera.kill()
        count = len(viewer.results)
        system.camera.start()
        wait_for(lambda: len(viewer.results) > count + FPS, 15, "the camera's stream to go on")
        back_after(viewer, "the camera")

        system.pods[0].restart()
        back_after(viewer, "one of two pods")
        system.pods[0].wait_ready()

        before = viewer.results[-1].order
        system.valkey.kill()
        time_of_death = time.monotonic()
        system.valkey.start()
        result = viewer.wait_for(lambda each: each.order > before + 2, 30, "pictures after Redis came back")
        assert result.stream == STREAM
        assert time.monotonic() - time_of_death < BACK_WITHIN_S * TIME_FACTOR + 1
        for service in system.services:
            service.wait_ready(10)
            assert service.process is not None
            assert service.process.poll() is None, f"{service.name} did not survive: {service.log()[-2000:]}"

        orders = [each.order for each in viewer.results]
        assert orders == sorted(orders), "order went back over the restarts"


def test_a_drained_pod_loses_no_frame(system: Running) -> None:
    pod = system.pods[1]
    with system.viewer() as viewer:
        viewer.wait_for(lambda each: True, 20, "the first result")
        first = viewer.results[0].order
        assert pod.terminate() == 0
        count = len(viewer.results)
        wait_for(lambda: len(viewer.results) > count + 2 * FPS, 20, "two seconds of results after the drain")
        last = viewer.results[-1].order
    with redis.Redis(port=system.valkey.port) as client:
        entries = client.xrange(keys.results("face"))
    inferred = {json.loads(next(iter(fields.values())))["order"] for _, fields in entries}
    assert set(range(first, last + 1)) <= inferred
    assert "Traceback" not in pod.log()


def test_no_service_wrote_a_traceback(system: Running) -> None:
    for service in system.services:
        assert "Traceback" not in service.log(), f"{service.name}: {service.log()[-3000:]}"
