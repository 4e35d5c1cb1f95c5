"""Each sentence of doc/security.md about a Redis user, tried with the shipped users.acl."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ResponseError
from redis.retry import Retry

from elastic_inference.adapters.acl import USERS
from elastic_inference.adapters.frame_queue import CrowdControl, Janitor, QueueReader
from elastic_inference.adapters.frame_queue.queue_reader import MAX_TYPES
from elastic_inference.adapters.redis_connection import connect_async
from elastic_inference.adapters.stream_broker.frame_requests import FrameRequests
from elastic_inference.adapters.stream_broker.model_wishes import SWITCH, ModelWishes
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.domain import keys
from elastic_inference.domain.frame_message import pack_frame
from elastic_inference.domain.model_wish import Failure, ModelChoice, ModelFailure, ModelWish, record_json
from elastic_inference.domain.sequence import Tombstone
from tests.support.jpeg import tiny_jpeg
from tests.support.redis_commands import (
    FRAME_READS,
    IMAGE,
    IMAGE_READS,
    IMAGE_WRITES,
    LISTING,
    PUBLISHING,
    REGISTRY,
    RESULT_READS,
    RESULT_WRITES,
    SCRIPTS,
    SERVER,
    SUBSCRIBING,
    Command,
)
from tests.support.redis_logins import PATIENT, POOL_USERS, READING_USERS, RULES, Logins, frame, halts
from tests.support.redis_names import CHANNELS, FRAME, LEGACY, NAME, OTHER, STREAM, TYPE
from tests.support.results import make_result
from tests.support.sentences import Tries, all_logins
from tests.support.waiting import wait_for

# test_pool_logins.py tries those of the camera pool, test_reading_logins.py those that only read, test_site_logins.py a
# site's.
tries = Tries(*(user for user in USERS if user not in (*POOL_USERS, *READING_USERS, "events")), "default")


@tries("camera can push frames of any type, in the fair and in the legacy form.")
def camera_pushes(logins: Logins) -> None:
    for infer_type in (TYPE, "car-fp32"):
        assert logins.producer(OTHER, infer_type=infer_type).push(frame(OTHER, infer_type)).pushed
        logins.client("camera").rpush(keys.legacy_queue(infer_type), pack_frame(frame("old-1", infer_type)))
        names = [each.frame.name for _ in range(3) for each in logins.consumer(infer_type).pop(8, 0).frames]
        assert sorted(set(names) - {NAME}) == [OTHER, "old-1"]


@tries("camera can pretend to be any camera: push frames and report the state of a source under any name.")
async def camera_reports(logins: Logins) -> None:
    for name in (NAME, OTHER):
        assert logins.producer(name).push(frame(name)).pushed
    assert {each.frame.name for each in logins.consumer().pop(8, 0).frames} == {NAME, OTHER}
    logins.producer(OTHER).report_source("live", 15.0, 0, 0)
    logins.producer(OTHER).report_source("stalled", 0.0, 9, 0)
    reader = QueueReader(logins.target("viewer"))
    assert [each.state for each in await reader.sources(TYPE) if each.name == OTHER] == ["stalled"]
    await reader.close()


@tries("camera can discard waiting frames of other cameras, and count drops that never happened.")
def camera_discards(logins: Logins) -> None:
    camera = logins.client("camera")
    assert camera.lpop(keys.waiting(TYPE, NAME))
    camera.hincrby(keys.dropped(TYPE), "queue_full", 7)
    batch = logins.consumer().pop(8, 0)
    assert (batch.frames, batch.dropped.total()) == ([], 7)


@tries("camera can fill the memory of Redis until housekeeping removes what it wrote.")
async def camera_fills(logins: Logins) -> None:
    admin = logins.client("admin")
    logins.client("camera").set(FRAME, "x" * 1000)
    assert admin.ttl(FRAME) == -1
    await logins.sweep()
    assert 0 < admin.ttl(FRAME) < 60


@tries(
    "camera can invent types, which take turns in the places (of 256) that no type with pods, now or last week, needs."
)
async def camera_invents_types(logins: Logins) -> None:
    camera = logins.client("camera")
    for number in range(MAX_TYPES + 1):
        camera.zadd(keys.sources(f"a{number}"), {NAME: 1})
    logins.consumer("zz-night").load_scripts()
    camera.rpush(keys.tokens("zz-night"), NAME)
    camera.zadd(keys.sources("zz-now"), {NAME: 1})
    served = await logins.served_types(with_pods=["zz-now"])
    assert (len(served), {"zz-now", "zz-night"} <= {*served}) == (MAX_TYPES, True)


@tries("camera can take nearly all turns of a type, with made-up names of streams that begin differently.")
async def camera_makes_up_names(logins: Logins) -> None:
    logins.consumer().pop(8, 0)
    for number in range(100):
        logins.producer(f"new{number}", rules=PATIENT).push(frame(f"new{number}"))
    logins.producer(NAME).push(frame(NAME))
    reader = QueueReader(logins.target("housekeeping"))
    assert await CrowdControl(reader.clients, RULES.token_limit).look([TYPE]) == []
    await reader.close()
    names = [each.frame.name for each in logins.consumer(rules=PATIENT).pop(101, 0).frames]
    assert names.index(NAME) == 100


@tries("camera can halt Redis for seconds with one command of millions of values.")
def camera_halts(logins: Logins) -> None:
    halts(logins, "camera", "made-up")


@tries("camera can fill its memory for some seconds with very long names of connections, as any login can.")
def camera_names_connections(logins: Logins) -> None:
    """test_redis_strangers.py has housekeeping close them."""
    used = int(logins.client("admin").info("memory")["used_memory"])
    for user in ("camera", "reader", "scaler"):
        assert logins.client(user).client_setname("n" * 2_000_000)
    assert int(logins.client("admin").info("memory")["used_memory"]) > used + 6_000_000


@tries("camera cannot leave a key in Redis for good, whatever the key's name and however distant its expiry.")
async def camera_leaves_no_key(logins: Logins) -> None:
    camera, admin = logins.client("camera"), logins.client("admin")
    odd = ("queue_bad!", "{queue_a:b}:tokens", "{queue_made-up}:dropped")
    for key in odd:
        camera.hset(key, "stale", 1)
    camera.set(FRAME, "x", ex=10 * 365 * 24 * 3600)
    await logins.sweep()
    assert all(0 < admin.ttl(key) <= 600 for key in (*odd, FRAME))


@tries(
    "camera cannot fill it with answers that it does not read, or commands that it does not finish, or end it with one "
    "huge answer."
)
def camera_leaves_nothing_unread(logins: Logins) -> None:
    """Tried by `test_redis_buffers.py`."""


@tries(
    "camera cannot keep lists of invented types that no longer have a turn: they go 30 s after housekeeping finds them."
)
async def camera_keeps_no_types(logins: Logins) -> None:
    lists = [(keys.legacy_queue(name), keys.tokens(name), keys.waiting(name, NAME)) for name in ("a1", "a2")]
    for key in (each for found in lists for each in found):
        logins.client("camera").rpush(key, "x")
    await logins.sweep()
    assert all(0 < logins.client("admin").ttl(each) <= 30 for found in lists for each in found)


@tries("camera cannot hold all places for connections: housekeeping closes the youngest of an address with over half.")
def camera_leaves_places(logins: Logins) -> None:
    """Tried by `test_redis_strangers.py`."""


@tries("camera cannot read a frame, not even its own.")
def camera_reads_no_frame(logins: Logins) -> None:
    logins.refuses("camera", FRAME_READS, [("LPOP", LEGACY), ("LRANGE", LEGACY, 0, -1), ("LINDEX", LEGACY, 0)])


@tries("camera cannot read a result, or which streams and pods there are.")
def camera_reads_no_result(logins: Logins) -> None:
    registry: list[Command] = [("ZRANGE", keys.STREAMS, 0, -1), ("HGETALL", keys.stream_info(STREAM))]
    registry += [("HGET", keys.stream_info(STREAM), "fps"), ("HGET", keys.worker_info(TYPE, "pod-1"), "fps")]
    logins.refuses("camera", RESULT_READS, registry)


@tries("camera cannot write a result, a tombstone or any other key of the broker.")
def camera_writes_nothing_of_the_broker(logins: Logins) -> None:
    logins.refuses("camera", RESULT_WRITES, REGISTRY, PUBLISHING, [("SET", keys.watch(STREAM), 1)])


@tries("camera cannot read, write, remove or ask for an image of an event.")
def camera_has_no_images(logins: Logins) -> None:
    logins.client("admin").set(IMAGE, "x")
    logins.refuses("camera", IMAGE_READS, IMAGE_WRITES)


@tries("camera cannot run a script of its own, or load one.")
def camera_has_no_scripts(logins: Logins) -> None:
    logins.refuses("camera", SCRIPTS)


@tries("camera cannot subscribe to a channel.")
def camera_does_not_subscribe(logins: Logins) -> None:
    logins.refuses("camera", SUBSCRIBING)


@tries("camera cannot list keys, change the database, or see or change settings, users and connections of Redis.")
def camera_does_not_rule(logins: Logins) -> None:
    logins.refuses("camera", LISTING, SERVER, [("SELECT", 1), ("INFO",)])


@tries("worker can pop the frames of every type.")
def worker_pops(logins: Logins) -> None:
    logins.producer(OTHER, infer_type="car-fp32").push(frame(OTHER, "car-fp32"))
    assert [each.frame.name for each in logins.consumer().pop(8, 0).frames] == [NAME]
    assert [each.frame.name for each in logins.consumer("car-fp32").pop(8, 0).frames] == [OTHER]


@tries("worker can publish results, tombstones and tracks, and report streams and pods.")
async def worker_publishes(logins: Logins) -> None:
    viewer = logins.client("viewer")
    viewer.set(keys.watch(STREAM), 1)
    with viewer.pubsub() as pubsub:
        pubsub.subscribe(*CHANNELS)
        wait_for(lambda: all(count for _, count in viewer.pubsub_numsub(*CHANNELS)), what="the subscriptions")
        logins.publish()
        logins.client("worker").publish(keys.tracks(STREAM), "x")
        received: set[str] = set()

        def all_came() -> bool:
            if message := pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1):
                received.add(message["channel"].decode())
            return received == set(CHANNELS)

        wait_for(all_came, what="a result, a tombstone and tracks")
    await viewer_reads_the_registry(logins)


@tries("worker can write frames, and load and run scripts of its own on the keys that it may use.")
def worker_has_scripts(logins: Logins) -> None:
    worker = logins.client("worker")
    sha = worker.script_load("return redis.call('GETDEL', KEYS[1])")
    worker.set(FRAME, "x")
    assert worker.evalsha(sha, 1, FRAME) == b"x"
    with pytest.raises(ResponseError, match="permission"):
        worker.evalsha(sha, 1, keys.watch(STREAM))


@tries("worker can write results and tombstones for the event service, and see whether one runs.")
def worker_writes_partitions(logins: Logins) -> None:
    logins.client("admin").set(keys.EVENTS_ON, 16)
    publisher = logins.publisher()
    results = keys.partition_results(keys.partition_of(NAME, 16))
    for _ in range(2):  # the first publish learns that an event service runs
        publisher.publish([(make_result(stream=STREAM), tiny_jpeg())], [Tombstone(STREAM, 2, "invalid")])
    entries = logins.client("admin").xrange(results)
    assert [next(iter(fields)) for _, fields in entries] == [b"gone", b"json"]
    logins.refuses("worker", [("XRANGE", results, "-", "+"), ("SET", keys.EVENTS_ON, 1)])


@tries("worker can take requests for frames, and write images of events and answers to event workers.")
def worker_hands_out_frames(logins: Logins) -> None:
    logins.client("admin").rpush(keys.snapshot_requests("pod-1"), f"1 {STREAM} {STREAM}/1-1 worker-1")
    requests = FrameRequests(logins.client("worker"), "pod-1")
    wanted = requests.wait()
    assert wanted is not None
    assert requests.answer(wanted, tiny_jpeg()) == "kept"
    assert logins.client("admin").lrange(keys.snapshot_answers("worker-1"), 0, -1) == [f"{STREAM}/1-1 kept".encode()]
    requests.close()


@tries("worker can read which model it should run, and say that a model failed.")
def worker_follows_wishes(logins: Logins) -> None:
    wish = ModelWish(id="0" * 16, choice=ModelChoice(model="a"))
    logins.client("admin").set(keys.model_wish(TYPE), record_json(wish))
    failure = Failure(id=wish.id, reason=ModelFailure.LOAD, message="Broken.", pod="pod-1")
    wishes = ModelWishes(logins.client("worker"), TYPE)
    wishes.fail(SWITCH, failure)
    assert wishes.read() == (wish, {SWITCH: failure})
    wishes.close()


@tries("worker cannot choose the model of a type.")
def worker_chooses_no_model(logins: Logins) -> None:
    logins.refuses("worker", [("SET", keys.model_wish(TYPE), "{}"), ("DEL", keys.model_wish(TYPE))])


@tries("worker cannot read an image of an event, or say why one is missing.")
def worker_reads_no_image(logins: Logins) -> None:
    state: list[Command] = [("SET", keys.snapshot_state(f"{STREAM}/1-1"), "pod"), ("GET", keys.SNAPSHOT_BYTES)]
    logins.refuses("worker", IMAGE_READS, state, [("LPOP", keys.snapshot_answers("worker-1"))])


@tries("worker cannot read results again, subscribe, or mark a stream as watched.")
def worker_does_not_watch(logins: Logins) -> None:
    logins.refuses("worker", RESULT_READS, SUBSCRIBING, [("SET", keys.watch(STREAM), "1"), ("PUBLISH", "x", "y")])


@tries("worker cannot list keys, or see or change settings, users and connections of Redis.")
def worker_does_not_rule(logins: Logins) -> None:
    logins.refuses("worker", LISTING, SERVER, [("INFO",), ("EVAL", "return 1", 0)])


@tries("viewer can read which streams and pods there are, and mark streams as watched.")
async def viewer_reads_the_registry(logins: Logins) -> None:
    client = connect_async(logins.target("viewer"))
    registry = StreamRegistry(client)
    assert [each.id for each in await registry.streams()] == [STREAM]
    assert [each.pod for each in await registry.workers()] == ["pod-1"]
    await registry.watch([STREAM])
    assert logins.client("worker").exists(keys.watch(STREAM))
    await client.aclose()


@tries("viewer can subscribe to the results, tombstones and tracks of every stream.")
def viewer_subscribes(logins: Logins) -> None:
    with logins.client("viewer").pubsub() as pubsub:
        for channel in (*CHANNELS, "x:car-fp32:inferred"):
            pubsub.subscribe(channel)
            assert pubsub.get_message(timeout=5)["type"] == "subscribe"


@tries("viewer can run the janitor, read the lengths of queues, and load and run scripts on the keys that it may use.")
async def viewer_runs_the_janitor(logins: Logins) -> None:
    reader = QueueReader(logins.target("viewer"))
    assert await reader.types() == [TYPE]
    assert await reader.length(TYPE) == 1
    assert await Janitor(reader.clients, RULES, "replica").run(TYPE)
    await reader.close()
    viewer = logins.client("viewer")
    assert viewer.evalsha(viewer.script_load("return redis.call('LLEN', KEYS[1])"), 1, keys.tokens(TYPE)) == 1
    logins.refuses("viewer", [("EVAL", "return 1", 0)])


@tries("viewer can read and remove the legacy frames that wait.")
def viewer_reads_legacy_frames(logins: Logins) -> None:
    logins.client("camera").rpush(LEGACY, b"message")
    viewer = logins.client("viewer")
    assert viewer.lrange(LEGACY, 0, -1) == [b"message"]
    assert viewer.lpop(LEGACY) == b"message"


@tries("viewer cannot read a frame of the fair queue, nor one that was handed to a pod.")
def viewer_reads_no_frame(logins: Logins) -> None:
    taken = keys.taken(TYPE, "pod-1", 0)
    logins.refuses("viewer", FRAME_READS, [("GET", taken), ("GETDEL", taken), ("SET", taken, "x", "GET")])
    viewer = logins.client("viewer")
    sha = viewer.script_load("return redis.call('SET', KEYS[1], 'x', 'GET')")
    with pytest.raises(ResponseError):
        viewer.evalsha(sha, 1, FRAME)


@tries("viewer cannot publish results, tombstones or tracks, or report streams and pods.")
def viewer_publishes_nothing(logins: Logins) -> None:
    logins.refuses("viewer", REGISTRY, RESULT_WRITES, PUBLISHING)


@tries("viewer cannot read `results_<type>`, or see or change settings, users and connections of Redis.")
def viewer_does_not_rule(logins: Logins) -> None:
    logins.refuses("viewer", RESULT_READS, SERVER, [("KEYS", "*"), ("SUBSCRIBE", "other")])


@tries("admin can do everything.")
def admin_rules(logins: Logins) -> None:
    admin = logins.client("admin")
    assert admin.acl_whoami() == "admin"
    assert admin.config_get("maxmemory")
    assert admin.get(admin.keys(f"{keys.queue_prefix(TYPE)}frame:*")[0])
    assert admin.eval("return 1", 0) == 1
    # All commands, keys and channels, those of later versions included.
    (rights,) = [line for line in admin.acl_list() if line.startswith("user admin ")]
    assert {"on", "~*", "&*", "+@all"} <= {*rights.split()}


@tries("default cannot log in: without a name and a password Redis answers only that a login is needed.")
def default_is_off(logins: Logins) -> None:
    once = Retry(NoBackoff(), 0)
    with redis.Redis(port=logins.server.port, protocol=2, retry=once) as stranger:
        for command in (("PING",), ("GET", FRAME), ("INFO",), ("SUBSCRIBE", STREAM), ("FLUSHALL",)):
            with pytest.raises(AuthenticationError, match="Authentication required"):
                stranger.execute_command(*command)
    for user, password in (("default", ""), ("default", "x"), ("camera", "wrong"), ("nobody", "x")):
        client = redis.Redis(port=logins.server.port, username=user, password=password, retry=once)
        with client, pytest.raises(AuthenticationError):
            client.ping()


@tries("default cannot fill the memory of Redis with commands that it does not finish.")
def default_leaves_nothing_unfinished(logins: Logins) -> None:
    """Tried by `test_redis_buffers.py`."""


def test_every_user_has_sentences_and_each_is_tried() -> None:
    assert {*USERS, "default"} <= all_logins()
    tries.check()


@pytest.mark.parametrize("sentence", tries.functions, ids=lambda each: each[:60])
async def test_login(sentence: str, logins: Logins) -> None:
    await tries.run(sentence, logins)
