"""A user that is limited to the beginning of its streams' names floods its type with made-up names."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import pack_frame
from tests.support.background import beside
from tests.support.jpeg import tiny_jpeg
from tests.support.redis_logins import PASSWORDS, RULES, Logins, server_with_users
from tests.support.redis_names import NAME, TYPE, YARD
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for

NAMES = 10_000
CAMERA_FPS, POD_FPS = 10, 100


class MadeUpNames:
    """Pushes a frame under each of 10,000 names, again and again, with the script and the rights of `yard`."""

    def __init__(self, logins: Logins, rate: int) -> None:
        """`rate` is in frames per second."""
        self.pushed = 0
        self._redis = logins.client(YARD)
        self._rate = rate

    def run(self, stop: threading.Event) -> None:
        image, push = tiny_jpeg(), script("push").sha
        tick_s = 0.02
        due_s = time.monotonic()
        while not stop.is_set():
            pipe = self._redis.pipeline(transaction=False)
            for _ in range(int(self._rate * tick_s)):
                name, self.pushed = f"yard-{self.pushed % NAMES}", self.pushed + 1
                message = pack_frame(Frame(name, TYPE, image, 1))
                own = (keys.tokens(TYPE), keys.waiting(TYPE, name), keys.dropped(TYPE))
                pipe.set(keys.frame(TYPE, name, str(self.pushed)), message, px=7000)
                entry = f"{len(message)} {self.pushed}"
                pipe.evalsha(push, 3, *own, keys.queue_prefix(TYPE), name, RULES.stream_queue_depth, 4096, entry)
            pipe.execute()
            due_s = max(due_s + tick_s, time.monotonic() - 1)
            stop.wait(max(0.0, due_s - time.monotonic()))


class Camera:
    """A camera of the same type, and the pod of the type, which infers 100 frames per second."""

    def __init__(self, logins: Logins) -> None:
        self.pushed = self.served = self.made_up = 0
        self._producer, self._consumer = logins.producer(NAME), logins.consumer()
        self._consumer.pop(8, 0)

    def push(self, stop: threading.Event) -> None:
        while not stop.wait(1 / CAMERA_FPS):
            self._producer.push(Frame(NAME, TYPE, tiny_jpeg(), self.pushed + 1))
            self._producer.report_source("live", CAMERA_FPS, 0, 0)
            self.pushed += 1

    def pop(self, stop: threading.Event) -> None:
        while not stop.is_set():
            started = time.monotonic()
            names = [each.frame.name for each in self._consumer.pop(8, 0.05).frames]
            self.served += names.count(NAME)
            self.made_up += len(names) - names.count(NAME)
            stop.wait(max(0.0, started + len(names) / POD_FPS - time.monotonic()))


@pytest.mark.parametrize("rate", [1_000, 5_000])
def test_ten_thousand_made_up_names_take_at_most_half_of_the_turns(tmp_path: Path, rate: int) -> None:
    login = {"QUEUE_USERNAME": "viewer", "QUEUE_PASSWORD": PASSWORDS["viewer"]}
    with server_with_users(tmp_path / "users.acl") as server, Logins(server) as logins:
        housekeeping = ServiceProcess("housekeeping", {"QUEUE_URL": server.url, **login}, tmp_path, "hks").start()
        try:
            housekeeping.wait_ready()
            logins.client("admin").config_set("busy-reply-threshold", 5000)
            camera, names = Camera(logins), MadeUpNames(logins, rate)
            with beside(camera.push, 10), beside(camera.pop, 10), beside(names.run, 30):
                wait_for(lambda: camera.made_up > 50 and names.pushed > 2000, 30, "the flood to be served")
                pushed, served, made_up = camera.pushed, camera.served, camera.made_up
                wait_for(lambda: camera.pushed - pushed >= 5 * CAMERA_FPS, 60, "five seconds of frames")
                pushed, served = camera.pushed - pushed, camera.served - served
                made_up = camera.made_up - made_up
        finally:
            housekeeping.kill()
    # All of them on a quiet machine; without housekeeping's looks none.
    assert served >= 0.4 * pushed, (served, pushed)
    assert made_up > served, "what the camera does not need is served too"
