"""The stream broker against a real Valkey: what is published, what it costs, what the registry shows."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest
import redis
import redis.asyncio as aioredis

from elastic_inference.adapters.stream_broker import ResultPublisher, StreamRegistry
from elastic_inference.adapters.stream_broker.tombstones import parse_tombstones
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.result import Detection, Result, parse_result
from elastic_inference.domain.result_message import split_message
from elastic_inference.domain.sequence import Tombstone
from tests.support.results import make_result
from tests.support.waiting import wait_for

JPEG = b"\xff\xd8" + b"x" * 50_000
STREAM = "gate-1:people:inferred"


class Clock:
    """A monotonic clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def result(order: int, name: str = "gate-1", detections: int = 1) -> Result:
    found = Detection("person", 1, 0.93, (0.11, 0.2, 0.31, 0.88))
    return make_result(
        stream=keys.stream_id(name, "people"),
        model="person-detection-retail-0013",
        pod="pod-1",
        order=order,
        seq=order,
        ts=1_790_000_000.0,
        width=1280,
        height=720,
        age_ms=1.0,
        queue_ms=2.0,
        infer_ms=3.0,
        detections=(found,) * detections,
    )


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as client:
        yield client


@pytest.fixture
async def registry(valkey: EmbeddedValkey) -> AsyncIterator[StreamRegistry]:
    async with aioredis.Redis(port=valkey.port) as client:
        yield StreamRegistry(client)


def publisher(client: redis.Redis, clock: Clock | None = None, maxlen: int = 100) -> ResultPublisher:
    return ResultPublisher(client, "people", "pod-1", maxlen, monotonic=clock or Clock())


def publish_all(output: ResultPublisher, clock: Clock, orders: Iterable[int]) -> None:
    """One result at a time, 30 per second of the clock."""
    for order in orders:
        clock.now_s += 1 / 30
        output.publish([(result(order), JPEG)])


def with_a_viewer_since_now(client: redis.Redis) -> tuple[Clock, ResultPublisher]:
    """A publisher of a stream that was not watched at its first result, and is watched now."""
    clock = Clock()
    output = publisher(client, clock)
    output.publish([(result(0), JPEG)])
    client.set(keys.watch(STREAM), 1)
    client.config_resetstat()
    return clock, output


