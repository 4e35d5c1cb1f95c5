"""Tracks in the live view: event service, Redis, websocket server and viewers, all of them real."""

from __future__ import annotations

import dataclasses
import itertools
import time

import redis

from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.adapters.stream_broker.tracks import tracks_message
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.result import Detection, Result, parse_result
from elastic_inference.domain.result_message import split_message
from elastic_inference.domain.tracks import FrameTracks, TrackedObject
from tests.support.event_workers import WorkerProcess
from tests.support.waiting import wait_for
from tests.support.websocket_server import JPEG, RESULT, STREAM, Relay, message, wait_subscribed

PATIENCE_S = 60.0


def walks(order: int) -> Result:
    """A person who walks to the right, and somebody whom the tracker does not believe yet."""
    x = 0.1 + 0.004 * (order % 150)
    person = Detection("person", 1, 0.9, (x, 0.3, x + 0.1, 0.8))
    doubtful = Detection("person", 1, 0.06, (0.8, 0.1, 0.82, 0.2))
    return dataclasses.replace(RESULT, order=order, seq=order, ts=float(order), detections=(doubtful, person))


def has_own(result: Result) -> bool:
    """Whether a frame came with its own tracks."""
    return any(each.order == result.order and each.objects for each in result.tracks)


def test_a_watched_stream_has_its_tracks(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    with (
        Relay(queue_url=valkey.url) as relay,
        WorkerProcess(valkey.port, EI_TEST_REAL="1") as _worker,
    ):
        wait_for(lambda: client.exists(keys.EVENTS_ON), PATIENCE_S, "events:on")
        client.hset(keys.stream_info(STREAM), "type", "people")
        whole, text = (relay.open(f"/{STREAM}?format={each}", timeout_s=PATIENCE_S) for each in ("frame", "json"))
        wait_subscribed(client, relay, viewers=2)
        publisher = ResultPublisher(client, "people", "pod", 0)
        tracked: dict[bool, Result] = {}
        ends_at_s = time.monotonic() + PATIENCE_S
        for order in itertools.count(1):
            publisher.publish([(walks(order), JPEG)])
            for viewer in (whole, text):
                _, payload = viewer.read()
                result = parse_result(split_message(payload)[0] if viewer is whole else payload)
                assert result.order == order, "in order, and none left out"
                if has_own(result):
                    tracked[viewer is whole] = result
            if len(tracked) == 2:
                break
            assert time.monotonic() < ends_at_s, "no frame came with its tracks"
        whole.close()
        text.close()
    for result in tracked.values():
        own = next(each for each in result.tracks if each.order == result.order)
        (one,) = own.objects
        assert one.index == 1, "the place in the frame's own list"
        assert one.track.startswith(f"{STREAM}/")
        assert all(each.order <= result.order for each in result.tracks)


def test_tracks_reach_the_frame_that_waits_and_hold_no_other(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """The order of frames stays, also when the tracks of some never come; nonsense is counted, and nothing more."""

    def tracks(order: int) -> bytes:
        return tracks_message(STREAM, [FrameTracks(order, (TrackedObject(0, f"{STREAM}/1-1"),))])

    with Relay(queue_url=valkey.url) as relay:
        client.hset(keys.stream_info(STREAM), "type", "people")
        viewer = relay.open(f"/{STREAM}?format=json", timeout_s=PATIENCE_S)
        wait_subscribed(client, relay)
        wait_for(lambda: client.pubsub_numsub(keys.tracks(STREAM))[0][1] == 1, what="the subscription of tracks")
        client.publish(keys.tracks(STREAM), b"nonsense")
        for order in range(30):
            client.publish(STREAM, message(order))
            if order % 3:
                client.publish(keys.tracks(STREAM), tracks(order))
        client.publish(STREAM, message(30))
        found = [parse_result(viewer.read()[1]) for _ in range(31)]
        assert [each.order for each in found] == list(range(31))
        assert [each.order for result in found for each in result.tracks] == [n for n in range(30) if n % 3]
        assert relay.metric("ei_results_invalid_total") == 1
        viewer.close()
        wait_for(lambda: client.pubsub_numsub(keys.tracks(STREAM))[0][1] == 0, what="the end of the subscription")
