"""Each sentence of doc/security.md about the Redis users of the camera pool, tried with the shipped users.acl."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from redis.exceptions import ResponseError

from elastic_inference.adapters.camera_registry.camera_reader import CameraReader
from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera, secrets_value, spec_value
from elastic_inference.adapters.camera_registry.listing import CameraListing
from elastic_inference.adapters.camera_registry.requests import CameraRequests, Reply, read_request, send_reply
from elastic_inference.adapters.camera_registry.writer import RegistryWriter
from elastic_inference.adapters.event_store.event_log import EventLog
from elastic_inference.adapters.event_store.image_reader import ImageReader
from elastic_inference.adapters.frame_queue import Janitor, QueueReader, Sweeper
from elastic_inference.adapters.leases import Holding, LeaseClient
from elastic_inference.adapters.redis_connection import connect_async
from elastic_inference.adapters.stream_broker.model_wishes import SWITCH, WishStore
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus
from elastic_inference.domain.errors import DropReason
from elastic_inference.domain.events.camera_counts import counts_json, no_counts
from elastic_inference.domain.model_wish import Failure, ModelFailure, ModelWish, record_json
from tests.support.jpeg import tiny_jpeg
from tests.support.redis_commands import (
    BROKER,
    FRAME_READS,
    IMAGE,
    IMAGE_READS,
    IMAGE_WRITES,
    LISTING,
    SERVER,
    SUBSCRIBING,
    Command,
)
from tests.support.redis_logins import POOL_USERS, RULES, Logins, frame
from tests.support.redis_names import CHANNELS, FRAME, LEGACY, NAME, OTHER, RESULTS, STREAM, TYPE
from tests.support.sentences import Tries

tries = Tries(*POOL_USERS)


@tries("source can push frames of any type, and report the state of a source under any name.")
async def source_pushes(logins: Logins) -> None:
    producer = logins.leased(OTHER, 5)
    logins.client("admin").script_flush()
    assert producer.push(frame(OTHER)).pushed, "it loads the script itself"
    producer.report_source("live", 15.0, 0, 0)
    logins.leased(OTHER, 6).push(frame(OTHER))
    assert producer.push(frame(OTHER)).dropped == {DropReason.FENCED: 1}
    reader = QueueReader(logins.target("viewer"))
    assert [each.state for each in await reader.sources(TYPE) if each.name == OTHER] == ["live"]
    await reader.close()
    admin, fence = logins.client("admin"), keys.push_epoch(TYPE, OTHER)
    logins.client("source").set(fence, "6 9")
    await logins.sweep()
    assert 0 < admin.ttl(fence) <= 600


@tries("source can discard waiting frames of other cameras, and fill the memory of Redis, as `camera` can.")
async def source_discards(logins: Logins) -> None:
    source, admin = logins.client("source"), logins.client("admin")
    assert source.lpop(keys.waiting(TYPE, NAME))
    source.set(FRAME, "x" * 1000)
    await logins.sweep()
    assert 0 < admin.ttl(FRAME) < 60


@tries("source can take, keep and release the lease of every camera of the pool, and report its state.")
def source_leases(logins: Logins) -> None:
    admin = logins.client("admin")
    admin.hset(keys.CAMERA_WANTED, mapping={":known": "1", NAME: "3 0.2"})
    client = LeaseClient(logins.client("source"), "cameras", "worker-1")
    claim = client.renew({}, 4.0).held[NAME]
    assert client.renew({NAME: Holding(claim.epoch, 0.2)}, 4.0).held[NAME].revision == 3
    client.quarantine(NAME, time.monotonic() + 60)
    assert client.renew({NAME: Holding(claim.epoch, 0.2)}, 4.0).held[NAME].quarantined_until
    client.release()
    CameraReader(logins.client("source")).write_statuses({NAME: CameraStatus(CameraState.LIVE)})
    assert admin.hexists(keys.CAMERA_STATUS, NAME)
    client.close()


@tries("source can read every camera of the pool, with its login.")
def source_reads(logins: Logins) -> None:
    added(logins)
    login = CameraReader(logins.client("source")).read([NAME])[NAME].spec.login
    assert login is not None
    assert login.password.get_secret_value() == "p"


@tries("source can answer requests to probe a camera.")
def source_probes(logins: Logins) -> None:
    source, admin = logins.client("source"), logins.client("admin")
    admin.rpush(keys.CAMERA_PROBES, "{}")
    assert source.blpop(keys.CAMERA_PROBES, 1)
    source.lpush(keys.camera_reply("x"), "{}")
    source.expire(keys.camera_reply("x"), 60)


@tries("source can load and run scripts of its own on the keys that it may use.")
def source_runs_scripts(logins: Logins) -> None:
    source = logins.client("source")
    load: Command = ("SCRIPT", "LOAD", "return redis.call('HLEN', ARGV[1])")
    assert source.evalsha(source.execute_command(*load), 0, keys.CAMERA_SPECS) == 0
    with pytest.raises(ResponseError, match=r"ACL|permission"):
        source.evalsha(source.execute_command(*load), 0, keys.STREAMS)


@tries("source cannot add, change or remove a camera of the pool or its login.")
def source_changes_no_camera(logins: Logins) -> None:
    hashes = (keys.CAMERA_SPECS, keys.CAMERA_SECRETS, keys.CAMERA_WANTED)
    changes: list[Command] = [("HSET", key, NAME, "x") for key in hashes] + [("HDEL", key, NAME) for key in hashes]
    changes += [("UNLINK", key) for key in hashes] + [("PEXPIRE", key, 1) for key in hashes]
    logins.refuses("source", changes, [("RPUSH", keys.CAMERA_REQUESTS, "x"), ("SET", keys.CAMERA_OWNER, "x")])


@tries("source cannot read requests to the owner of the cameras, or any answer.")
def source_reads_no_request(logins: Logins) -> None:
    lists = (keys.CAMERA_REQUESTS, keys.camera_reply("x"))
    logins.refuses("source", [("LPOP", key) for key in lists], [("BLPOP", key, 1) for key in lists])


@tries("source cannot push the legacy form, or read a frame, not even its own.")
def source_reads_no_frame(logins: Logins) -> None:
    logins.refuses("source", [("RPUSH", LEGACY, "x"), ("LPOP", LEGACY)], FRAME_READS[:-1])


@tries("source cannot read or write a result, a tombstone or any other key of the broker.")
def source_has_no_broker(logins: Logins) -> None:
    logins.refuses("source", BROKER, [("HGETALL", "stream:x")])


@tries(
    "source cannot subscribe, list keys, change the database, or see or change settings, users and connections of "
    "Redis."
)
def source_does_not_rule(logins: Logins) -> None:
    logins.refuses("source", SUBSCRIBING, LISTING, SERVER, [("SELECT", 1), ("INFO",), ("EVAL", "return 1", 0)])


async def does_what_viewer_can(logins: Logins, user: str) -> None:
    reader = QueueReader(logins.target(user))
    assert await reader.types() == [TYPE]
    assert await Janitor(reader.clients, RULES, "replica-1").run(TYPE)
    await reader.close()
    broker = connect_async(logins.target(user))
    assert [each.id for each in await StreamRegistry(broker).streams()] == [STREAM]
    await StreamRegistry(broker).watch([STREAM])
    await broker.aclose()
    logins.client(user).pubsub().subscribe(*CHANNELS)


@tries("gateway can do what viewer can.")
async def gateway_is_a_viewer(logins: Logins) -> None:
    await does_what_viewer_can(logins, "gateway")


def added(logins: Logins) -> None:
    """A camera with a login, as housekeeping writes it."""
    spec = CameraSpec.model_validate(
        {"name": NAME, "url": "rtsp://10.0.0.7/1", "login": {"user": "ei", "password": "p"}}
    )
    camera = CompleteCamera(1, spec)
    client = logins.client("housekeeping")
    client.hset(keys.CAMERA_SPECS, NAME, spec_value(camera))
    client.hset(keys.CAMERA_SECRETS, NAME, secrets_value(camera) or b"")


@tries("gateway can read the cameras of the pool without their logins, their states and who runs them.")
async def gateway_reads_cameras(logins: Logins) -> None:
    added(logins)
    admin = logins.client("admin")
    admin.hset(keys.CAMERA_WANTED, mapping={":known": "1", NAME: "3 0.2"})
    LeaseClient(logins.client("source"), "cameras", "worker-1").renew({}, 4.0)
    client = connect_async(logins.target("gateway"))
    records = await CameraListing(client).read()
    assert records.cameras[NAME].has_login
    assert records.leases[NAME].worker == "worker-1"
    await client.aclose()


@tries("gateway can send requests to add, change, remove and probe cameras, and read the answers.")
async def gateway_asks(logins: Logins) -> None:
    gateway, owner = connect_async(logins.target("gateway")), connect_async(logins.target("housekeeping"))
    for queue, user in ((keys.CAMERA_REQUESTS, "housekeeping"), (keys.CAMERA_PROBES, "source")):
        asked = asyncio.create_task(CameraRequests(gateway).ask(queue, "delete", NAME))
        raw = None
        while raw is None:
            raw = await owner.lpop(queue)
            await asyncio.sleep(0.01)
        request = read_request(raw, time.time())
        assert request is not None
        answering = connect_async(logins.target(user))
        await send_reply(answering, request.id, Reply(204))
        assert (await asked).status == 204
        await answering.aclose()
    await gateway.aclose()
    await owner.aclose()


@tries("gateway can read events, what is kept of a stream for them, and which event worker has which partition.")
async def gateway_reads_events(logins: Logins) -> None:
    admin = logins.client("admin")
    admin.xadd(keys.events(3), {"json": "{}"})
    number = keys.partition_of(NAME, 16)
    admin.hset(keys.event_states(number), keys.camera_counts(NAME), counts_json(no_counts(NAME)))
    link = connect_async(logins.target("gateway"))
    assert await EventLog(link).counts(NAME) == no_counts(NAME)
    await link.aclose()
    admin.unlink(keys.event_states(number))
    client = logins.client("gateway")
    assert len(client.xrevrange(keys.events(3))) == 1
    assert client.hgetall(keys.event_states(3)) == {}
    leases: list[Command] = []
    for key in (keys.leases("events"), keys.lease_workers("events")):
        assert client.hgetall(key) == {}
        leases.append(("HSET", key, "3", "x"))
    logins.refuses("gateway", leases, [("XADD", keys.events(3), "*", "json", "{}"), ("SET", keys.EVENTS_ON, 1)])


@tries("gateway can read the images of events, and cannot write, remove or ask for one.")
async def gateway_reads_images(logins: Logins) -> None:
    admin = logins.client("admin")
    admin.set(keys.snapshot_image("a/1-1"), tiny_jpeg())
    client = connect_async(logins.target("gateway"))
    assert await ImageReader(client).read("a/1-1") == tiny_jpeg()
    await client.aclose()
    logins.refuses("gateway", IMAGE_WRITES)


@tries("gateway can read, add, change and remove sinks of events, which hold no secret, and send requests about them.")
def gateway_changes_sinks(logins: Logins) -> None:
    client = logins.client("gateway")
    client.hset(keys.SINK_SPECS, NAME, "{}")
    assert client.hgetall(keys.SINK_SPECS) == {NAME.encode(): b"{}"}
    client.hdel(keys.SINK_SPECS, NAME)
    assert client.get(keys.SINK_FILE) is None
    assert client.hgetall(keys.SINK_STATES) == {}
    assert client.xlen(keys.dead_letters(NAME)) == 0
    assert client.xrange(keys.dead_letters(NAME)) == []
    client.rpush(keys.SINK_REQUESTS, "{}")
    assert client.llen(keys.SINK_REQUESTS) == 1
    assert client.get(keys.sink_reply("a")) is None


@tries("gateway can choose the model and the canary of each type, and read why one failed.")
async def gateway_chooses_models(logins: Logins) -> None:
    failure = Failure(id="0" * 16, reason=ModelFailure.LOAD, message="Broken.", pod="pod-1")
    logins.client("admin").hset(keys.model_failures(TYPE), SWITCH, record_json(failure))
    client = connect_async(logins.target("gateway"))
    store, wish = WishStore(client), ModelWish(id=failure.id)
    assert await store.change(TYPE, await store.read(TYPE), wish)
    found = await store.read(TYPE)
    assert (found.wish, found.failures) == (wish, {SWITCH: failure})
    await client.aclose()


@tries("gateway cannot say that a model failed.")
def gateway_fails_no_model(logins: Logins) -> None:
    logins.refuses("gateway", [("HSET", keys.model_failures(TYPE), SWITCH, "x"), ("UNLINK", keys.model_failures(TYPE))])


@tries("gateway cannot take the lease of a sink, move its position in the outbox, or change its dead letters.")
def gateway_delivers_nothing(logins: Logins) -> None:
    hashes = (keys.leases("sinks"), keys.lease_workers("sinks"), keys.wanted("sinks"), keys.event_sinks(1))
    writing: list[Command] = [("HSET", key, NAME, "x") for key in (*hashes, keys.SINK_STATES)]
    logins.refuses("gateway", writing, [("UNLINK", keys.dead_letters(NAME)), ("SET", keys.sink_reply("a"), "x")])


@tries("gateway cannot read a camera's login, or a request, which may hold one.")
def gateway_reads_no_login(logins: Logins) -> None:
    added(logins)
    lists = (keys.CAMERA_REQUESTS, keys.CAMERA_PROBES)
    reading: list[Command] = [("LPOP", key) for key in lists] + [("LRANGE", key, 0, -1) for key in lists]
    reading += [("BLPOP", key, 1) for key in lists] + [("LINDEX", key, 0) for key in lists]
    secrets: list[Command] = [("HGETALL", keys.CAMERA_SECRETS), ("HGET", keys.CAMERA_SECRETS, NAME)]
    logins.refuses("gateway", reading, secrets, [("HMGET", keys.CAMERA_SECRETS, NAME)])


@tries("gateway cannot write the registry of the cameras, or take a lease.")
def gateway_writes_no_camera(logins: Logins) -> None:
    group = (keys.leases("cameras"), keys.lease_workers("cameras"))
    hashes = (keys.CAMERA_SPECS, keys.CAMERA_SECRETS, keys.CAMERA_WANTED, keys.CAMERA_STATUS, *group)
    writing: list[Command] = [("HSET", key, NAME, "x") for key in hashes] + [("UNLINK", key) for key in hashes]
    logins.refuses("gateway", writing, [("SET", keys.CAMERA_OWNER, "x")])


def does_no_more_than_viewer(logins: Logins, user: str, *of_clients: Command) -> None:
    """`of_clients` are CLIENT's subcommands that this user may run nevertheless."""
    server = [each for each in SERVER if each[0] != "CLIENT" or each[1:] not in of_clients]
    logins.refuses(user, FRAME_READS[:-1], BROKER, server)
    logins.refuses(user, [("KEYS", "*"), ("EVAL", "return 1", 0)])


