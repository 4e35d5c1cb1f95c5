"""Whatever a login of the pool or a foreign program writes into the registry, every part goes on (real Valkey)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable
from unittest.mock import AsyncMock

import pytest
import redis
import redis.asyncio as aioredis

from elastic_inference.adapters.camera_registry.camera_reader import CameraReader
from elastic_inference.adapters.camera_registry.camera_values import (
    CompleteCamera,
    read_status,
    spec_value,
    wanted_value,
)
from elastic_inference.adapters.camera_registry.listing import CameraListing, CameraRecords
from elastic_inference.adapters.camera_registry.requests import CameraRequests, Reply, take_requests
from elastic_inference.adapters.camera_registry.writer import RegistryWriter
from elastic_inference.adapters.leases import LeaseClient
from elastic_inference.base import config
from elastic_inference.base.config import CameraSettings, load
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus
from elastic_inference.domain.camera_errors import CameraRefusal
from elastic_inference.domain.leases import WorkerLoad
from elastic_inference.domain.probe_report import ProbeReport
from elastic_inference.domain.rest import document_json
from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway.access import EVERYBODY, Access
from elastic_inference.flows.gateway.camera_state import cameras_document
from elastic_inference.flows.gateway.cameras import _MAX_WAITING, MAX_PROBES, PoolCameras
from elastic_inference.flows.produce.pool.lease_keeper import LeaseKeeper, Standing
from elastic_inference.flows.produce.pool.probes import ProbeAnswers
from tests.support.waiting import wait_for

GATE = CameraSpec(name="gate", url="rtsp://10.0.0.7/live")
WORKER_KEYS = (keys.CAMERA_STATUS, keys.leases("cameras"), keys.lease_workers("cameras"))
LIVE = CameraStatus(CameraState.LIVE, worker="pod-1", fps=15.0)


@pytest.fixture
async def listing(valkey: EmbeddedValkey) -> AsyncIterator[CameraListing]:
    client = aioredis.Redis(port=valkey.port)
    yield CameraListing(client)
    await client.aclose()


@pytest.fixture
async def owner(valkey: EmbeddedValkey) -> AsyncIterator[aioredis.Redis]:
    client = aioredis.Redis(port=valkey.port)
    yield client
    await client.aclose()


async def test_half_a_character_in_a_status_is_shown_as_a_question_mark(
    client: redis.Redis, listing: CameraListing
) -> None:
    client.hset(keys.CAMERA_SPECS, "gate", spec_value(CompleteCamera(1, GATE)))
    client.hset(keys.CAMERA_STATUS, "gate", json.dumps({"state": "live", "worker": "a", "reason": "x\ud800"}))
    client.hset(keys.leases("cameras"), "gate", "5 a:ab 0.15 0 0 - 0")
    client.hset(keys.lease_workers("cameras"), "a:ab", f"{int(time.time() * 1e6)} 2 0.1 0 3000000 0.1 1")
    document = cameras_document(await listing.read(), EVERYBODY)
    assert document.cameras[0].status.reason == "x?"
    assert json.loads(document_json(document))["cameras"][0]["name"] == "gate"


@pytest.mark.parametrize("key", WORKER_KEYS)
async def test_a_fat_hash_is_not_read_and_the_rest_is(client: redis.Redis, listing: CameraListing, key: str) -> None:
    client.hset(keys.CAMERA_SPECS, "gate", spec_value(CompleteCamera(1, GATE)))
    for number in range(4):
        client.hset(key, f"x-{number}", bytes(4_000_000))
    sent = client.info("stats")["total_net_output_bytes"]
    assert list((await listing.read()).cameras) == ["gate"]
    assert client.info("stats")["total_net_output_bytes"] - sent < 1_000_000


async def test_the_owner_removes_fat_statuses_unread(client: redis.Redis, owner: aioredis.Redis) -> None:
    for number in range(4):
        client.hset(keys.CAMERA_STATUS, f"x-{number}", bytes(4_000_000))
    sent = client.info("stats")["total_net_output_bytes"]
    await RegistryWriter(owner, "replica-1").write({"gate": CompleteCamera(1, GATE)})
    assert client.info("stats")["total_net_output_bytes"] - sent < 1_000_000
    assert not client.exists(keys.CAMERA_STATUS)
    assert client.hkeys(keys.CAMERA_SPECS) == [b"gate"]


async def test_a_lock_of_the_wrong_type_is_taken(client: redis.Redis, owner: aioredis.Redis) -> None:
    client.hset(keys.CAMERA_OWNER, "a", "b")
    assert await RegistryWriter(owner, "replica-1").hold_lock("")
    assert client.get(keys.CAMERA_OWNER) == b"replica-1\n"


async def test_requests_of_the_wrong_type_or_size_make_room_for_others(
    client: redis.Redis, owner: aioredis.Redis
) -> None:
    client.set(keys.CAMERA_REQUESTS, "a text")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        await take_requests(owner, 0.1, 64)
    for _ in range(12):
        client.rpush(keys.CAMERA_REQUESTS, bytes(4_000_000))
    assert len(await take_requests(owner, 0.1, 64)) == 1
    client.rpush(keys.CAMERA_REQUESTS, "1", "2", "3")
    assert await take_requests(owner, 0.1, 2) == [b"1", b"2"]
    assert await take_requests(owner, 0.1, 2) == [b"3"]
    assert await take_requests(owner, 0.1, 2) == []


async def test_requests_to_probe_of_the_wrong_type_make_room_for_others(
    client: redis.Redis, owner: aioredis.Redis, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elastic_inference.flows.produce.pool.probes._PAUSE_S", 0.05)
    client.set(keys.CAMERA_PROBES, "a text")
    answers = ProbeAnswers(load(CameraSettings, {"QUEUE_URL": valkey.url}))
    answers.start()
    try:
        wait_for(lambda: not client.exists(keys.CAMERA_PROBES), what="the text to go")
        reply = await CameraRequests(owner).ask(keys.CAMERA_PROBES, "probe", spec={"url": "nothing"})
        assert reply.status == 400
        assert not [key for key in client.keys("{cameras}:reply:*") if client.ttl(key) < 0]
    finally:
        answers.close()
        for thread in answers._threads:
            thread.join(10)


def test_statuses_are_written_over_a_key_of_the_wrong_type(client: redis.Redis) -> None:
    client.set(keys.CAMERA_STATUS, "a text")
    CameraReader(client).write_statuses({"gate": LIVE})
    assert read_status(client.hget(keys.CAMERA_STATUS, "gate")) == LIVE


def full_memory(client: redis.Redis) -> None:
    client.config_set("maxmemory", "1mb")


def foreign_specs(client: redis.Redis) -> None:
    client.set(keys.CAMERA_SPECS, "a text")


@pytest.mark.parametrize("fault", [full_memory, foreign_specs])
def test_leases_hold_while_redis_refuses_the_rest_of_a_round(
    client: redis.Redis, valkey: EmbeddedValkey, fault: Callable[[redis.Redis], None]
) -> None:
    """A camera whose worker hears nothing of its lease ends."""
    client.hset(keys.CAMERA_WANTED, mapping={":known": "1", "gate": wanted_value(1, 0.15)})
    client.hset(keys.CAMERA_SPECS, "gate", spec_value(CompleteCamera(1, GATE)))
    standing = Standing({}, 2.0, 0.0, False, {"gate": LIVE}, {})
    target = config.RedisTarget(url=config.Secret(valkey.url))
    keeper = LeaseKeeper(
        *(client, LeaseClient(client, "cameras", "pod-1"), target),
        lifecycle=Lifecycle("camera"),
        standing=lambda: standing,
        wake=lambda: None,
    )
    fault(client)
    try:
        try:
            keeper._round()
        except redis.ResponseError:
            assert fault is foreign_specs, "a report can wait"
        assert list(keeper.news.get(timeout=1).round.held) == ["gate"]
    finally:
        client.config_set("maxmemory", "0")
        keeper.close()


async def test_half_a_character_in_the_answer_to_a_probe_is_refused(
    owner: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = {field.name: 1 for field in dataclasses.fields(ProbeReport)}
    texts = dict.fromkeys(("camera", "transport", "container", "codec", "profile", "pixel_format", "colours"), "\ud800")
    found = report | texts | {"interlaced": None, "login": False, "passes_through": False, "warnings": []}
    ask = AsyncMock(return_value=Reply(200, {"report": found, "image": None}))
    monkeypatch.setattr(CameraRequests, "ask", ask)
    cameras = PoolCameras(owner, time.time, str)
    cameras._records = CameraRecords(workers={"pod-1": WorkerLoad(2.0, 0.0, 0.0, 0, draining=False, seen_ago_s=0.0)})
    cameras._read_at = time.monotonic() + 3600
    with pytest.raises(CameraRefusal) as refused:
        document_json(await cameras.probe({"url": "rtsp://10.0.0.7/"}, EVERYBODY))
    assert refused.value.status == 503
    ask.assert_awaited_once()
    texts = dict.fromkeys(texts, "x")
    ask.return_value = Reply(200, {"report": found | texts, "image": None})
    assert document_json(await cameras.probe({"url": "rtsp://10.0.0.7/"}, EVERYBODY))


async def test_full_memory_is_no_outage_and_takes_no_owner_its_lock(client: redis.Redis, owner: aioredis.Redis) -> None:
    full_memory(client)
    try:
        assert await RegistryWriter(owner, "replica-1").hold_lock("")
        with pytest.raises(CameraRefusal, match="no memory left") as refused:
            await PoolCameras(owner, time.time, str).change("delete", "gate", {}, EVERYBODY)
        assert refused.value.status == 503
    finally:
        client.config_set("maxmemory", "0")


def test_a_worker_whose_thread_of_leases_ends_stops(client: redis.Redis, valkey: EmbeddedValkey) -> None:
    """It would look alive, and run nothing once its leases have ended."""
    lifecycle = Lifecycle("camera")
    leases = LeaseClient(client, "cameras", "pod-1")

    def broken() -> None:
        raise MemoryError("no room to wake anybody")

    keeper = LeaseKeeper(
        *(client, leases, config.RedisTarget(url=config.Secret(valkey.url))),
        lifecycle=lifecycle,
        standing=lambda: Standing({}, 2.0, 0.0, False, {}, {}),
        wake=broken,
    )
    keeper.start()
    wait_for(lambda: lifecycle.stopping, what="the stop of the process")
    assert "leases" in (lifecycle.failure or "")
    keeper.close()


async def test_an_admin_of_some_cameras_leaves_probes_and_changes_to_others(
    owner: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()

    async def ask(*_: object, **__: object) -> Reply:
        await answered.wait()
        return Reply(204)

    monkeypatch.setattr(CameraRequests, "ask", ask)
    cameras = PoolCameras(owner, time.time, str)
    cameras._records = CameraRecords(
        workers={"pod-1": WorkerLoad(2.0, 0.0, 0.0, 0, draining=False, seen_ago_s=0.0)}, owned=True
    )
    cameras._read_at = time.monotonic() + 3600
    north = Access("north", Role.ADMIN, ("north-*",), "n")
    for most, send in (
        (MAX_PROBES, lambda access: cameras.probe({"url": "rtsp://10.0.0.7/"}, access)),
        (_MAX_WAITING, lambda access: cameras.change("delete", "north-1", {}, access)),
    ):
        tasks = [asyncio.create_task(send(north)) for _ in range(most // 2)]
        await asyncio.sleep(0)
        with pytest.raises(CameraRefusal) as refused:
            await send(north)
        assert refused.value.status == 429
        other = asyncio.create_task(send(EVERYBODY))
        await asyncio.sleep(0)
        assert not other.done(), "it waits for its answer"
        answered.set()
        await asyncio.gather(*tasks, other, return_exceptions=True)
        answered.clear()
