"""The inference service as a process, on a real Valkey with a real model."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgpack
import numpy as np
import pytest
import redis
import simplejpeg

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason
from elastic_inference.domain.result import Result, parse_result
from elastic_inference.domain.result_message import split_message
from tests.support.gateway import RunningGateway
from tests.support.inference_pod import Feeder, Pod, running_pod
from tests.support.jpeg import two_faces
from tests.support.waiting import TIME_FACTOR, wait_for

SIZE = (768, 432)
STREAM = "cam-0:face:inferred"


@pytest.fixture(scope="module")
def image(shared_videos: Path) -> bytes:
    """A JPEG of 768x432 with two faces."""
    return two_faces(shared_videos, SIZE)


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as client:
        yield client


@pytest.fixture
def pod(valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path) -> Iterator[Pod]:
    with running_pod(valkey, tmp_path, shared_models, MAX_FRAME_AGE_S="60") as pod:
        yield pod.wait_ready()


@pytest.fixture(scope="module")
def idle_pod(
    valkey_server: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory, shared_models: Path
) -> Iterator[Pod]:
    """A pod that gets no frame."""
    with running_pod(valkey_server, tmp_path_factory.mktemp("idle"), shared_models, INFER_TYPE="idle") as pod:
        yield pod.wait_ready()


@pytest.fixture
def feeder(valkey: EmbeddedValkey) -> Iterator[Feeder]:
    feeder = Feeder(valkey, max_frame_age_s=60)
    yield feeder
    feeder.close()


def results(client: redis.Redis) -> list[Result]:
    return [parse_result(fields[b"json"]) for _, fields in client.xrange(keys.results("face"))]


def rounded(values: Sequence[bytes | float | None]) -> tuple[float, ...]:
    return tuple(round(float(value or 0), 2) for value in values)


def accounted(pod: Pod) -> int:
    names = ("ei_frames_inferred_total", "ei_frames_dropped_total", "ei_frames_invalid_total", "ei_frames_lost_total")
    return int(sum(pod.metrics(*names)))


def test_faces_are_found_and_the_result_is_complete(
    pod: Pod, feeder: Feeder, client: redis.Redis, image: bytes
) -> None:
    client.set(keys.watch(STREAM), 1)
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(STREAM)
        wait_for(lambda: dict(client.pubsub_numsub(STREAM)).get(STREAM.encode()) == 1)
        feeder.push(image, *SIZE)
        message = wait_for(lambda: pubsub.get_message(timeout=0.1), 60, "the published result")
    document, jpeg = split_message(message["data"])
    assert bytes(jpeg) == image
    found = parse_result(document)
    assert (found.stream, found.type, found.model) == (STREAM, "face", "face-detection-retail-0005")
    assert (found.precision, found.device, found.seq, found.ts) == ("FP32", "CPU", 1, 1.79e9)
    assert (found.width, found.height, found.age_ms) == (*SIZE, 1.0)
    assert found.queue_ms >= 0
    assert found.infer_ms > 0
    assert found.arrived_ms is not None
    assert abs(found.arrived_ms / 1000 - client.time()[0]) < 30
    assert len(found.detections) == 2
    assert all(each.label == "face" and each.confidence > 0.5 for each in found.detections)
    assert json.loads(document)["v"] == 1
    (entry,) = results(client)
    assert entry == found
    wait_for(lambda: client.hgetall(keys.stream_info(STREAM)), what="the stream in the registry")
    assert client.zscore(keys.STREAMS, STREAM)


def test_the_worker_hash_and_the_gateway_show_the_values_of_metrics(
    pod: Pod, feeder: Feeder, client: redis.Redis, valkey: EmbeddedValkey, image: bytes
) -> None:
    (member,) = wait_for(lambda: client.zrange(keys.WORKERS, 0, -1), what="the worker")
    key = f"worker:{member.decode()}"
    names = ("infer_fps", "drop_fps", "scale_ratio")
    scraped: set[tuple[float, ...]] = set()
    hashed: set[tuple[float, ...]] = set()
    shown: set[tuple[float, ...]] = set()

    def same_numbers() -> bool:
        # More at a time than the stream's queue holds, so that none of the three values is zero.
        for _ in range(12):
            feeder.push(image, *SIZE)
        hashed.add(rounded(client.hmget(key, names)))
        for worker in gateway.ask("/api/stats").json["workers"]:
            shown.add(rounded([worker[name] for name in names]))
        scraped.add(rounded(pod.metrics(*(f"ei_{name}" for name in names))))
        # The hash is written once a second, a scrape shows the current values: sooner or later they are the same.
        seen = {each for each in scraped if all(each)}
        return len(seen & hashed) >= 3 and len(seen & shown) >= 3

    with RunningGateway(valkey.url) as gateway:
        wait_for(same_numbers, 60, "the same numbers in all places", every_s=0.1)
    assert client.hget(key, "device") == b"CPU"
    assert client.hget(key, "model") == b"face-detection-retail-0005"
    wait_for(lambda: 10_000 < client.pttl(key) <= 15_000, what="ten seconds to live, and more")
    assert pod.stop() == 0
    assert client.zrange(keys.WORKERS, 0, -1) == []
    assert not client.exists(key)


def test_broken_frames_are_counted_and_harm_no_other(
    pod: Pod, valkey: EmbeddedValkey, client: redis.Redis, image: bytes
) -> None:
    feeder = Feeder(valkey, streams=2, max_frame_age_s=60)
    for _ in range(5):
        feeder.push(image[: len(image) // 2], *SIZE, stream="cam-1")
        feeder.push(image, *SIZE, stream="cam-0")
        time.sleep(0.05)
    queue = keys.legacy_queue("face")
    whole = {"name": "legacy", "category": "face", "data": image}
    for message in (
        b"",
        b"garbage",
        b"x" * 50_000_000,  # this server's proto-max-bulk-len is its own 512 MB
        msgpack.packb(whole | {"category": "car"}),
        msgpack.packb(whole | {"data": b"GIF89a"}),
    ):
        client.rpush(queue, message)
    client.rpush(queue, msgpack.packb(whole))
    wait_for(lambda: len(results(client)) >= 6, 60, "the good frames' results")
    wait_for(lambda: accounted(pod) == 16, 60, "all frames counted")
    feeder.close()
    streams = [found.stream for found in results(client)]
    assert sorted(streams) == [STREAM] * 5 + ["legacy:face:inferred"]
    reasons = {"truncated": 5, "empty": 1, "not_msgpack": 1, "too_large": 1, "category": 1, "not_jpeg": 1}
    for reason, count in reasons.items():
        assert pod.metric("ei_frames_invalid_total", reason=reason) == count, reason
    assert pod.metric("ei_frames_popped_total") == 16
    assert pod.log.read_text().count("truncated") == 1
    assert "Traceback" not in pod.log.read_text()


def test_results_of_a_stream_leave_in_order(
    pod: Pod, valkey: EmbeddedValkey, client: redis.Redis, image: bytes
) -> None:
    feeder = Feeder(valkey, streams=3, stream_queue_depth=64, max_frame_age_s=60)
    large = simplejpeg.encode_jpeg(np.full((2160, 3840, 3), 90, np.uint8), 80, "BGR", "420")
    for index in range(60):
        if index % 7 == 0:
            feeder.push(large, 3840, 2160, stream=f"cam-{index % 3}")
        else:
            feeder.push(image, *SIZE, stream=f"cam-{index % 3}")
    wait_for(lambda: accounted(pod) >= 60, 60, "all frames counted")
    feeder.close()
    by_stream: dict[str, list[int]] = {}
    for found in results(client):
        by_stream.setdefault(found.stream, []).append(found.order)
    assert len(by_stream) == 3
    for orders in by_stream.values():
        assert orders == sorted(orders)
        assert len(set(orders)) == len(orders)


def test_a_stop_in_mid_inference_loses_no_frame(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path, client: redis.Redis, image: bytes
) -> None:
    feeder = Feeder(valkey, streams=4, stream_queue_depth=64, max_frame_age_s=60)
    with running_pod(valkey, tmp_path, shared_models, STREAM_QUEUE_DEPTH="64", MAX_FRAME_AGE_S="60") as pod:
        pod.wait_ready()
        for index in range(256):
            feeder.push(image, *SIZE, stream=f"cam-{index % 4}")
        wait_for(lambda: len(results(client)) >= 3, 60, "first results")
        assert pod.stop() == 0
    feeder.close()
    done = len(results(client))
    consumer = QueueConsumer(redis.Redis(port=valkey.port), "face", "auditor", feeder.rules)
    left, drops = 0, 0
    while batch := consumer.pop(64, 0):
        if not batch.frames:
            drops += sum(batch.dropped.values())
            break
        left += len(batch.frames)
        drops += sum(batch.dropped.values())
    consumer.close()
    assert done + left + drops == 256
    assert drops == 0


def test_drops_at_the_queue_are_counted_once_with_their_reason(pod: Pod, valkey: EmbeddedValkey, image: bytes) -> None:
    feeder = Feeder(valkey, streams=2, max_frame_age_s=60)
    for index in range(400):
        feeder.push(image, *SIZE, stream=f"cam-{index % 2}")
    wait_for(lambda: accounted(pod) == 400, 60, "all frames counted")
    feeder.close()
    assert pod.metric("ei_frames_dropped_total", reason=DropReason.QUEUE_FULL.value) > 0
    assert pod.metric("ei_frames_inferred_total") > 0


def test_redis_killed_and_started_again_under_load(tmp_path: Path, shared_models: Path, image: bytes) -> None:
    with EmbeddedValkey() as server, running_pod(server, tmp_path, shared_models) as pod:
        pod.wait_ready()
        feeder = Feeder(server)
        for _ in range(10):
            feeder.push(image, *SIZE)
            time.sleep(0.02)
        wait_for(lambda: pod.metric("ei_frames_inferred_total") > 0, 60, "the first result")
        feeder.close()
        server.kill()
        wait_for(lambda: not pod.ready(), 60, "readiness to fail")
        assert set(pod.missing()) <= {"queue", "broker"}
        assert pod.get("/healthz")[0] == 200
        before = pod.metric("ei_frames_inferred_total")
        server.start()
        back_at = time.monotonic()
        wait_for(pod.ready, 60, "readiness to come back")
        feeder = Feeder(server)

        def infers() -> bool:
            feeder.push(image, *SIZE)
            return pod.metric("ei_frames_inferred_total") > before

        wait_for(infers, 60, "results after the restart", every_s=0.1)
        # A second or two on an idle machine; tests/e2e/test_resilience.py measures it.
        assert time.monotonic() - back_at < 20 * TIME_FACTOR
        feeder.close()
        assert pod.stop() == 0
        assert "Traceback" not in pod.log.read_text()


def test_it_starts_without_redis_and_waits_for_it(tmp_path: Path, shared_models: Path) -> None:
    with EmbeddedValkey() as server:
        server.stop()
        with running_pod(server, tmp_path, shared_models) as pod:
            wait_for(lambda: pod.get("/readyz")[0] == 503 and "model" not in pod.missing(), 60, "the model to be ready")
            assert set(pod.missing()) == {"queue", "broker"}
            assert pod.get("/healthz")[0] == 200
            server.start()
            pod.wait_ready(10)
            assert pod.stop() == 0


def test_two_pods_share_a_queue_and_each_frame_is_inferred_once(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path, client: redis.Redis, image: bytes
) -> None:
    feeder = Feeder(valkey, streams=4, stream_queue_depth=64, max_frame_age_s=60)
    rules = {"STREAM_QUEUE_DEPTH": "64", "MAX_FRAME_AGE_S": "60"}
    with (
        running_pod(valkey, tmp_path, shared_models, **rules) as first,
        running_pod(valkey, tmp_path, shared_models, **rules) as second,
    ):
        first.wait_ready()
        second.wait_ready()
        for index in range(100):
            feeder.push(image, *SIZE, stream=f"cam-{index % 4}")
            time.sleep(0.002)
        wait_for(lambda: accounted(first) + accounted(second) == 100, 60, "all frames counted")
        assert min(accounted(first), accounted(second)) > 0
        assert len(client.zrange(keys.WORKERS, 0, -1)) == 2
    feeder.close()
    seen = [(found.stream, found.order) for found in results(client)]
    assert len(seen) == len(set(seen)) == 100


def test_an_idle_pod_costs_next_to_nothing(idle_pod: Pod) -> None:
    ticks = os.sysconf("SC_CLK_TCK")

    def cpu_s() -> float:
        fields = Path(f"/proc/{idle_pod.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    def is_idle() -> bool:
        before, began = cpu_s(), time.monotonic()
        time.sleep(3)
        return (cpu_s() - before) / (time.monotonic() - began) < 0.03

    wait_for(is_idle, 60, "an idle pod, whose start is over")
    memory = idle_pod.metric("process_resident_memory_bytes")
    assert memory < 400e6


def test_openvino_sends_no_telemetry_and_logs_nothing(idle_pod: Pod) -> None:
    maps = Path(f"/proc/{idle_pod.process.pid}/maps").read_text()
    assert "openvino" in maps
    text = idle_pod.log.read_text().lower()
    assert "telemetry" not in text
    assert "warning" not in text
    buffer = io.StringIO(text)
    assert all("deprecat" not in line for line in buffer)


def test_a_stop_puts_back_what_could_not_be_numbered(tmp_path: Path, shared_models: Path, image: bytes) -> None:
    with EmbeddedValkey() as server, redis.Redis(port=server.port) as client:
        # This user may pop, but may not start a stream's count of frames.
        client.execute_command("ACL", "SETUSER", "half", "on", "nopass", "~*", "&*", "+@all", "-set")
        with running_pod(server, tmp_path, shared_models, QUEUE_USERNAME="half", QUEUE_PASSWORD="any") as pod:
            pod.wait_ready()
            queue = keys.legacy_queue("face")
            client.rpush(queue, msgpack.packb({"name": "legacy", "category": "face", "data": image}))
            wait_for(lambda: "no permissions to run the 'set'" in pod.log.read_text(), 60, "a line about the rights")
            assert client.llen(queue) == 0
            assert pod.stop() == 0
            assert client.llen(queue) == 1
            assert "Traceback" not in pod.log.read_text()


def test_compiled_models_are_cached_where_a_folder_is_set(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path
) -> None:
    cache = tmp_path / "cache"
    with running_pod(valkey, tmp_path, shared_models, MODEL_CACHE_DIR=str(cache)) as pod:
        pod.wait_ready()
    assert list(cache.glob("*.blob"))


def test_auto_is_a_device(
    valkey: EmbeddedValkey, tmp_path: Path, shared_models: Path, client: redis.Redis, image: bytes
) -> None:
    with running_pod(valkey, tmp_path, shared_models, INFER_DEVICE="AUTO") as pod:
        pod.wait_ready()
        feeder = Feeder(valkey)
        feeder.push(image, *SIZE)
        wait_for(lambda: results(client), 60, "a result")
        feeder.close()
        assert results(client)[0].device == "CPU"