@tries("gateway cannot do more with frames, results and settings of Redis than viewer can.")
def gateway_is_no_more(logins: Logins) -> None:
    does_no_more_than_viewer(logins, "gateway")


@tries("housekeeping can do what viewer can.")
async def housekeeping_is_a_viewer(logins: Logins) -> None:
    await does_what_viewer_can(logins, "housekeeping")


@tries("housekeeping can read and write everything of the camera pool, logins and leases included.")
async def housekeeping_owns(logins: Logins) -> None:
    spec = CameraSpec(name=NAME, url="rtsp://10.0.0.7/1?key=k")
    client = connect_async(logins.target("housekeeping"))
    writer = RegistryWriter(client, "replica-1")
    assert await writer.hold_lock("")
    assert await writer.write({NAME: CompleteCamera(1, spec)})
    assert await writer.read() == {NAME: CompleteCamera(1, spec)}
    assert await writer.write({}) > 0
    await writer.release_lock()
    await client.aclose()
    LeaseClient(logins.client("housekeeping"), "cameras", "worker-1").renew({}, 4.0)


@tries("housekeeping can see and close connections to Redis.")
def housekeeping_closes(logins: Logins) -> None:
    stranger, client = socket.create_connection(("127.0.0.1", logins.server.port)), logins.client("housekeeping")
    with stranger:
        (number,) = [each["id"] for each in client.client_list() if each["user"] == "default"]
        assert client.client_kill_filter(_id=number) == 1


