"""`size: auto`: frames are as large as the models need, and full size comes within a second of the first viewer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import simplejpeg
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue import QueueConsumer, wanted_sizes
from elastic_inference.adapters.stream_broker.frame_requests import FrameRequest, FrameRequests, write_request
from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.image_size import ModelSize
from elastic_inference.flows.inference.frame_desk import FrameDesk
from elastic_inference.flows.inference.recent_frames import RecentFrames
from elastic_inference.flows.produce.camera_plan import spec_plan
from elastic_inference.flows.produce.stream_manager import StreamManager
from tests.support.background import repeating
from tests.support.results import make_result
from tests.support.videos import write_video
from tests.support.waiting import wait_for
from tests.support.websocket_server import Relay

FULL, SMALL = (640, 360), (178, 100)
NAME = "hall"
LIMIT_S = 1.0


class Sized:
    """One camera with its stream manager, and the pod of its type."""

    def __init__(self, valkey: EmbeddedValkey, clip: Path) -> None:
        self.client = redis.Redis(port=valkey.port, retry=None)
        settings = config.load(
            config.CameraSettings, {"QUEUE_URL": valkey.url, "VIDEO_DIR": "/", "CAMERA_SIZE": "auto"}
        )
        self.manager = StreamManager(settings, Lifecycle("camera stream"), CollectorRegistry(), "cameras")
        self._settings = settings
        self._fields = {"name": NAME, "url": clip.as_uri(), "fps": 20}
        self._lock = threading.Lock()
        self.put()
        self.consumer = QueueConsumer(self.client, "people", "pod", settings, ModelSize(100, 100))
        self.consumer.load_scripts()

    def put(self, **fields: object) -> None:
        spec = CameraSpec.model_validate(self._fields | fields)
        with self._lock:
            self.manager.put(spec_plan(spec, self._settings))

    def tick(self) -> None:
        with self._lock:
            self.manager.tick()

    def next_frame(self) -> Frame:
        """The newest frame, as a pod gets it."""

        def popped() -> Frame | None:
            frames = self.consumer.pop(16, 0.0).frames
            return frames[-1].frame if frames else None

        frame = wait_for(popped, what="a frame")
        assert frame is not None
        assert simplejpeg.decode_jpeg_header(frame.data)[:2] == (frame.height, frame.width)
        return frame

    def wait_size(self, size: tuple[int, int]) -> None:
        def has_it() -> bool:
            frame = self.next_frame()
            return (frame.width, frame.height) == size

        wait_for(has_it, what=f"frames of {size}")

    def close(self) -> None:
        self.manager.close()
        self.consumer.close()


@pytest.fixture
def sized(valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Sized]:
    found = Sized(valkey, write_video(tmp_path / "clip.mkv", 12, 20, size=FULL, codec="mpeg4"))
    with repeating(found.tick, 4):
        yield found
    found.close()


def test_full_size_comes_within_a_second_of_the_first_viewer(sized: Sized, valkey: EmbeddedValkey) -> None:
    sized.wait_size(SMALL)
    with Relay(queue_url=valkey.url) as relay:
        took_s = []
        for _ in range(3):  # the best of three: the machine may be busy
            began_s = time.time()
            with relay.open(f"/{NAME}:people:inferred?format=json"):
                while (frame := sized.next_frame()).width != FULL[0]:
                    assert (frame.width, frame.height) == SMALL
                    assert time.time() < began_s + 20, "no frame of full size"
                assert frame.ts is not None
                took_s.append(frame.ts - began_s)
                if took_s[-1] < LIMIT_S:
                    break
            sized.client.delete(keys.size_wanted("people", NAME))
            sized.wait_size(SMALL)
        assert min(took_s) < LIMIT_S
    sized.client.delete(keys.size_wanted("people", NAME))  # it lives for 10 s
    sized.wait_size(SMALL)


def test_full_size_comes_for_an_event_that_wants_an_image(
    sized: Sized, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod answers an event worker's request for a frame, and says that it wants larger ones."""
    monkeypatch.setattr(wanted_sizes, "EVENT_LIFE_S", 2.0)
    sized.wait_size(SMALL)
    stream = f"{NAME}:people:inferred"
    recent = RecentFrames(1 << 20)
    desk = FrameDesk(
        FrameRequests(redis.Redis(port=valkey.port), "pod"), recent, lambda: True, sized.consumer.want_full
    )
    recent.turn(True)
    recent.add([(make_result(stream=stream, order=7), b"jpeg")])
    thread = threading.Thread(target=desk.run)
    thread.start()
    try:
        # A frame that this pod does not have changes nothing.
        for order, expected in ((6, SMALL), (7, FULL)):
            request = FrameRequest(order, stream, f"{stream}/1-{order}", "events-1")
            sized.client.rpush(keys.snapshot_requests("pod"), write_request(request))
            wait_for(lambda: sized.client.lpop(keys.snapshot_answers("events-1")), what="an answer")
            sized.wait_size(expected)
    finally:
        desk.close()
        thread.join(10)
    sized.wait_size(SMALL)


def test_a_camera_may_ask_for_full_size_while_it_runs(sized: Sized) -> None:
    sized.wait_size(SMALL)
    sized.put(size="source")
    sized.wait_size(FULL)
    sized.put(size="auto", width=400)
    sized.wait_size((200, 112))
    sized.client.delete(keys.model_size("people"))
    sized.wait_size((400, 225))
