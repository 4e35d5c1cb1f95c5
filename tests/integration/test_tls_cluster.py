"""A Redis Cluster with TLS serves queue and broker of real services as processes, and goes on when a master dies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import REDIS_ERRORS, connect
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.flows.inference.runtime import load_openvino
from tests.support.delivery_worker import write_sinks
from tests.support.gateway import JPEG
from tests.support.redis_servers import owner_index, owner_of, tls_cluster
from tests.support.small_models import constant_model
from tests.support.system import System
from tests.support.tracked_viewer import TrackedViewer
from tests.support.waiting import wait_for
from tests.support.webhook_server import WebhookServer

TYPE = "people"
CAMERAS = ("gate", "yard")
FPS = 10.0
# Long enough that a node of a busy machine does not count as dead.
NODE_TIMEOUT_MS = 5000
LIMIT_S = 120.0


class Camera:
    """Pushes the same frame, again after a failure, until the block ends."""

    def __init__(self, target: config.RedisTarget, name: str) -> None:
        key = keys.legacy_queue(TYPE)
        self._name = name
        self._producer = QueueProducer(connect(target, key=key), TYPE, name, config.QueueRules())
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(LIMIT_S)
        self._producer.close()

    def _run(self) -> None:
        seq = 0
        while not self._ends.wait(1 / FPS):
            seq += 1
            try:
                self._producer.push(Frame(self._name, TYPE, JPEG, seq, 1.79e9 + seq / FPS, 1.0, 320, 240))
            except REDIS_ERRORS:
                self._ends.wait(0.2)


@dataclass
class Site:
    """What runs, and what a test asks it."""

    nodes: list[EmbeddedValkey]
    target: config.RedisTarget
    system: System
    hook: WebhookServer

    def event_of(self, camera: str) -> bool:
        """Whether the webhook has got an event of this camera."""
        return any(event_id.startswith(f"{keys.stream_id(camera, TYPE)}/") for event_id, _ in self.hook.got)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    # One person in the middle, whatever the image shows.
    boxes = np.array([[[[0, 1, 0.9, 0.25, 0.25, 0.75, 0.75], *[[-1, 0, 0, 0, 0, 0, 0]] * 9]]])
    model = tmp_path / "model"
    model.mkdir()
    load_openvino().save_model(constant_model([1, 3, 64, 64], {"boxes": boxes}), model / "model.xml")
    options = ("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-replica-validity-factor", "0")
    options += ("--repl-diskless-sync-delay", "0")
    with ExitStack() as stack:
        # The master that dies has the registry of streams.
        servers = tls_cluster(3, tmp_path, replica_of=owner_index(3, keys.STREAMS), options=options)
        nodes, url, ca_file = stack.enter_context(servers)
        hook = stack.enter_context(WebhookServer())
        sinks = write_sinks(tmp_path / "sinks.yaml", {"name": "hook", "kind": "webhook", "url": hook.url})
        system = stack.enter_context(System(valkey=nodes[0]))
        where = {"QUEUE_URL": url, "QUEUE_CA_FILE": str(ca_file)}
        system.service("events", {**where, "SINKS_FILE": str(sinks), "METRICS_HOST": "127.0.0.1"})
        system.websocket_server(where)
        system.infer(TYPE, {**where, "INFER_MODEL_PATH": str(model / "model.xml")})
        for each in system.services:
            each.wait_ready(LIMIT_S)
        target = config.RedisTarget(url=Secret(url), ca_file=str(ca_file))
        for name in CAMERAS:
            stack.enter_context(Camera(target, name))
        yield Site(nodes, target, system, hook)


def test_live_view_and_events_go_on_when_a_master_dies(site: Site) -> None:
    # The websocket server knows a stream once it has results.
    for name in CAMERAS:
        wait_for(lambda name=name: site.event_of(name), LIMIT_S, "an event")
    with ExitStack() as stack:
        viewers = [
            stack.enter_context(TrackedViewer(site.system.websocket_port, keys.stream_id(name, TYPE)))
            for name in CAMERAS
        ]
        for viewer in viewers:
            wait_for(lambda viewer=viewer: viewer.tracked, LIMIT_S, "frames with tracks")
        dying = owner_of(site.nodes, keys.STREAMS)
        dying.kill()
        killed_at = [viewer.order for viewer in viewers]
        stack.enter_context(Camera(site.target, "new"))
        for viewer, order in zip(viewers, killed_at, strict=True):
            wait_for(lambda viewer=viewer, order=order: viewer.tracked > order + 20, LIMIT_S, "tracks after it")
        wait_for(lambda: site.event_of("new"), LIMIT_S, "an event of a new camera")
