"""Images of events on a real Valkey: asked for, answered, kept within a bound. What is wrong is counted, not fatal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.event_store.image_store import ImageStore
from elastic_inference.adapters.stream_broker.frame_requests import FrameRequest, FrameRequests
from elastic_inference.base.metrics import EventMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.events.images import ImageChoice, ImageRequest
from elastic_inference.domain.events.missing import Missing
from elastic_inference.flows.events.image_keeper import ANSWER_LIMIT_S, BURST, ImageKeeper
from tests.support.jpeg import tiny_jpeg
from tests.support.waiting import wait_for

STREAM = "gate:people:inferred"
KB = 1024


def request(order: int, pod: str = "pod-a", first: bool = True) -> ImageRequest:
    return ImageRequest(f"{STREAM}/7-{order}", STREAM, order, pod, first)


@pytest.fixture
def store(client: redis.Redis) -> Iterator[ImageStore]:
    store = ImageStore(client, "worker-a", limit_bytes=10 * KB, life_s=100.0)
    yield store
    store.close()


@pytest.fixture
def pod(client: redis.Redis) -> Iterator[FrameRequests]:
    pod = FrameRequests(client, "pod-a")
    yield pod
    pod.close()


class Keeper:
    """A keeper whose clock the test moves."""

    def __init__(self, store: ImageStore) -> None:
        self.now_s = 0.0
        self.registry = CollectorRegistry()
        metrics = EventMetrics(self.registry)
        self.keeper = ImageKeeper(store, ImageChoice(), metrics, str, monotonic=lambda: self.now_s)

    def step(self, *requests: ImageRequest) -> list[tuple[str, Missing | None]]:
        self.keeper.step(requests)
        return self.keeper.outcomes()

    def missing(self, reason: Missing) -> float | None:
        return self.registry.get_sample_value("ei_event_snapshots_missing_total", {"reason": reason.value})


def fetch(store: ImageStore, pod: FrameRequests, order: int, jpeg: bytes | None) -> None:
    assert store.ask([request(order)]) == [None]
    wanted = wait_for(pod.wait, what="the request")
    assert (wanted.stream, wanted.order) == (STREAM, order)
    pod.answer(wanted, jpeg)


def test_a_frame_is_asked_for_and_kept(store: ImageStore, pod: FrameRequests, client: redis.Redis) -> None:
    jpeg = tiny_jpeg(padding=20_000)
    image = request(1).image
    store = ImageStore(client, "worker-a", limit_bytes=100 * KB, life_s=100.0)
    fetch(store, pod, 1, jpeg)
    assert client.get(keys.snapshot_state(image)) == b"?"
    assert store.answers(10) == [(image, None)]
    kept = store.keep(image)
    assert (kept.reason, kept.removed, kept.total_bytes) == (None, 0, len(jpeg))
    assert client.get(keys.snapshot_image(image)) == jpeg
    assert 60 < client.ttl(keys.snapshot_image(image)) <= 100
    assert not client.exists(keys.snapshot_state(image))
    assert store.keep(image).total_bytes == len(jpeg), "kept twice, counted once"
    store.close()


def test_the_oldest_images_go_beyond_the_bound(store: ImageStore, pod: FrameRequests, client: redis.Redis) -> None:
    removed = 0
    for order in range(5):
        fetch(store, pod, order, tiny_jpeg(padding=3 * KB))
        removed += store.keep(request(order).image).removed
    left = [order for order in range(5) if client.exists(keys.snapshot_image(request(order).image))]
    assert (left, removed) == ([2, 3, 4], 2)
    size = len(tiny_jpeg(padding=3 * KB))
    assert int(client.get(keys.SNAPSHOT_BYTES) or 0) == 3 * size
    # One that is larger than everything together is not kept.
    fetch(store, pod, 9, tiny_jpeg(padding=11 * KB))
    assert store.keep(request(9).image).total_bytes == 0


def test_images_that_have_expired_no_longer_count(store: ImageStore, pod: FrameRequests, client: redis.Redis) -> None:
    fetch(store, pod, 1, tiny_jpeg(padding=3 * KB))
    store.keep(request(1).image)
    ((member, score),) = client.zrange(keys.SNAPSHOT_INDEX, 0, -1, withscores=True)
    client.zadd(keys.SNAPSHOT_INDEX, {member: score - 101_000})
    fetch(store, pod, 2, tiny_jpeg(padding=KB))
    assert store.keep(request(2).image).total_bytes == len(tiny_jpeg(padding=KB))


@pytest.mark.parametrize("value", [b"", b"not a JPEG", b"\xff\xd8"])
def test_what_is_not_an_image_is_removed(store: ImageStore, client: redis.Redis, value: bytes) -> None:
    client.set(keys.snapshot_image(request(1).image), value)
    assert store.keep(request(1).image).reason is Missing.INVALID
    assert not client.exists(keys.snapshot_image(request(1).image))


def test_foreign_values_in_the_keys_do_no_harm(store: ImageStore, pod: FrameRequests, client: redis.Redis) -> None:
    client.rpush(keys.snapshot_image(request(1).image), "x")
    assert store.keep(request(1).image).reason is Missing.INVALID
    client.rpush(keys.snapshot_answers("worker-a"), "x", b"\xff" * 600, "a b c kept", f"{request(1).image} nonsense")
    assert store.answers(10) == []
    client.rpush(keys.snapshot_requests("pod-a"), "x", b"\xff" * 3000, f"1 {STREAM} ../../etc kept")
    assert [pod.wait() for _ in range(3)] == [None, None, None]
    client.zadd(keys.SNAPSHOT_INDEX, {"nonsense": 1e15})
    client.set(keys.SNAPSHOT_BYTES, "nonsense")
    fetch(store, pod, 2, tiny_jpeg())
    assert store.keep(request(2).image).reason is None


def test_a_foreign_value_in_the_place_of_the_answers_goes(
    store: ImageStore, pod: FrameRequests, client: redis.Redis
) -> None:
    client.set(keys.snapshot_answers("worker-a"), "foreign")
    keeper = Keeper(store)
    assert keeper.step(request(1)) == []
    pod.answer(wait_for(pod.wait, what="the request"), tiny_jpeg())
    assert keeper.step() == [(f"{STREAM}/7-1", None)]


def test_a_pod_that_no_longer_has_it_says_so(store: ImageStore, pod: FrameRequests, client: redis.Redis) -> None:
    keeper = Keeper(store)
    assert keeper.step(request(1)) == []
    wanted = wait_for(pod.wait, what="the request")
    assert pod.answer(wanted, None) == "late"
    assert keeper.step() == [(request(1).image, Missing.LATE)]
    assert client.get(keys.snapshot_state(request(1).image)) == b"late"


def test_a_pod_that_does_not_answer_is_given_up(store: ImageStore, client: redis.Redis) -> None:
    keeper = Keeper(store)
    assert keeper.step(request(1, "dead")) == []
    keeper.now_s = ANSWER_LIMIT_S
    assert keeper.step() == [(request(1).image, Missing.POD)]
    assert keeper.missing(Missing.POD) == 1
    assert client.get(keys.snapshot_state(request(1).image)) == b"pod"
    assert 0 < client.ttl(keys.snapshot_requests("dead")) <= 10


def test_a_full_redis_is_a_reason(store: ImageStore, pod: FrameRequests, client: redis.Redis) -> None:
    keeper = Keeper(store)
    client.set(keys.snapshot_image(request(1).image), tiny_jpeg())
    client.config_set("maxmemory", 1)
    try:
        assert keeper.step(request(1)) == [(request(1).image, Missing.MEMORY)]
        assert pod.answer(FrameRequest(1, STREAM, request(1).image, "worker-a"), tiny_jpeg()) == "memory"
        assert store.keep(request(1).image).reason is Missing.MEMORY
    finally:
        client.config_set("maxmemory", 0)
    assert keeper.missing(Missing.MEMORY) == 1
    assert keeper.step(request(2)) == []


def test_more_than_can_be_fetched_stay_without_better_images_go_first(store: ImageStore) -> None:
    keeper = Keeper(store)
    half = int(BURST / 2)
    keeper.step(*(request(order) for order in range(half + 1)))
    assert keeper.step(request(1000, first=False)) == [(request(1000).image, Missing.BUSY)]
    assert keeper.step(request(1001)) == []
    found = keeper.step(*(request(order) for order in range(2000, 2000 + half)))
    assert {reason for _, reason in found} == {Missing.BUSY}
    keeper.now_s = 1.0
    assert keeper.step(request(3000)) == []


def test_users_of_an_older_file_are_a_reason_and_a_log_line(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    port = client.connection_pool.connection_kwargs["port"]
    client.acl_setuser("older", enabled=True, nopass=True, commands=["+@all"], keys=["events:*"])
    try:
        with redis.Redis(port=port, username="older", password="x") as older:
            keeper = Keeper(ImageStore(older, "worker-a", limit_bytes=1000, life_s=100.0))
            assert keeper.step(request(1)) == [(request(1).image, Missing.RIGHTS)]
    finally:
        client.acl_deluser("older")
    assert "render users.acl again" in caplog.text
