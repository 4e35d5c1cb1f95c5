"""Images of events, from the pods that inferred them to the gateway: two real pods, an event worker, real frames."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.events.event import Event
from elastic_inference.domain.events.missing import SENTENCES, Missing
from elastic_inference.domain.result import Result, parse_result
from tests.support.event_workers import WorkerProcess, events_of
from tests.support.gateway import RunningGateway
from tests.support.inference_pod import Feeder, Pod, running_pod
from tests.support.jpeg import two_faces
from tests.support.waiting import wait_for

SIZE = (768, 432)
CAMERAS = 100


@pytest.fixture(scope="module")
def image(shared_videos: Path) -> bytes:
    """A JPEG with two faces."""
    return two_faces(shared_videos, SIZE)


@pytest.fixture
def two_pods(valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path) -> Iterator[tuple[Pod, Pod]]:
    settings = {"MAX_FRAME_AGE_S": "60"}
    with (
        running_pod(valkey, tmp_path, shared_models, **settings) as one,
        running_pod(valkey, tmp_path, shared_models, **settings) as other,
    ):
        yield one, other


class Scene:
    """The cameras show the same two faces, one camera after the other, since an event begins only once."""

    def __init__(self, client: redis.Redis, gateway: RunningGateway, feeder: Feeder, image: bytes) -> None:
        self.client, self.gateway, self.feeder, self.image = client, gateway, feeder, image
        self.camera = -1

    def next_camera(self) -> str:
        self.camera += 1
        return f"cam-{self.camera}:face:inferred"

    def push(self) -> None:
        self.feeder.push(self.image, *SIZE, stream=f"cam-{self.camera}")

    def events(self, stream: str) -> list[Event]:
        return [each for each in events_of(self.client, stream) if each.snapshot]

    def results(self, stream: str) -> dict[int, Result]:
        """The results of a stream by their numbers."""
        key = keys.partition_results(keys.partition_of(stream.partition(":")[0], 16))
        rows = [fields[b"json"] for _, fields in self.client.xrange(key) if b"json" in fields]
        found = [parse_result(each) for each in rows]
        return {each.order: each for each in found if each.stream == stream}

    def shown(self) -> str:
        """Shows another camera until it has an event; the pod whose frame is its image, if it has one."""
        stream = self.next_camera()

        def first() -> list[Event]:
            self.push()
            return self.events(stream)

        event = wait_for(first, 120.0, "an event", every_s=0.1)[0]
        order = int(str(event.snapshot).rpartition("-")[2])
        answer = self.gateway.ask(str(event.snapshot))
        if answer.status in (404, 503):  # a busy machine was late
            return ""
        assert (answer.status, answer.body) == (200, self.image)
        assert answer.headers["Content-Type"] == "image/jpeg"
        tag = answer.headers["ETag"]
        assert self.gateway.ask(str(event.snapshot), **{"If-None-Match": tag}).status == 304
        assert self.gateway.ask(f"/api/events/{quote(event.id, safe='')}/snapshot").body == self.image
        assert event.snapshot_box is not None
        return self.results(stream)[order].pod


@pytest.fixture
def scene(client: redis.Redis, valkey: EmbeddedValkey, image: bytes) -> Iterator[Scene]:
    feeder = Feeder(valkey, CAMERAS, max_frame_age_s=60)
    with RunningGateway(valkey.url) as gateway:
        yield Scene(client, gateway, feeder, image)
    feeder.close()


def until(scene: Scene, wanted: Callable[[set[str]], bool], what: str) -> set[str]:
    pods: set[str] = set()
    for _ in range(40):
        pods.add(scene.shown())
        if wanted(pods):
            return pods
    raise AssertionError(f"{what}: {pods}")


def test_events_get_images_of_every_pod_and_a_killed_one_is_a_reason(
    valkey: EmbeddedValkey, two_pods: tuple[Pod, Pod], scene: Scene
) -> None:
    one, other = two_pods
    with WorkerProcess(valkey.port, EI_TEST_REAL="1") as worker:
        for pod in two_pods:
            pod.wait_ready()
        wait_for(lambda: scene.client.exists(keys.EVENTS_ON), 60.0, "the event service")
        until(scene, lambda pods: len(pods - {""}) == 2, "images of both pods")
        other.process.kill()
        other.process.wait()
        until(scene, lambda pods: bool(pods - {""}), "an image of the pod that is left")
        killed_before_it_is_asked(scene, worker, one)


def killed_before_it_is_asked(scene: Scene, worker: WorkerProcess, pod: Pod) -> None:
    """The event worker is frozen until the only pod is gone."""
    stream = scene.next_camera()
    worker.signal(signal.SIGSTOP)

    def enough() -> bool:
        scene.push()
        return len(scene.results(stream)) >= 12

    wait_for(enough, 120.0, "results", every_s=0.1)
    pod.process.kill()
    pod.process.wait()
    worker.signal(signal.SIGCONT)
    event = wait_for(lambda: scene.events(stream), 60.0, "an event")[0]

    def reason() -> str:
        answer = scene.gateway.ask(str(event.snapshot))
        assert answer.status in (404, 503), answer
        return str(answer.json["error"]["message"])

    wait_for(lambda: reason() == SENTENCES[Missing.POD], 60.0, "the reason")
