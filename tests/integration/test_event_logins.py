"""Each sentence of doc/security.md about the Redis user of the event service, tried with the shipped users.acl."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.event_store import Batch, EventStore
from elastic_inference.adapters.event_store.image_store import ImageStore
from elastic_inference.adapters.leases import LeaseClient
from elastic_inference.adapters.stream_broker.frame_requests import FrameRequests
from elastic_inference.adapters.stream_broker.tracks import parse_tracks
from elastic_inference.domain import keys
from elastic_inference.domain.events.images import ImageRequest
from elastic_inference.domain.events.missing import Missing
from elastic_inference.domain.tracks import FrameTracks, TrackedObject
from tests.support.event_workers import add, example_event
from tests.support.jpeg import tiny_jpeg
from tests.support.redis_commands import (
    FRAME_READS,
    LISTING,
    REGISTRY,
    RESULT_READS,
    RESULT_WRITES,
    SERVER,
    SUBSCRIBING,
    Command,
)
from tests.support.redis_logins import Logins
from tests.support.redis_names import NAME, STREAM
from tests.support.sentences import Tries
from tests.support.waiting import wait_for

tries = Tries("events")
IMAGE = f"{STREAM}/1-1"
RESULTS = keys.partition_results(keys.partition_of(NAME, 16))


@tries("events can read the results of the partitions, and write state, events and what sinks have of them.")
def events_reads_and_writes(logins: Logins) -> None:
    add(logins.client("admin"), STREAM, 1)
    store = EventStore(logins.client("events"), 100, 60.0)
    assert store.announce(16) == 16
    number = keys.partition_of(NAME, 16)
    taken = store.take(number, 5)
    (entry,) = store.read({number: taken.results}, 10, 1)[number]
    store.commit(number, 5, Batch(1, entry.id, entry.id, {STREAM: b"x"}, (), [(example_event(), False)]))
    client = logins.client("events")
    assert client.hset(keys.event_sinks(number), "hook", "1-1")
    assert client.xlen(keys.events(number)) == 1
    assert store.cursors([number]) == {number: [(1, 1)]}
    assert list(store.newest([number])) == [number]
    assert store.server_ms() > 0
    store.close()


@tries(
    "events can take, keep and release the lease of every partition, and load and run scripts on the keys that it may "
    "use."
)
def events_leases(logins: Logins) -> None:
    client = logins.client("events")
    EventStore(client, 100, 60.0).want("events", ["0", "1"])
    leases = LeaseClient(client, "events", "worker-1")
    assert set(leases.renew({}, 4.0).held) == {"0", "1"}
    leases.release()
    leases.close()


@tries("events can ask pods for frames, and keep, read and remove the images of events.")
def events_keeps_images(logins: Logins) -> None:
    images, pod = ImageStore(logins.client("events"), "w", limit_bytes=10_000, life_s=60.0), logins.client("worker")
    assert images.ask([ImageRequest(IMAGE, STREAM, 1, "pod-a", True)]) == [None]
    requests = FrameRequests(pod, "pod-a")
    wanted = wait_for(requests.wait, what="the request")
    assert requests.answer(wanted, tiny_jpeg()) == "kept"
    assert images.answers(10) == [(IMAGE, None)]
    assert images.keep(IMAGE).reason is None
    images.miss([(IMAGE, Missing.POD)])
    assert logins.client("events").get(keys.snapshot_image(IMAGE)) == tiny_jpeg()
    requests.close()
    images.close()


@tries("events can read the cameras of the pool without their logins.")
def events_reads_cameras(logins: Logins) -> None:
    assert logins.client("events").hmget(keys.CAMERA_SPECS, NAME) == [None]
    logins.refuses("events", [("HGETALL", keys.CAMERA_SECRETS), ("HSET", keys.CAMERA_SPECS, "a", "b")])


@tries("events can publish the tracks of every stream, and see how many take them.")
def events_publishes_tracks(logins: Logins) -> None:
    store = EventStore(logins.client("events"), 100, 60.0)
    with logins.client("viewer").pubsub() as pubsub:
        pubsub.subscribe(keys.tracks(STREAM))
        assert pubsub.get_message(timeout=30)["type"] == "subscribe"
        assert store.watched([STREAM, f"other-{STREAM}"]) == {STREAM}
        store.publish_tracks({STREAM: [FrameTracks(7, (TrackedObject(0, f"{STREAM}/1-2", ("yard",)),))]})
        message = pubsub.get_message(timeout=30)["data"]
    assert parse_tracks(STREAM, message) == [FrameTracks(7, (TrackedObject(0, f"{STREAM}/1-2", ("yard",)),))]
    store.close()


@tries("events cannot publish a result or a tombstone.")
def events_publishes_no_result(logins: Logins) -> None:
    channels = (STREAM, keys.tombstones(STREAM))
    logins.refuses("events", [(verb, channel, "x") for channel in channels for verb in ("PUBLISH", "SPUBLISH")])


@tries("events cannot add, change or remove a result.")
def events_writes_no_result(logins: Logins) -> None:
    own: list[Command] = [("XADD", RESULTS, "*", "json", "{}"), ("XTRIM", RESULTS, "MAXLEN", 0), ("UNLINK", RESULTS)]
    logins.refuses("events", RESULT_WRITES, own)


@tries("events cannot read or write a frame, `results_<type>`, or which streams and pods there are.")
def events_reads_no_frame(logins: Logins) -> None:
    logins.refuses("events", FRAME_READS, RESULT_READS, REGISTRY, [("ZRANGE", keys.STREAMS, 0, -1)])


@tries("events cannot subscribe, list keys, or see or change settings, users and connections of Redis.")
def events_does_not_rule(logins: Logins) -> None:
    logins.refuses("events", SUBSCRIBING, LISTING, SERVER)


def test_each_sentence_is_tried() -> None:
    tries.check()


@pytest.mark.parametrize("sentence", tries.functions, ids=lambda each: each[:60])
async def test_login(sentence: str, logins: Logins) -> None:
    await tries.run(sentence, logins)
