"""Each sentence of doc/security.md about the Redis users of the camera pool, tried with the shipped users.acl."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from redis.exceptions import ResponseError

from elastic_inference.adapters.camera_registry.reader import CameraReader
from elastic_inference.adapters.camera_registry.records import CompleteCamera, secrets_value, spec_value
from elastic_inference.adapters.frame_queue import QueueReader
from elastic_inference.adapters.leases import Holding, LeaseClient
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus
from elastic_inference.domain.errors import DropReason
from tests.support.redis_logins import (
    CHANNELS,
    FRAME,
    FRAME_READS,
    LEGACY,
    LISTING,
    NAME,
    OTHER,
    POOL_USERS,
    REGISTRY,
    RESULT_READS,
    RESULT_WRITES,
    SERVER,
    SUBSCRIBING,
    TYPE,
    Command,
    Logins,
    frame,
    server_with_users,
)
from tests.support.sentences import Tries

tries = Tries(*POOL_USERS)


@pytest.fixture(scope="module")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with server_with_users(tmp_path_factory.mktemp("acl") / "users.acl") as server:
        yield server


@pytest.fixture
def logins(locked_server: EmbeddedValkey) -> Iterator[Logins]:
    with Logins(locked_server) as made:
        yield made


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
    spec = CameraSpec.model_validate(
        {"name": NAME, "url": "rtsp://10.0.0.7/1", "login": {"user": "ei", "password": "p"}}
    )
    camera = CompleteCamera(1, spec)
    admin = logins.client("admin")
    admin.hset(keys.CAMERA_SPECS, NAME, spec_value(camera))
    admin.hset(keys.CAMERA_SECRETS, NAME, secrets_value(camera) or b"")
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
    publishing: list[Command] = [("PUBLISH", channel, "x") for channel in CHANNELS]
    logins.refuses("source", RESULT_READS, RESULT_WRITES, REGISTRY, publishing, [("HGETALL", "stream:x")])


@tries(
    "source cannot subscribe, list keys, change the database, or see or change settings, users and connections of "
    "Redis."
)
def source_does_not_rule(logins: Logins) -> None:
    logins.refuses("source", SUBSCRIBING, LISTING, SERVER, [("SELECT", 1), ("INFO",), ("EVAL", "return 1", 0)])


def test_each_sentence_is_tried() -> None:
    tries.check()


@pytest.mark.parametrize("sentence", tries.functions, ids=lambda each: each[:60])
async def test_login(sentence: str, logins: Logins) -> None:
    if (outcome := tries.functions[sentence](logins)) is not None:
        await outcome
