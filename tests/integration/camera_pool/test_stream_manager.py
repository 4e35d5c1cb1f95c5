"""Many cameras in one process: they come, change, fail and go without disturbing each other."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.flows.produce.camera_plan import spec_plan
from elastic_inference.flows.produce.stream_manager import StreamManager
from tests.support.bad_cameras import BadCamera
from tests.support.file_server import FileServer
from tests.support.mjpeg_server import make_jpeg
from tests.support.videos import write_video
from tests.support.waiting import wait_for

FPS = 20
ENVIRON = {"SOURCE_STALL_S": "1", "CAMERA_NETWORKS": "127.0.0.1", "VIDEO_DIR": "/"}


class Managed:
    """A stream manager that is ticked by the test."""

    def __init__(self, valkey: EmbeddedValkey, **environ: str) -> None:
        self.settings = config.load(config.CameraSettings, ENVIRON | {"QUEUE_URL": valkey.url} | environ)
        self.registry = CollectorRegistry()
        self.manager = StreamManager(self.settings, Lifecycle("camera stream"), self.registry, "cameras")
        self.client = redis.Redis(port=valkey.port, retry=None)

    def put(self, name: str, url: str, **fields: object) -> None:
        spec = CameraSpec.model_validate({"name": name, "url": url, "fps": FPS, **fields})
        self.manager.put(spec_plan(spec, self.settings))

    def pushed(self, name: str, infer_type: str = "people") -> float:
        labels = {"stream": name, "infer_type": infer_type}
        return self.registry.get_sample_value("ei_frames_pushed_total", labels) or 0.0

    def dropped(self, name: str) -> float:
        labels = {"stream": name, "infer_type": "people", "reason": "source"}
        return self.registry.get_sample_value("ei_frames_dropped_total", labels) or 0.0

    def wait_pushed(self, name: str, more: int, infer_type: str = "people", timeout_s: float = 30) -> None:
        target = self.pushed(name, infer_type) + more

        def enough() -> bool:
            self.manager.tick()
            return self.pushed(name, infer_type) >= target

        wait_for(enough, timeout_s, f"{more} more frames of {name}")


@pytest.fixture
def managed(valkey: EmbeddedValkey) -> Iterator[Managed]:
    found = Managed(valkey)
    yield found
    found.manager.close()
    found.client.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mkv", 12, FPS).as_uri()


def test_a_bad_camera_costs_the_others_no_frame(managed: Managed, clip: str) -> None:
    with BadCamera() as silent, BadCamera(b"RTSP/1.0 200 \0\0 rubbish\r\n\r\n" * 50) as rubbish:
        managed.put("good", clip)
        managed.put("silent", f"rtsp://127.0.0.1:{silent.port}/")
        managed.put("rubbish", f"rtsp://127.0.0.1:{rubbish.port}/")
        managed.put("no-file", "file:///no/such/file.mp4")
        managed.wait_pushed("good", 2 * FPS)
        wait_for(lambda: silent.connections and rubbish.connections, what="tries to connect")
        before = managed.dropped("good")
        managed.wait_pushed("good", 2 * FPS)
        # A busy machine may cost some; a bad camera that holds up the others would cost nearly all.
        assert managed.dropped("good") - before <= FPS
        streams = managed.manager.streams()
        assert streams["good"].reason is None
        assert "no such video" in (streams["no-file"].reason or "")
        assert all(streams[name].fatal is None for name in streams)


def test_cameras_come_and_go_with_their_metrics_and_threads(managed: Managed, clip: str) -> None:
    managed.put("one", clip)
    managed.wait_pushed("one", 3)
    threads = threading.active_count()
    connections = len(managed.client.client_list())
    for name in ("two", "three"):
        managed.put(name, clip)
    managed.wait_pushed("two", 3)
    managed.wait_pushed("three", 3)
    assert len(managed.client.client_list()) == connections, "all share one connection"
    managed.manager.remove("two")
    managed.manager.remove("three")
    wait_for(lambda: threading.active_count() <= threads, what="the threads' end")
    exported = {sample.labels.get("stream") for family in managed.registry.collect() for sample in family.samples}
    assert exported == {"one"}
    managed.wait_pushed("one", 3)
    managed.put("two", clip)
    managed.wait_pushed("two", 3)


def test_a_change_opens_the_camera_again_only_where_it_must(managed: Managed, clip: str, tmp_path: Path) -> None:
    managed.put("one", clip)
    managed.wait_pushed("one", 3)
    stream = managed.manager.streams()["one"]
    managed.put("one", clip, fps=5, quality=30, width=32, types=["people", "car"])
    assert managed.manager.streams()["one"] is stream
    managed.wait_pushed("one", 3)
    managed.wait_pushed("one", 2, "car")
    assert stream.size == (32, 24)
    managed.put("one", clip, types=["car"])
    assert (
        managed.registry.get_sample_value("ei_frames_pushed_total", {"stream": "one", "infer_type": "people"}) is None
    )
    number = stream.next_number
    other = write_video(tmp_path / "other.mkv", 12, FPS, size=(96, 64)).as_uri()
    managed.put("one", other, types=["car"])
    managed.wait_pushed("one", 3, "car")
    changed = managed.manager.streams()["one"]
    assert changed is not stream
    assert changed.size == (96, 64)
    assert changed.next_number > number, "the numbers of its frames go on"


def test_a_live_camera_whose_frames_cannot_be_used_says_why(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    url = write_video(tmp_path / "large.mkv", 12, FPS, size=(1280, 720)).as_uri()
    small = Managed(valkey, MAX_FRAME_BYTES="1500")
    try:
        small.put("large", url)

        def note() -> str | None:
            small.manager.tick()
            return small.manager.streams()["large"].note

        wait_for(note, 30, "a note")
        stream = small.manager.streams()["large"]
        assert stream.report.state.value == "live"
        assert re.fullmatch(
            r"Frames arrive, but none can be used: \d+ bytes of JPEG, at most \d+ fit into MAX_FRAME_BYTES\.",
            stream.note or "",
        )
        small.put("large", url, width=32)
        small.wait_pushed("large", 3)
        assert stream.note is None
    finally:
        small.manager.close()
        small.client.close()


def test_a_new_rate_holds_for_still_images_too(managed: Managed) -> None:
    with FileServer({"snapshot.jpg": make_jpeg(1)}, types={"snapshot.jpg": "image/jpeg"}) as server:
        url = f"{server.url}/snapshot.jpg"
        managed.put("one", url, fps=0.5)
        managed.wait_pushed("one", 1)
        asked, began = len(server.requests), time.monotonic()
        managed.put("one", url, fps=20)
        managed.wait_pushed("one", 20)
        assert len(server.requests) - asked >= 20
        assert time.monotonic() - began < 15, "at the old rate this takes 40 s"


def test_frames_of_many_cameras_reach_their_own_streams(managed: Managed, clip: str) -> None:
    consumer = QueueConsumer(managed.client, "people", "pod", config.QueueRules())
    consumer.load_scripts()
    names = {f"camera-{number}" for number in range(6)}
    for name in names:
        managed.put(name, clip)
    seen: dict[str, list[int]] = {name: [] for name in names}

    def enough() -> bool:
        managed.manager.tick()
        for popped in consumer.pop(64, 0.1).frames:
            seen[popped.frame.name].append(popped.frame.seq or 0)
        return all(len(numbers) >= 10 for numbers in seen.values())

    wait_for(enough, 30, "ten frames of each")
    for numbers in seen.values():
        assert numbers == sorted(set(numbers))
