"""The websocket server over real sockets and a real Valkey: formats, streams, limits, refusals, the end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import redis
import simplejpeg

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.result import parse_result
from elastic_inference.domain.result_message import join_message, split_message
from elastic_inference.flows.relay.server import Limits
from tests.support.raw_viewer import RawViewer
from tests.support.system import ServiceProcess
from tests.support.waiting import TIME_FACTOR, wait_for
from tests.support.websocket_server import (
    BIG_JPEG,
    JPEG,
    RESULT,
    STREAM,
    Relay,
    message,
    orders,
    wait_subscribed,
)


def test_three_formats(relay: Relay, client: redis.Redis) -> None:
    with relay.open(f"/{STREAM}") as drawn, relay.open(f"/{STREAM}?format=frame") as whole, relay.open() as text:
        wait_subscribed(client, relay, 3)
        sent = message(1)
        client.publish(STREAM, sent)
        assert whole.read() == (2, sent)
        opcode, document = text.read()
        assert (opcode, bytes(document)) == (1, split_message(sent)[0])
        assert parse_result(document).detections == RESULT.detections
        opcode, jpeg = drawn.read()
        assert opcode == 2
        pixels = simplejpeg.decode_jpeg(jpeg, "RGB").astype(int)
        assert pixels.shape == (240, 320, 3)
        assert np.abs(pixels[60, 100:220] - 128).max() > 40, "no box where the detection is"
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


def test_unreadable_results_are_counted_and_skipped(relay: Relay, client: redis.Redis) -> None:
    with relay.open() as viewer, relay.open(f"/{STREAM}") as drawn:
        wait_subscribed(client, relay, 2)
        bad = (b"", b"\x00\x00\x00\x02{}", join_message(b'{"v":9,"order":1}', JPEG), message(2, b"GIF89a"))
        for each in bad:
            client.publish(STREAM, each)
        # This one is forwarded, only its image cannot be drawn.
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
        (f"/{STREAM}", {"Host": "evil.example", "Origin": "http://evil.example"}, "403 .*ALLOWED_HOSTS"),
        (f"/{STREAM}/snapshot.jpg", {"Host": "evil.example:31611"}, "403 .*ALLOWED_HOSTS"),
        (f"/{STREAM}", {"Upgrade": "none"}, "426"),
    ],
)
def test_wrong_requests_are_refused_with_a_reason(
    relay: Relay, target: str, headers: dict[str, str], words: str
) -> None:
    with pytest.raises(AssertionError, match=f"(?s){words}"):
        relay.open(target, headers=headers)
    refused = sum(relay.metric("ei_viewers_refused_total", reason=reason) for reason in ("origin", "host", "request"))
    assert refused == 1


def test_own_and_allowed_origins_may_watch(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    names = {"allowed_origins": "https://wall.example", "allowed_hosts": "edge.example"}
    with Relay(queue_url=valkey.url, **names) as relay:
        with relay.open(headers={"Origin": f"http://127.0.0.1:{relay.port}"}):
            wait_subscribed(client, relay)
        with relay.open(headers={"Host": "edge.example", "Origin": "https://edge.example"}):
            wait_subscribed(client, relay)
        with relay.open(headers={"Origin": "https://wall.example"}):
            wait_subscribed(client, relay)


def test_messages_of_viewers_are_discarded_within_limits(relay: Relay, client: redis.Redis) -> None:
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


def test_a_stop_right_after_the_start_does_not_hang(valkey: EmbeddedValkey) -> None:
    """A cancellation while a connection is being opened can get lost; one in some dozens did."""
    for _ in range(60):
        with Relay(queue_url=valkey.url):
            pass
