"""Writes any values and types into every key of the camera pool, then runs each part that reads them.

Afterwards the owner's camera is in the registry, a worker has its lease, and the gateway shows it: nothing is left
blocked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import redis
import redis.asyncio as aioredis
from hypothesis import strategies as st

from elastic_inference.adapters.camera_registry.camera_reader import CameraReader
from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera, spec_value, status_value
from elastic_inference.adapters.camera_registry.listing import GROUP, CameraListing
from elastic_inference.adapters.camera_registry.requests import read_request, take_requests
from elastic_inference.adapters.camera_registry.writer import RegistryWriter
from elastic_inference.adapters.leases import Holding, LeaseClient
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus
from elastic_inference.domain.rest import document_json
from elastic_inference.flows.gateway.access import EVERYBODY
from elastic_inference.flows.gateway.camera_state import cameras_document
from tests.fuzz.outcome import Outcome
from tests.fuzz.with_hypothesis import run_check

NAME = "gate"
CAMERAS = {NAME: CompleteCamera(7, CameraSpec(name=NAME, url="rtsp://10.0.0.7/?key=k"))}
STATUS = CameraStatus(CameraState.LIVE, worker="pod-1", fps=15.0)
KEYS = (
    *(keys.CAMERA_SPECS, keys.CAMERA_SECRETS, keys.CAMERA_WANTED, keys.CAMERA_STATUS, keys.CAMERA_REQUESTS),
    *(keys.CAMERA_OWNER, keys.leases(GROUP), keys.lease_workers(GROUP)),
)
_WORDS = (
    *(b"", b"gate", b"a b", b"\xff\xfe", b"-1", b"9" * 30, b"nan", b":known", b":epoch", b":free", b":clock", b":born"),
    *(
        b":looked",
        b"pod-2:ab",
        b"7 0.1",
        b"7 1e400",
        b"0 -1",
        b"{}",
        b"[" * 5000,
        b'{"state":"live","reason":"\\ud800"}',
    ),
    *(b'{"state":"live","fps":1e999,"reconnects":1.5,"worker":"a b"}', b"9000000000000000 pod-2:ab 1 0 0 - 0"),
    *(b"5 pod-2:ab nan 99999999999999999 0 gate 1", b"1790000000000000 2 0.1 0 3000000 0.1 1", b"x" * 300_000),
    *(b"99999999999999999 1024 1024 1 60000000 9 4096", b"replica-2\nbroken", b"1 " * 30_000, b"9" * 60_000),
    *(spec_value(CAMERAS[NAME]), status_value(STATUS), json.dumps({"revision": 7, "url": "\ud800"}).encode()),
    json.dumps({"id": "a", "action": "patch", "name": NAME, "spec": {"login": "\ud800"}, "time_ms": 1}).encode(),
)
Command = tuple[Any, ...]


def commands() -> st.SearchStrategy[list[Command]]:
    """Writes of a client that knows the keys."""
    word = st.sampled_from(_WORDS) | st.binary(max_size=40)
    key = st.sampled_from(KEYS)
    command = st.one_of(
        st.tuples(st.just("SET"), key, word),
        st.tuples(st.just("RPUSH"), key, word, word),
        st.tuples(st.just("HSET"), key, word, word, word, word),
        st.tuples(st.just("ZADD"), key, st.just(1), word),
        st.tuples(st.just("PEXPIRE"), key, st.integers(1, 20)),
        st.tuples(st.just("UNLINK"), key),
    )
    return st.lists(command, min_size=1, max_size=10)


class Parts:
    """Every part that reads these keys, connected to one server."""

    def __init__(self, server: EmbeddedValkey) -> None:
        self.client = redis.Redis(port=server.port)
        self._port = server.port

    def round(self) -> None:
        """What a source worker does in a second. Redis may refuse what it reads until the owner has mended it."""
        leases = LeaseClient(self.client, GROUP, "pod-1")
        try:
            found = leases.renew({NAME: Holding(0)}, 2.0)
            reader = CameraReader(self.client)
            reader.write_statuses({NAME: STATUS})
            with contextlib.suppress(redis.ResponseError):
                reader.read([*found.held, NAME])
        finally:
            leases.release()
            leases.close()

    async def own(self) -> None:
        """What the owner does in a round: an error of one step must not come again."""
        client = aioredis.Redis(port=self._port)
        try:
            writer = RegistryWriter(client, "replica-1")
            if await client.type(keys.CAMERA_OWNER) == b"string":  # another replica's, which ends by itself
                await client.unlink(keys.CAMERA_OWNER)
            assert await writer.hold_lock("a problem")
            await writer.read()
            await writer.write(CAMERAS)
            assert await writer.looks_complete()
            with contextlib.suppress(redis.ResponseError):
                for raw in await take_requests(client, 0.01, 64):
                    read_request(raw, 1_790_000_000.0)
        finally:
            await client.aclose()

    async def show(self) -> list[str]:
        """What the gateway shows."""
        client = aioredis.Redis(port=self._port)
        try:
            document = cameras_document(await CameraListing(client).read(), EVERYBODY)
            document_json(document)
            return [each.name for each in document.cameras]
        finally:
            await client.aclose()


def check(parts: Parts, written: list[Command], runner: asyncio.Runner) -> None:
    """Writes, lets each part read, and checks whether everything works again."""
    parts.client.flushdb()
    for command in written:
        try:
            parts.client.execute_command(*command)
        except redis.ResponseError:
            parts.client.unlink(command[1])
    runner.run(parts.show())
    parts.round()
    for _ in range(2):
        runner.run(parts.own())
    parts.round()
    assert runner.run(parts.show()) == [NAME]
    leases = LeaseClient(parts.client, GROUP, "pod-1")
    try:
        held = leases.renew({}, 2.0).held
        assert NAME in held or parts.client.hget(keys.leases(GROUP), NAME), "neither free nor held"
    finally:
        leases.close()


def run_hostile_pool(examples: int, number: int) -> Outcome:
    """`examples` histories of writes."""
    with EmbeddedValkey() as server, asyncio.Runner() as runner:
        parts = Parts(server)
        try:
            return run_check("keys of the pool", commands(), lambda each: check(parts, each, runner), examples, number)
        finally:
            parts.client.close()