def calls(client: redis.Redis, command: str) -> int:
    return int(client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


def test_a_result_that_nobody_watches_is_kept_as_json_and_not_published(client: redis.Redis) -> None:
    client.config_resetstat()
    publisher(client).publish([(result(1), JPEG), (result(2), JPEG)])
    entries = client.xrange(keys.results("people"))
    assert [parse_result(fields[b"json"]).order for _, fields in entries] == [1, 2]
    assert parse_result(entries[0][1][b"json"]) == result(1)
    assert calls(client, "publish") == 0


def test_an_unwatched_frame_costs_less_than_a_kilobyte_and_a_tenth_per_detection(client: redis.Redis) -> None:
    clock = Clock()
    output = publisher(client, clock)
    output.publish([(result(0), JPEG)])
    before = int(client.info("stats")["total_net_input_bytes"])
    for order in range(1, 101):
        clock.now_s += 1 / 30
        output.publish([(result(order, detections=5), JPEG)])
    spent = int(client.info("stats")["total_net_input_bytes"]) - before
    assert spent / 100 < 1000 + 5 * 100


def test_a_watched_stream_is_published_with_its_image_and_the_other_is_not(client: redis.Redis) -> None:
    client.set(keys.watch(STREAM), 1)
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        # A pattern, which NUMSUB does not count: only the watch key decides here.
        pubsub.psubscribe("*")
        wait_for(lambda: client.pubsub_numpat() == 1)
        publisher(client).publish([(result(1), JPEG), (result(1, name="other"), JPEG), (result(2), JPEG)])
        client.publish("end", b"")
        messages = list(itertools.takewhile(lambda message: message["channel"] != b"end", pubsub.listen()))
    assert [message["channel"] for message in messages] == [STREAM.encode()] * 2
    document, jpeg = split_message(messages[0]["data"])
    assert json.loads(document)["order"] == 1
    assert bytes(jpeg) == JPEG


def test_tombstones_travel_on_their_own_channel_while_the_stream_is_watched(client: redis.Redis) -> None:
    client.set(keys.watch(STREAM), 1)
    broken = [Tombstone(STREAM, 2, "invalid"), Tombstone(keys.stream_id("other", "people"), 5, "invalid")]
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.psubscribe("*")
        wait_for(lambda: client.pubsub_numpat() == 1)
        output = publisher(client)
        output.publish([(result(1), JPEG), (result(3), JPEG)], broken)
        output.publish([], [Tombstone(STREAM, 4, "stale"), Tombstone(STREAM, 5, "drained")])
        client.publish("end", b"")
        messages = list(itertools.takewhile(lambda message: message["channel"] != b"end", pubsub.listen()))
    own, channel = STREAM.encode(), keys.tombstones(STREAM).encode()
    assert [message["channel"] for message in messages] == [channel, own, own, channel]
    assert parse_tombstones(STREAM, messages[0]["data"]) == broken[:1]
    assert [each.order for each in parse_tombstones(STREAM, messages[3]["data"])] == [4, 5]
    assert client.xlen(keys.results("people")) == 2


def test_tombstones_of_a_stream_that_nobody_watches_cost_a_question_per_second(client: redis.Redis) -> None:
    clock = Clock()
    output = publisher(client, clock)
    output.publish([], [Tombstone(STREAM, 1, "invalid")])
    client.config_resetstat()
    for order in range(2, 92):
        clock.now_s += 1 / 30
        output.publish([], [Tombstone(STREAM, order, "invalid")])
    assert calls(client, "publish") == 0
    assert calls(client, "exists") <= 4


def test_a_bare_subscriber_without_a_watch_key_is_served(client: redis.Redis) -> None:
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(STREAM)
        wait_for(lambda: dict(client.pubsub_numsub(STREAM)).get(STREAM.encode()) == 1)
        publisher(client).publish([(result(7), JPEG)])
        message = wait_for(lambda: pubsub.get_message(timeout=0.1), 5, "the result")
    assert split_message(message["data"])[1] == JPEG


def test_who_watches_is_asked_once_a_second_and_stream(client: redis.Redis) -> None:
    clock = Clock()
    output = publisher(client, clock)
    output.publish([(result(0), JPEG)])
    client.config_resetstat()
    for order in range(1, 301):
        clock.now_s += 1 / 30
        output.publish([(result(order), JPEG), (result(order, name="other"), JPEG)])
    assert 18 <= calls(client, "exists") <= 22
    assert calls(client, "pubsub|numsub") <= 22


def test_a_viewer_that_comes_is_noticed_within_a_second_and_one_that_leaves_too(client: redis.Redis) -> None:
    clock, output = with_a_viewer_since_now(client)
    publish_all(output, clock, range(1, 41))
    published = calls(client, "publish")
    assert 8 <= published <= 11
    client.delete(keys.watch(STREAM))
    publish_all(output, clock, range(41, 81))
    assert 20 <= calls(client, "publish") - published <= 32


def test_a_frame_of_a_slow_stream_asks_before_it_is_published(client: redis.Redis) -> None:
    clock, output = with_a_viewer_since_now(client)
    clock.now_s += 5.0
    output.publish([(result(1), JPEG)])
    assert calls(client, "publish") == 1


def test_a_slow_stream_whose_viewer_has_left_sends_one_more_image(client: redis.Redis) -> None:
    clock, output = with_a_viewer_since_now(client)
    with client.pubsub() as pubsub:
        pubsub.subscribe(STREAM)
        wait_for(lambda: dict(client.pubsub_numsub(STREAM)).get(STREAM.encode()) == 1)
        client.config_resetstat()
        for order in (1, 2, 3, 4):
            clock.now_s += 5.0
            output.publish([(result(order), JPEG)])
        assert calls(client, "publish") == 4
        assert calls(client, "exists") == 1, "the replies to the images are the answer"
    client.delete(keys.watch(STREAM))
    wait_for(lambda: dict(client.pubsub_numsub(STREAM)).get(STREAM.encode()) == 0)
    for order in (5, 6, 7):
        clock.now_s += 5.0
        output.publish([(result(order), JPEG)])
    assert calls(client, "publish") == 5


def test_a_viewer_whose_server_has_not_subscribed_yet_gets_the_first_frame_after_that(client: redis.Redis) -> None:
    clock, output = with_a_viewer_since_now(client)
    for order in (1, 2, 3):
        clock.now_s += 5.0
        output.publish([(result(order), JPEG)])
    assert calls(client, "publish") == 3, "the mark says that somebody watches"


def test_the_results_stream_is_bounded_and_can_be_off(client: redis.Redis) -> None:
    output = publisher(client, maxlen=100)
    for start in range(0, 1000, 50):
        output.publish([(result(order), b"") for order in range(start, start + 50)])
    assert 100 <= client.xlen(keys.results("people")) <= 300
    client.delete(keys.results("people"))
    publisher(client, maxlen=0).publish([(result(1), JPEG)])
    assert not client.exists(keys.results("people"))


def test_what_redis_refuses_for_memory_is_reported_and_affects_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedValkey() as server, redis.Redis(port=server.port) as client:
        output = publisher(client)
        assert output.publish([(result(1), JPEG)]) == set()
        client.config_set("maxmemory", "1mb")
        assert output.publish([(result(2), JPEG), (result(3), JPEG)]) == {0, 1}
        assert output.publish([(result(4), JPEG)]) == {0}
        client.config_set("maxmemory", "0")
        assert output.publish([(result(5), JPEG)]) == set()
        assert publisher(client, maxlen=0).publish([(result(6), JPEG)]) == set()
    assert len([record for record in caplog.records if "refused" in record.message]) == 1


def test_a_result_that_is_only_published_is_lost_where_the_login_may_not_publish() -> None:
    with EmbeddedValkey() as server, redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", "nopass", "+@all", "-publish", "~*", "&*")
        client.set(keys.watch(STREAM), "1")
        with redis.Redis(port=server.port, username="worker", password="any") as worker:
            grave = Tombstone(STREAM, 1, "stale")
            assert publisher(worker, maxlen=0).publish([(result(2), JPEG), (result(3), JPEG)], [grave]) == {0, 1}
            assert publisher(worker).publish([(result(4), JPEG)], [grave]) == set(), "it is kept"


@pytest.mark.parametrize(
    "key", [keys.STREAMS, keys.WORKERS, keys.results("people"), keys.stream_info(STREAM), "worker:people:pod-1"]
)
async def test_a_foreign_key_in_place_of_ours_is_removed_and_is_not_an_outage(
    client: redis.Redis, registry: StreamRegistry, key: str
) -> None:
    client.set(key, "foreign")
    assert await registry.streams() == []
    assert await registry.workers() == []
    output = publisher(client)
    assert output.publish([(result(1), JPEG)]) == set()
    output.report_worker(1, 0, 0, capacity_fps=20.0, device="CPU", model="m", precision="FP32")
    assert [stream.id for stream in await registry.streams()] == [STREAM]
    assert [worker.pod for worker in await registry.workers()] == ["pod-1"]
    assert client.xlen(keys.results("people")) == 1
    assert client.pttl(keys.stream_info(STREAM)) > 0, "and it still expires"
    assert client.pttl("worker:people:pod-1") > 0


def test_the_registry_forgets_a_name_when_its_hash_expires(client: redis.Redis) -> None:
    clock = Clock()
    output = publisher(client, clock)
    output.publish([(result(1, name=f"new-{number}"), JPEG) for number in range(50)])
    for member, score in client.zrange(keys.STREAMS, 0, -1, withscores=True):
        client.zadd(keys.STREAMS, {member: score - 25_000})  # 25 s later, by the server's clock
    clock.now_s += 2.0
    output.publish([(result(1, name="other"), JPEG)])
    assert client.zcard(keys.STREAMS) == 1, "the hashes of the others lived for 10 s"


async def test_streams_of_pods_of_an_older_version_are_listed(client: redis.Redis, registry: StreamRegistry) -> None:
    publisher(client).publish([(result(1), JPEG)])
    now_ms = int(client.time()[0]) * 1000
    client.hdel(keys.stream_info(STREAM), "seen_ms")
    client.zadd(keys.STREAMS, {STREAM: now_ms})
    (stream,) = await registry.streams()
    assert stream.last_seen == now_ms / 1000


def test_an_unavailable_redis_is_an_error_until_it_is_back() -> None:
    with EmbeddedValkey() as server, redis.Redis(port=server.port, retry=None) as client:
        output = publisher(client)
        output.publish([(result(1), JPEG)])
        server.kill()
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
            output.publish([(result(2), JPEG)])
        server.start()
        client.set(keys.watch(STREAM), 1)
        output.publish([(result(2), JPEG)])
        assert client.xlen(keys.results("people")) == 1
        assert calls(client, "publish") == 1


async def test_the_registry_shows_streams_and_workers(client: redis.Redis, registry: StreamRegistry) -> None:
    clock = Clock()
    output = publisher(client, clock)
    for order in range(61):
        output.publish([(result(order), JPEG)])
        clock.now_s += 1 / 30
    output.publish([(result(1, name="b"), JPEG)])
    output.report_worker(29.5, 3.25, 1.11, capacity_fps=20.0, device="CPU", model="m", precision="FP32")
    second, first = await registry.streams()
    assert (first.id, first.name, first.type, first.model) == (
        STREAM,
        "gate-1",
        "people",
        "person-detection-retail-0013",
    )
    assert (first.width, first.height, first.precision, first.device, first.pod) == (1280, 720, "FP32", "CPU", "pod-1")
    assert first.fps == pytest.approx(30, rel=0.05)
    assert first.latency_ms == pytest.approx(6.0)
    assert second.name == "b"
    (worker,) = await registry.workers()
    assert (worker.type, worker.pod) == ("people", "pod-1")
    assert (worker.infer_fps, worker.drop_fps, worker.scale_ratio, worker.capacity_fps) == (29.5, 3.25, 1.11, 20.0)
    seconds = client.time()[0]
    assert abs(worker.last_seen - seconds) < 10
    assert abs(second.last_seen - seconds) < 10
    assert await registry.exists(STREAM)
    assert not await registry.exists("nobody:people:inferred")
    assert 5_000 < client.pttl(keys.stream_info(STREAM)) <= 10_000
    assert 10_000 < client.pttl(keys.worker_info("people", "pod-1")) <= 15_000


async def test_ended_streams_and_pods_are_not_shown(client: redis.Redis, registry: StreamRegistry) -> None:
    output = publisher(client)
    output.publish([(result(1), JPEG), (result(1, name="b"), JPEG)])
    output.report_worker(1, 0, 0, capacity_fps=20.0, device="CPU", model="m", precision="FP32")
    client.delete(keys.stream_info(STREAM))
    client.zadd(keys.STREAMS, {b"not a stream": 2**60, b"\xff\xfe": 2**60})
    client.set(keys.stream_info("c:people:inferred"), "not a hash")
    client.zadd(keys.STREAMS, {"c:people:inferred": 2**60})
    assert [stream.name for stream in await registry.streams()] == ["b"]
    output.remove_worker()
    assert await registry.workers() == []
    assert client.zcard(keys.WORKERS) == 0


async def test_watching_is_a_key_for_ten_seconds(client: redis.Redis, registry: StreamRegistry) -> None:
    await registry.watch([STREAM, "b:people:inferred"])
    await registry.watch([])
    assert client.exists(keys.watch(STREAM), keys.watch("b:people:inferred")) == 2
    assert 5_000 < client.pttl(keys.watch(STREAM)) <= 10_000


async def test_a_thousand_streams_are_listed(client: redis.Redis, registry: StreamRegistry) -> None:
    publisher(client).publish([(result(1, name=f"cam-{index:04}"), b"") for index in range(1001)])
    streams = await registry.streams()
    assert len(streams) == 1001
    assert streams[0].name == "cam-0000"
