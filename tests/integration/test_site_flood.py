"""A site's own user floods its type in every way that its rights allow: another site's stream notices nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.frame import Frame
from tests.support.background import beside
from tests.support.jpeg import noisy_jpeg
from tests.support.redis_logins import PASSWORDS, Logins, server_with_users
from tests.support.redis_names import NAME, SITE, SITE_TYPE, TYPE
from tests.support.site_floods import FLOODS, flood
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for

FPS = 20.0
RUNS = f'ei_janitor_runs_total{{infer_type="{TYPE}"}}'


class OtherSite:
    """A camera of another type and the pod that pops its frames, each in a thread."""

    def __init__(self, logins: Logins) -> None:
        self.pushed = 0
        self.popped = 0
        self.dropped = 0
        self.longest_ms = 0.0
        self._producer = logins.producer(NAME)
        self._consumer = logins.consumer()
        # The frame that was there before.
        self._consumer.pop(8, 0)

    def push(self, stop: threading.Event) -> None:
        image = noisy_jpeg(2, 192, 144)
        while not stop.wait(1 / FPS):
            self.pushed += self._producer.push(Frame(NAME, TYPE, image, self.pushed + 1)).frames
            self._producer.report_source("live", FPS, 0, 0)

    def pop(self, stop: threading.Event) -> None:
        while not stop.is_set() or self.popped + self.dropped < self.pushed:
            batch = self._consumer.pop(8, 0.2)
            self.popped += len(batch.frames)
            self.dropped += sum(batch.dropped.values())
            self.longest_ms = max([self.longest_ms, *(each.queue_ms for each in batch.frames)])


def test_a_flood_of_each_kind_by_one_site_leaves_the_other_untouched(tmp_path: Path) -> None:
    server: EmbeddedValkey = server_with_users(tmp_path / "users.acl")
    login = {"QUEUE_USERNAME": "viewer", "QUEUE_PASSWORD": PASSWORDS["viewer"]}
    with server, Logins(server) as logins:
        environ = {"QUEUE_URL": server.url, **login}
        housekeeping = ServiceProcess("housekeeping", environ, tmp_path, "housekeeping").start()
        try:
            housekeeping.wait_ready()
            admin = logins.client("admin")
            admin.config_set("busy-reply-threshold", 5000)
            wait_for(lambda: housekeeping.metrics().get(RUNS), 20, "the janitor")
            site = OtherSite(logins)
            with beside(site.pop, 30), beside(site.push, 10):
                wait_for(lambda: site.popped, 10, "the first frame")
                runs, began = housekeeping.metrics()[RUNS], time.monotonic()
                done = flood(logins.client(SITE), SITE_TYPE, 6.0)
                took_s = time.monotonic() - began
                runs = housekeeping.metrics()[RUNS] - runs
                ready = housekeeping.ready()
        finally:
            housekeeping.kill()
        assert len(done) == len(FLOODS)
        assert min(done.values()) > 0, done
        assert (site.popped, site.dropped) == (site.pushed, 0)
        assert site.pushed > FPS * took_s / 3
        # Some 5 ms on a quiet machine; a frame is stale after 2 s.
        assert site.longest_ms < 1000
        assert runs >= took_s / 4, "the janitor of the other type runs on"
        assert ready["ready"], ready