@tries("housekeeping can give images of events, and requests for them, an expiry if pods left none.")
async def housekeeping_gives_images_an_expiry(logins: Logins) -> None:
    pod, admin = logins.client("worker"), logins.client("admin")
    left = [IMAGE, keys.snapshot_requests("x"), keys.snapshot_answers("x")]
    pod.set(left[0], "x")
    pod.lpush(left[1], "x")
    pod.rpush(left[2], "x")
    reader = QueueReader(logins.target("housekeeping"), "ei-housekeeping")
    await Sweeper(reader.clients, RULES).sweep([TYPE])
    await reader.close()
    assert all(0 < admin.ttl(key) <= 60 for key in left)


@tries("housekeeping cannot read an image of an event.")
def housekeeping_reads_no_image(logins: Logins) -> None:
    logins.refuses("housekeeping", IMAGE_READS)


@tries("housekeeping can remove `results_<type>`, see how many groups it has, and read its first and last result.")
def housekeeping_bounds_readers(logins: Logins) -> None:
    client = logins.client("housekeeping")
    found = client.xinfo_stream(RESULTS)
    assert (found["groups"], found["length"], found["first-entry"]) == (0, 1, found["last-entry"])
    assert client.unlink(RESULTS) == 1


@tries("housekeeping cannot do more with frames, results, users and settings of Redis than viewer can.")
def housekeeping_is_no_more(logins: Logins) -> None:
    does_no_more_than_viewer(logins, "housekeeping", ("LIST",), ("KILL", "TYPE", "normal"))


def test_each_sentence_is_tried() -> None:
    tries.check()


@pytest.mark.parametrize("sentence", tries.functions, ids=lambda each: each[:60])
async def test_login(sentence: str, logins: Logins) -> None:
    await tries.run(sentence, logins)
