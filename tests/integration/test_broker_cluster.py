"""The stream broker on a Redis Cluster of three nodes, under the shipped users: the whole chain, and a node dies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.adapters.event_store.condition import read_condition
from elastic_inference.adapters.redis_connection import REDIS_ERRORS, connect_async
from elastic_inference.adapters.redis_server_check import ask_problem
from elastic_inference.adapters.stream_broker import StreamRegistry
from elastic_inference.base.config import RedisTarget, Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.delivery_worker import write_sinks
from tests.support.event_workers import WorkerProcess
from tests.support.gateway import JPEG, RunningGateway
from tests.support.redis_logins import PASSWORDS
from tests.support.redis_servers import cluster, owner_index, owner_of
from tests.support.simulated_pods import TYPE, SimulatedPod, stream_of
from tests.support.tracked_viewer import TrackedViewer
from tests.support.waiting import wait_for
from tests.support.webhook_server import WebhookServer
from tests.support.websocket_server import Relay

ADMIN = {"username": "admin", "password": PASSWORDS["admin"]}
CAMERAS = [f"cam-{number}" for number in range(12)]
# Long enough that a node of a busy machine does not count as dead.
NODE_TIMEOUT_MS = 5000
LIMIT_S = 120.0


@dataclass
class Installation:
    """What runs on the cluster, and what a test asks it."""

    nodes: list[EmbeddedValkey]
    # As the gateway sees it.
    target: RedisTarget
    pod: SimulatedPod
    relay: Relay
    gateway: RunningGateway
    hook: WebhookServer

    def streams(self) -> set[str]:
        answer = self.gateway.ask("/api/streams")
        return {each["id"] for each in answer.json["streams"]} if answer.status == 200 else set()

    def event(self, camera: str) -> Any:
        """An event of this camera that the webhook has too, with an image; None if there is none yet."""
        answer = self.gateway.ask(f"/api/events/log?camera={camera}")
        delivered = {identity for identity, _ in self.hook.got}
        events = answer.json["events"] if answer.status == 200 else ()
        return next((each for each in events if each["snapshot"] and each["id"] in delivered), None)

    def show_new_camera(self) -> None:
        """Until there is an event with its image: a busy machine can be late, and an event begins only once."""
        for number in range(20):
            camera = f"new-{len(self.pod.cameras)}"
            self.pod.cameras.append(camera)
            event = wait_for(lambda camera=camera: self.event(camera), LIMIT_S, f"event {number}, delivered")
            answer = wait_for(lambda event=event: self.image(event["snapshot"]), LIMIT_S, "an image, or none")
            if answer.status == 200:
                assert answer.body == JPEG
                return
        raise AssertionError("no event has an image")

    def image(self, path: str) -> Any:
        """The answer once the image is no longer on its way."""
        answer = self.gateway.ask(path)
        return answer if answer.status in (200, 404) else None

    def status(self) -> bool:
        """Whether what `tools/status.sh` reads shows the pod, and an event service that has all partitions."""
        return asyncio.run(self._status())

    async def _status(self) -> bool:
        async with connect_async(self.target) as client:
            try:
                workers = await StreamRegistry(client).workers()
                condition = await read_condition(client, {})
                problem = await ask_problem(client)
            except REDIS_ERRORS:
                return False
        events = condition is not None and (condition.workers, condition.unowned) == (1, 0)
        return events and [each.type for each in workers] == [TYPE] and problem is None


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    users = tmp_path / "users.acl"
    users.write_text(render_acl({user: PASSWORDS[user] for user in USERS}))
    options = ("--aclfile", str(users), "--masteruser", "admin", "--masterauth", PASSWORDS["admin"])
    options += ("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-replica-validity-factor", "0")
    options += ("--repl-diskless-sync-delay", "0")
    with ExitStack() as stack:
        # The node that dies owns the registry, and has a replica.
        dying = owner_index(3, keys.STREAMS)
        nodes = stack.enter_context(cluster(3, replica_of=dying, options=options, login=ADMIN))
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{each.port}" for each in nodes)
        worker, looker = (
            RedisTarget(url=Secret(url), username=user, password=Secret(PASSWORDS[user]))
            for user in ("worker", "gateway")
        )
        hook = stack.enter_context(WebhookServer())
        sinks = write_sinks(tmp_path / "sinks.yaml", {"name": "hook", "kind": "webhook", "url": hook.url})
        pod = stack.enter_context(SimulatedPod(worker, CAMERAS))
        events = {"QUEUE_USERNAME": "events", "QUEUE_PASSWORD": PASSWORDS["events"], "SINKS_FILE": str(sinks)}
        stack.enter_context(WorkerProcess(nodes[0].port, QUEUE_URL=url, EI_TEST_REAL="1", **events))
        viewer = {"queue_url": url, "queue_username": "viewer", "queue_password": PASSWORDS["viewer"]}
        relay = stack.enter_context(Relay(**viewer))
        login = {"QUEUE_USERNAME": "gateway", "QUEUE_PASSWORD": PASSWORDS["gateway"]}
        gateway = stack.enter_context(RunningGateway(url, **login))
        yield Installation(nodes, looker, pod, relay, gateway, hook)


def test_a_node_dies_under_load_and_everything_goes_on(installation: Installation) -> None:
    nodes = installation.nodes
    wait_for(lambda: installation.streams() >= set(map(stream_of, CAMERAS)), LIMIT_S, "all streams")
    dying = owner_of(nodes, keys.STREAMS, ADMIN)
    # One viewer of a stream whose channel is at the node that dies, one of another.
    at_it = {camera: owner_of(nodes, stream_of(camera), ADMIN) is dying for camera in CAMERAS}
    watched = [next(camera for camera in CAMERAS if at_it[camera] is there) for there in (True, False)]
    port = installation.relay.port
    with TrackedViewer(port, stream_of(watched[0])) as one, TrackedViewer(port, stream_of(watched[1])) as other:
        goes_on(installation, dying, (one, other))


def goes_on(installation: Installation, dying: EmbeddedValkey, viewers: Sequence[TrackedViewer]) -> None:
    for viewer in viewers:
        wait_for(lambda viewer=viewer: viewer.tracked, LIMIT_S, "frames with tracks")
    installation.show_new_camera()
    wait_for(installation.status, LIMIT_S, "a good status")
    dying.kill()
    killed_at = max(viewer.order for viewer in viewers)
    installation.show_new_camera()
    for viewer in viewers:
        wait_for(lambda viewer=viewer: viewer.tracked > killed_at + 20, LIMIT_S, "frames with tracks after it")
    wait_for(lambda: installation.streams() >= set(map(stream_of, installation.pod.cameras)), LIMIT_S, "all streams")
    wait_for(installation.status, LIMIT_S, "a good status again")
