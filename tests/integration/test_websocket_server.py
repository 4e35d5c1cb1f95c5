"""The websocket server over real sockets and a real Valkey: formats, order, limits, slow viewers, restarts."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import logging
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import simplejpeg
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from elastic_inference import keys
from elastic_inference.config import RedisTarget, WebsocketSettings
from elastic_inference.embedded_valkey import EmbeddedValkey, free_port, server_binary
from elastic_inference.lifecycle import Lifecycle
from elastic_inference.relay.server import Limits
from elastic_inference.relay.service import serve
from elastic_inference.result import Detection, Result, join_message, parse_result, result_json, split_message
from tests.conftest import missing_tool
from tests.support.raw_viewer import RawViewer
from tests.support.system import ServiceProcess
from tests.support.waiting import TIME_FACTOR, wait_for

STREAM = "cam:people:inferred"
JPEG = simplejpeg.encode_jpeg(np.full((240, 320, 3), 128, np.uint8), quality=90, colorspace="BGR")
# About 50 kB, the size the measurements use: the relay doesn't look into the picture.
BIG_JPEG = JPEG + bytes(50_000 - len(JPEG))
RESULT = Result(
    stream=STREAM,
    type="people",
    model="m",
    precision="FP32",
    device="CPU",
    order=1,
    seq=1,
    ts=1.0,
    width=320,
    height=240,
    pod="pod",
    age_ms=0,
    queue_ms=0,
    infer_ms=0,
    detections=(Detection("person", 1, 0.93, (0.25, 0.25, 0.75, 0.75)),),
)


def message(order: int, jpeg: bytes = JPEG, ts: float = 1.0) -> bytes:
    return join_message(result_json(dataclasses.replace(RESULT, order=order, ts=ts)), jpeg)


class Relay:
    """The websocket server in this process, on a thread with an event loop of its own."""

    def __init__(self, limits: Limits | None = None, **settings: Any) -> None:
        self.registry = CollectorRegistry()
        self.lifecycle = Lifecycle("websocket server")
        self.port = 0
        self._settings = WebsocketSettings(websocket_host="127.0.0.1", websocket_port=0, **settings)
        self._limits = limits
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        def take_port(port: int) -> None:
            self.port = port

        try:
            asyncio.run(serve(self._settings, self.lifecycle, self.registry, self._limits, take_port))
        except BaseException as error:  # noqa: BLE001  raised again by __exit__
            self._failed = error

    def __enter__(self) -> Relay:
        self._thread.start()
        wait_for(lambda: self.port or self._failed, what="the websocket port")
        return self

    def __exit__(self, *_: object) -> None:
        self.lifecycle.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._failed is not None:
            raise self._failed

    def open(self, target: str = f"/{STREAM}?format=json", **options: Any) -> RawViewer:
        return RawViewer(self.port, target, **options)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as connection:
        connection.hset(keys.stream_info(STREAM), "type", "people")
        yield connection


@pytest.fixture
def relay(valkey: EmbeddedValkey, client: redis.Redis) -> Iterator[Relay]:
    with Relay(queue_url=valkey.url, reorder_ms=200) as server:
        yield server


def wait_subscribed(client: redis.Redis, relay: Relay, viewers: int = 1) -> None:
    wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
    wait_for(lambda: relay.metric("ei_viewers") == viewers, what=f"{viewers} viewers")


def orders(viewer: RawViewer, count: int) -> list[int]:
    return [json.loads(viewer.read()[1])["order"] for _ in range(count)]


def test_three_formats(relay: Relay, client: redis.Redis) -> None:
    with relay.open(f"/{STREAM}") as drawn, relay.open(f"/{STREAM}?format=frame") as whole, relay.open() as text:
        wait_subscribed(client, relay, 3)
        sent = message(1)
        client.publish(STREAM, sent)
        assert whole.read() == (2, sent)
        opcode, document = text.read()
        assert (opcode, bytes(document)) == (1, split_message(sent)[0])
        assert parse_result(document).detections == RESULT.detections
        opcode, picture = drawn.read()
        assert opcode == 2
        pixels = simplejpeg.decode_jpeg(picture, "RGB").astype(int)
        assert pixels.shape == (240, 320, 3)
        assert np.abs(pixels[60, 100:220] - 128).max() > 40, "no box where the detection lies"
        assert np.abs(pixels[120, 140:180] - 128).max() < 10, "something inside the box was drawn on"


def test_one_subscription_however_many_viewers(relay: Relay, client: redis.Redis) -> None:
    viewers = [relay.open() for _ in range(3)]
    wait_subscribed(client, relay, 3)
    assert client.publish(STREAM, message(1)) == 1
    assert [orders(viewer, 1) for viewer in viewers] == [[1], [1], [1]]
    wait_for(lambda: client.ttl(keys.watch(STREAM)) > 0, what="the watch key")
    for viewer in viewers:
        viewer.close()
    wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 0, what="the end of the subscription")
    assert relay.metric("ei_viewers") == relay.metric("ei_relay_streams") == 0


def test_watch_key_is_renewed(relay: Relay, client: redis.Redis) -> None:
    with relay.open():
        wait_for(lambda: client.exists(keys.watch(STREAM)), what="the watch key")
        client.delete(keys.watch(STREAM))
        wait_for(lambda: client.exists(keys.watch(STREAM)), 8, what="the watch key again")


@pytest.mark.alone
def test_results_come_in_rising_order(relay: Relay, client: redis.Redis) -> None:
    with relay.open() as viewer:
        wait_subscribed(client, relay)
        for order in (10, 12, 11, 13, 15, 16):
            client.publish(STREAM, message(order))
        assert orders(viewer, 6) == [10, 11, 12, 13, 15, 16]
        client.publish(STREAM, message(14))
        client.publish(STREAM, message(17))
        assert orders(viewer, 1) == [17]
        wait_for(lambda: relay.metric("ei_frames_late_total") == 1, what="the late result counted")
        client.publish(STREAM, message(1_000_000))
        assert orders(viewer, 1) == [1_000_000]


@pytest.mark.alone
def test_a_batch_after_a_pause_arrives_whole(relay: Relay, client: redis.Redis) -> None:
    """Pods publish several frames of one stream at once: a burst is not a backlog."""
    with relay.open() as viewer:
        wait_subscribed(client, relay)
        for start in (1, 11):
            with client.pipeline(transaction=False) as pipe:
                for order in range(start, start + 10):
                    pipe.publish(STREAM, message(order, BIG_JPEG))
                pipe.execute()
            assert orders(viewer, 10) == list(range(start, start + 10))
            time.sleep(0.4)


def test_unreadable_results_are_counted_and_skipped(relay: Relay, client: redis.Redis) -> None:
    with relay.open() as viewer, relay.open(f"/{STREAM}") as drawn:
        wait_subscribed(client, relay, 2)
        bad = (b"", b"\x00\x00\x00\x02{}", join_message(b'{"v":9,"order":1}', JPEG), message(2, b"GIF89a"))
        for each in bad:
            client.publish(STREAM, each)
        # This one is sent on, only its picture can't be drawn.
        client.publish(STREAM, message(3, JPEG[:200]))
        assert orders(viewer, 1) == [3]
        wait_for(lambda: relay.metric("ei_results_invalid_total") == len(bad) + 1, what="the bad results counted")
        client.publish(STREAM, message(4))
        assert orders(viewer, 1) == [4]
        assert drawn.read()[1][:2] == b"\xff\xd8"


@pytest.mark.parametrize("target", ["/", "/nobody:people:inferred", "/x", f"/{STREAM}/more", "/../../etc/passwd"])
def test_unknown_stream_closes_with_4404(relay: Relay, target: str) -> None:
    with relay.open(target) as viewer:
        assert viewer.read_close_code() == 4404
    assert relay.metric("ei_viewers_refused_total", reason="unknown") == 1


def test_pushed_stream_is_known_before_it_is_inferred(relay: Relay, client: redis.Redis) -> None:
    now_ms = client.time()[0] * 1000
    client.zadd(keys.sources("people"), {"waiting": now_ms, "gone": now_ms - 60_000})
    with relay.open("/waiting:people:inferred?format=json") as viewer:
        wait_for(lambda: client.publish("waiting:people:inferred", message(1)) == 1, what="the subscription")
        assert orders(viewer, 1) == [1]
    with relay.open("/gone:people:inferred") as viewer:
        assert viewer.read_close_code() == 4404


def test_too_many_viewers_close_with_4429(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    with Relay(queue_url=valkey.url, max_viewers=2) as relay:
        with relay.open() as first, relay.open() as second:
            wait_subscribed(client, relay, 2)
            with relay.open() as third:
                assert third.read_close_code() == 4429
            client.publish(STREAM, message(1))
            assert (orders(first, 1), orders(second, 1)) == ([1], [1])
        wait_for(lambda: relay.metric("ei_viewers") == 0, what="the viewers to leave")
        with relay.open():
            wait_subscribed(client, relay)


@pytest.mark.parametrize(
    ("target", "headers", "words"),
    [
        (f"/{STREAM}?format=gif", {}, "400 .*expected frame, json"),
        ("/" + "x" * 1100, {}, "400 .*at most 1024"),
        (f"/{STREAM}", {"Origin": "https://evil.example"}, "403 .*ALLOWED_ORIGINS"),
        (f"/{STREAM}", {"Origin": "null"}, "403"),
        (f"/{STREAM}", {"Upgrade": "none"}, "426"),
    ],
)
def test_wrong_requests_are_refused_with_words(relay: Relay, target: str, headers: dict[str, str], words: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s){words}"):
        relay.open(target, headers=headers)
    refused = sum(relay.metric("ei_viewers_refused_total", reason=reason) for reason in ("origin", "request"))
    assert refused == 1


def test_own_and_allowed_origins_may_watch(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    with Relay(queue_url=valkey.url, allowed_origins="https://wall.example") as relay:
        with relay.open(headers={"Origin": f"http://127.0.0.1:{relay.port}"}):
            wait_subscribed(client, relay)
        with relay.open(headers={"Host": "edge.example", "Origin": "https://edge.example"}):
            wait_subscribed(client, relay)
        with relay.open(headers={"Origin": "https://wall.example"}):
            wait_subscribed(client, relay)


def test_viewers_have_nothing_to_say(relay: Relay, client: redis.Redis) -> None:
    with relay.open() as viewer:
        wait_subscribed(client, relay)
        for _ in range(50):
            viewer.send(1, b"hello")
        client.publish(STREAM, message(1))
        assert orders(viewer, 1) == [1]
        viewer.send(2, bytes(5_000))
        assert viewer.read_close_code() == 1009
    with relay.open() as viewer:
        for _ in range(300):
            viewer.send(1, b"hello")
        assert viewer.read_close_code() == 1008


def test_viewer_that_answers_no_ping_is_closed(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    with (
        Relay(Limits(ping_s=0.3, pong_s=0.3, close_s=0.5), queue_url=valkey.url) as relay,
        relay.open(dumb=True) as dumb,
    ):
        assert dumb.read_close_code() == 1011


@pytest.mark.alone
def test_viewer_that_reads_nothing_is_cut_off(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    limits = Limits(ping_s=0.5, pong_s=0.5)
    with (
        Relay(limits, queue_url=valkey.url) as relay,
        relay.open(f"/{STREAM}?format=frame", receive_buffer_bytes=4096) as deaf,
    ):
        wait_subscribed(client, relay)
        order = 0

        def gone() -> bool:
            nonlocal order
            order += 1
            client.publish(STREAM, message(order, BIG_JPEG))
            return relay.metric("ei_viewers") == 0

        wait_for(gone, 15, "the deaf viewer to be cut off")
        assert deaf.is_cut_off()


def test_redis_restart(client: redis.Redis) -> None:
    """Viewers stay connected, the server stays ready and says what is missing, pictures go on within 5 s."""
    with EmbeddedValkey() as server, redis.Redis(port=server.port) as own:
        own.hset(keys.stream_info(STREAM), "type", "people")
        with Relay(queue_url=server.url) as relay, relay.open() as viewer:
            wait_for(lambda: own.publish(STREAM, message(1)) == 1, what="the subscription")
            assert orders(viewer, 1) == [1]
            server.kill()
            wait_for(lambda: "stream broker" in relay.lifecycle.degraded(), what="the broker reported missing")
            assert relay.lifecycle.missing() == {}
            with relay.open("/other:people:inferred") as other:
                assert other.read_close_code() == 1013
            server.start()
            began = time.monotonic()
            wait_for(lambda: own.publish(STREAM, message(2)) == 1, 10, "the subscription again")
            assert orders(viewer, 1) == [2]
            assert time.monotonic() - began < 5 * TIME_FACTOR
            assert relay.lifecycle.degraded().get("stream broker") is None
            wait_for(lambda: own.exists(keys.watch(STREAM)), what="the watch key again")


def test_broker_that_hangs_is_noticed(client: redis.Redis) -> None:
    """A stopped process keeps its sockets open: only silence tells."""
    with EmbeddedValkey() as server, redis.Redis(port=server.port) as own:
        own.hset(keys.stream_info(STREAM), "type", "people")
        with Relay(queue_url=server.url) as relay, relay.open() as viewer:
            wait_for(lambda: own.publish(STREAM, message(1)) == 1, what="the subscription")
            assert orders(viewer, 1) == [1]
            assert server.pid is not None
            os.kill(server.pid, 19)
            try:
                wait_for(lambda: "stream broker" in relay.lifecycle.degraded(), 20, "the silence to be noticed")
            finally:
                os.kill(server.pid, 18)
            order = 1
            seen: list[int] = []
            reader = threading.Thread(target=lambda: seen.extend(orders(viewer, 1)))
            reader.start()

            def received_again() -> bool:
                # Valkey may still count the subscription of the connection that was given up.
                nonlocal order
                order += 1
                own.publish(STREAM, message(order))
                return bool(seen)

            wait_for(received_again, 15, "pictures again")
            reader.join()
            assert seen[0] >= 2


def test_viewers_of_many_streams(relay: Relay, client: redis.Redis) -> None:
    names = [f"cam{number}:people:inferred" for number in range(40)]
    for name in names:
        client.hset(keys.stream_info(name), "type", "people")
    viewers = [relay.open(f"/{name}?format=json") for name in names]
    wait_for(lambda: all(count == 1 for _, count in client.pubsub_numsub(*names)), what="all subscriptions")
    for number, name in enumerate(names):
        client.publish(name, message(1000 + number))
    assert [orders(viewer, 1)[0] for viewer in viewers] == [1000 + number for number in range(40)]
    for viewer in viewers:
        viewer.close()


@pytest.fixture
def process(valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> Iterator[tuple[ServiceProcess, int]]:
    """The server as a process of its own, with the port that it listens on."""
    service = ServiceProcess("websocket", {"QUEUE_URL": valkey.url, "WEBSOCKET_PORT": "0"}, tmp_path, "relay").start()
    try:
        service.wait_ready()
        port = wait_for(
            lambda: [line for line in service.log().splitlines() if "websockets at" in line], what="its port"
        )
        yield service, int(port[0].split("0.0.0.0:")[1].split("/")[0])
    finally:
        service.kill()


def rss_bytes(process: subprocess.Popen[bytes]) -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


@pytest.mark.alone
def test_stalled_viewers_cost_others_nothing_and_memory_stays(
    process: tuple[ServiceProcess, int], client: redis.Redis
) -> None:
    service, port = process
    assert service.process is not None
    stalled = [RawViewer(port, f"/{STREAM}?format=frame", receive_buffer_bytes=4096) for _ in range(3)]
    with RawViewer(port, f"/{STREAM}?format=frame") as reader:
        wait_for(lambda: service.metric("ei_viewers") == 4, what="four viewers")
        wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
        order = 0

        def exchange(count: int) -> None:
            nonlocal order
            for _ in range(count):
                order += 1
                client.publish(STREAM, message(order, BIG_JPEG))
                assert parse_result(split_message(reader.read()[1])[0]).order == order

        exchange(100)
        before = rss_bytes(service.process)
        exchange(900)
        grown = rss_bytes(service.process) - before
    # 900 frames of 50 kB for three that read nothing are 135 MB.
    assert grown < 8_000_000, f"memory grew by {grown / 1e6:.1f} MB"
    assert service.metric("ei_viewer_frames_skipped_total") > 2000
    for viewer in stalled:
        viewer.close()


@pytest.mark.alone
def test_slow_viewer_sees_fresh_frames_and_stays_there(
    process: tuple[ServiceProcess, int], client: redis.Redis
) -> None:
    """10 of 30 frames a second, 50 kB each, for 9 s: every frame of the last seconds is at most 1 s old."""
    service, port = process
    with RawViewer(port, f"/{STREAM}?format=frame") as viewer:
        wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
        stop = threading.Event()

        def publish() -> None:
            order, due = 0, time.monotonic()
            with redis.Redis(port=client.connection_pool.connection_kwargs["port"]) as own:
                while not stop.is_set():
                    order += 1
                    own.publish(STREAM, message(order, BIG_JPEG, ts=time.monotonic()))
                    due += 1 / 30
                    stop.wait(max(due - time.monotonic(), 0))

        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            ages, seen, began = [], [], time.monotonic()
            due = began
            while time.monotonic() - began < 9:
                result = parse_result(split_message(viewer.read()[1])[0])
                assert result.ts is not None
                ages.append((time.monotonic() - began, time.monotonic() - result.ts))
                seen.append(result.order)
                due += 0.1
                time.sleep(max(due - time.monotonic(), 0))
        finally:
            stop.set()
            publisher.join()
    assert seen == sorted(set(seen))
    assert len(seen) >= 60
    late = [age for at, age in ages if at > 3]
    assert max(late) < 1.0 * TIME_FACTOR, f"oldest {max(late):.2f} s"
    assert service.metric("ei_viewer_frames_skipped_total") > 0


@pytest.mark.alone
def test_slow_viewer_of_small_messages_sees_fresh_ones(relay: Relay, client: redis.Redis) -> None:
    """Sockets hold minutes of JSON: only unanswered pings tell that it lies unread."""
    with relay.open() as viewer:
        wait_subscribed(client, relay)
        order, read = 0, 0
        began = time.monotonic()
        behind = []
        while time.monotonic() - began < 5:
            for _ in range(3):
                order += 1
                client.publish(STREAM, message(order))
                time.sleep(1 / 30)
            read = orders(viewer, 1)[0]
            behind.append(order - read)
    # 50 were read; without pacing the last one would be number 50 of 150. Small messages fill no buffer, so that a
    # viewer that turns slow is up to two and a half seconds behind before unanswered pings tell.
    assert max(behind[-10:]) <= 75, behind


def test_sigterm_closes_viewers_with_1001_and_ends(process: tuple[ServiceProcess, int], client: redis.Redis) -> None:
    service, port = process
    deaf = RawViewer(port, f"/{STREAM}?format=frame", receive_buffer_bytes=4096)
    with RawViewer(port, f"/{STREAM}?format=json") as viewer:
        wait_for(lambda: service.metric("ei_viewers") == 2, what="two viewers")
        wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
        for order in range(100):
            client.publish(STREAM, message(order, BIG_JPEG))
        assert orders(viewer, 100) == list(range(100))
        code: list[int] = []
        ending = threading.Thread(target=lambda: code.append(service.terminate(15)))
        began = time.monotonic()
        ending.start()
        assert viewer.read_close_code() == 1001
        viewer.send(8, b"\x03\xe9")
        ending.join()
    assert code == [0]
    assert time.monotonic() - began < 8 * TIME_FACTOR
    deaf.close()
    assert "Traceback" not in service.log(), service.log()[-2000:]


def test_taken_port_is_a_clear_error(valkey: EmbeddedValkey, relay: Relay, tmp_path: Path) -> None:
    service = ServiceProcess(
        "websocket",
        {"QUEUE_URL": valkey.url, "WEBSOCKET_HOST": "127.0.0.1", "WEBSOCKET_PORT": str(relay.port)},
        tmp_path,
        "second",
    ).start()
    assert service.process is not None
    assert service.process.wait(30) == 2
    assert "WEBSOCKET_PORT" in service.log()
    assert "Traceback" not in service.log()


def target_unix(server: EmbeddedValkey) -> dict[str, Any]:
    return {"queue_url": f"unix://{server.folder}/valkey.sock"}


def target_login(server: EmbeddedValkey) -> dict[str, Any]:
    """The viewer of the users that an installation gets."""
    rules = (files("elastic_inference") / "acl" / "users.acl").read_text()
    (viewer,) = (line for line in rules.splitlines() if line.startswith("user viewer "))
    with redis.Redis(port=server.port) as admin:
        words = viewer.replace("{hash}", hashlib.sha256(b"secret").hexdigest()).split()[1:]
        admin.execute_command("ACL SETUSER", *words)
    return {"queue_url": server.url, "queue_username": "viewer", "queue_password": "secret"}


@pytest.mark.parametrize("target", [target_unix, target_login])
def test_other_ways_to_the_broker(target: Callable[[EmbeddedValkey], dict[str, Any]], tmp_path: Path) -> None:
    # The path of a unix socket may have 107 bytes: pytest's own folders are too deep.
    with EmbeddedValkey(options=["--unixsocket", "valkey.sock"]) as server, redis.Redis(port=server.port) as own:
        own.hset(keys.stream_info(STREAM), "type", "people")
        with Relay(**target(server)) as relay, relay.open() as viewer:
            wait_for(lambda: own.publish(STREAM, message(1)) == 1, what="the subscription")
            assert orders(viewer, 1) == [1]
            wait_for(lambda: own.exists(keys.watch(STREAM)), what="the watch key")
            own.zadd(keys.sources("people"), {"pushed": own.time()[0] * 1000})
            with relay.open("/nobody:people:inferred") as nobody:
                assert nobody.read_close_code() == 4404
            with relay.open("/pushed:people:inferred"):
                wait_for(lambda: relay.metric("ei_viewers") == 2, what="the viewer of a stream that is only pushed")
            assert relay.lifecycle.degraded() == {}


def test_broker_found_by_a_sentinel(valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {valkey.port} 1\n")
    with (tmp_path / "log").open("wb") as log:
        sentinel = subprocess.Popen([server_binary(), str(config), "--sentinel"], stdout=log, cwd=tmp_path)
    try:
        with redis.Redis(port=port) as asked:

            def knows() -> bool:
                try:
                    return bool(asked.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"))
                except redis.ConnectionError:
                    return False

            wait_for(knows, what="the sentinel")
        url = f"redis+sentinel://127.0.0.1:{port}/main/0"
        with Relay(queue_url=url) as relay, relay.open() as viewer:
            wait_for(lambda: client.publish(STREAM, message(1)) == 1, what="the subscription")
            assert orders(viewer, 1) == [1]
    finally:
        sentinel.terminate()
        sentinel.wait(10)


def test_broker_behind_tls(valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> None:
    """Valkey's wheel speaks no TLS: a proxy before it does."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    try:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        missing_tool("openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    port: list[int] = []
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", valkey.port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async def proxy() -> None:
        loops.append(asyncio.get_running_loop())
        async with await asyncio.start_server(tunnel, "127.0.0.1", 0, ssl=context) as server:
            port.append(server.sockets[0].getsockname()[1])
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(proxy()))
    thread.start()
    try:
        wait_for(lambda: port, what="the proxy")
        url = f"rediss://localhost:{port[0]}/0"
        with Relay(queue_url=url, queue_ca_file=certificate) as relay, relay.open() as viewer:
            wait_for(lambda: client.publish(STREAM, message(1)) == 1, what="the subscription")
            assert orders(viewer, 1) == [1]
            client.publish(STREAM, message(2, BIG_JPEG))
            assert orders(viewer, 1) == [2]
        assert str(RedisTarget(url=SecretStr(url))) == url
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)
    assert not thread.is_alive()


def test_login_refused_is_said_and_hides_the_secret(valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO),
        Relay(queue_url=valkey.url, queue_username="nobody", queue_password="hush-hush") as relay,
    ):
        why = wait_for(lambda: relay.lifecycle.degraded().get("stream broker"), what="the refusal")
    assert "nobody" in why
    assert "hush-hush" not in caplog.text + why


def test_a_stop_right_after_the_start_is_no_hang(valkey: EmbeddedValkey) -> None:
    """A cancellation that falls into the opening of a connection can get lost; one in some dozens did."""
    for _ in range(60):
        with Relay(queue_url=valkey.url):
            pass
