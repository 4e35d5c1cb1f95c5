"""`GET /<stream id>/snapshot.jpg`: the newest frame with its boxes, shared, bounded, beside the viewers."""

from __future__ import annotations

import http.client
import itertools
import threading
from contextlib import AbstractContextManager

import numpy as np
import pytest
import redis
import simplejpeg

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.flows.relay import snapshots
from tests.support.background import repeating
from tests.support.waiting import wait_for
from tests.support.websocket_server import JPEG, STREAM, Relay, message, orders, wait_subscribed

PATH = f"/{STREAM}/snapshot.jpg"


def ask(relay: Relay, path: str = PATH, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


class Asking(threading.Thread):
    """Asks for a snapshot in a thread."""

    def __init__(self, relay: Relay, path: str = PATH) -> None:
        super().__init__(daemon=True)
        self._relay, self._path = relay, path
        self.start()

    def run(self) -> None:
        self._answer = ask(self._relay, self._path)

    def answer(self) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Waits for the answer."""
        self.join(20)
        return self._answer


def publishing(client: redis.Redis, jpeg: bytes = JPEG) -> AbstractContextManager[None]:
    """Publishes results of the stream, 20 per second."""
    numbers = itertools.count(1)
    return repeating(lambda: client.publish(STREAM, message(next(numbers), jpeg)), 20)


def test_boxes_are_drawn_and_the_subscription_ends(relay: Relay, client: redis.Redis) -> None:
    with publishing(client):
        status, headers, body = ask(relay)
    assert (status, headers["Content-Type"], int(headers["Content-Length"])) == (200, "image/jpeg", len(body))
    pixels = simplejpeg.decode_jpeg(body, "RGB").astype(int)
    assert np.abs(pixels[60, 100:220] - 128).max() > 40, "no box where the detection is"
    assert client.ttl(keys.watch(STREAM)) > 0
    channels = (STREAM, keys.tombstones(STREAM))
    wait_for(lambda: not any(count for _, count in client.pubsub_numsub(*channels)), what="the subscriptions' end")
    assert relay.metric("ei_relay_streams") == 0


def test_simultaneous_and_soon_following_requests_share_one_snapshot(
    relay: Relay, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "FRESH_S", 60.0)
    asking = [Asking(relay) for _ in range(8)]
    wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
    with publishing(client):
        answers = [each.answer() for each in asking]
    assert [status for status, _, _ in answers] == [200] * 8
    assert {body for _, _, body in answers} == {ask(relay)[2]}


def test_a_snapshot_does_not_count_as_a_viewer(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    with Relay(queue_url=valkey.url, max_viewers=1) as relay, relay.open() as viewer:
        wait_subscribed(client, relay)
        asking = Asking(relay)
        with publishing(client):
            assert asking.answer()[0] == 200
            assert orders(viewer, 1)[0] > 0
        assert relay.metric("ei_viewers") == 1
        assert relay.metric("ei_viewers_refused_total", reason="request") == 0


def test_a_viewer_that_leaves_does_not_end_a_snapshot(relay: Relay, client: redis.Redis) -> None:
    with relay.open():
        wait_subscribed(client, relay)
        asking = Asking(relay)
        wait_for(asking.is_alive, what="the request")
    wait_for(lambda: relay.metric("ei_viewers") == 0, what="the viewer to leave")
    with publishing(client):
        assert asking.answer()[0] == 200


@pytest.mark.parametrize("path", ["/nobody:people:inferred/snapshot.jpg", "/snapshot.jpg", "/a/b/snapshot.jpg"])
def test_an_unknown_stream_is_404(relay: Relay, path: str) -> None:
    status, _, body = ask(relay, path)
    assert status == 404
    assert b"There is no stream" in body


@pytest.mark.parametrize("jpeg", [None, JPEG[:200]], ids=["none", "broken"])
def test_no_frame_is_504(
    relay: Relay, client: redis.Redis, jpeg: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if jpeg is None:
        monkeypatch.setattr(snapshots, "WAIT_S", 0.2)
        assert ask(relay)[0] == 504
    else:
        with publishing(client, jpeg):
            status, _, body = ask(relay)
            assert status == 504
            assert b"cannot be drawn" in body
    assert relay.metric("ei_relay_streams") == 0


def test_snapshots_at_once_are_limited(relay: Relay, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MAX_AT_ONCE", 1)
    client.hset(keys.stream_info("b:people:inferred"), "type", "people")
    first = Asking(relay)
    wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
    assert ask(relay, "/b:people:inferred/snapshot.jpg")[0] == 429
    with publishing(client):
        assert first.answer()[0] == 200


def test_pages_of_other_sites_get_no_snapshot(relay: Relay) -> None:
    assert ask(relay, Origin="https://evil.example")[0] == 403


def test_an_unavailable_broker_is_503(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "WAIT_S", 0.2)
    with EmbeddedValkey() as server, redis.Redis(port=server.port) as own:
        own.hset(keys.stream_info(STREAM), "type", "people")
        with Relay(queue_url=server.url) as relay, relay.open():
            wait_subscribed(own, relay)
            server.kill()
            wait_for(lambda: "stream broker" in relay.lifecycle.degraded(), what="the broker reported missing")
            assert ask(relay)[0] == 503
            assert ask(relay, "/other:people:inferred/snapshot.jpg")[0] == 503


def test_a_stop_answers_waiting_requests(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    with Relay(queue_url=valkey.url) as relay:
        asking = Asking(relay)
        wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
    assert asking.answer()[0] == 503
