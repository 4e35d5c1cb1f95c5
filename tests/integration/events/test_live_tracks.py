"""Which tracks the event service publishes: those of watched streams alone, and none where Redis refuses."""

from __future__ import annotations

import logging

import pytest
import redis

from elastic_inference.adapters.event_store import EventStore, Taken
from elastic_inference.adapters.event_store.entries import read_entry
from elastic_inference.adapters.stream_broker.tracks import parse_tracks
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.result import result_json
from elastic_inference.flows.events.live_tracks import ASK_EVERY_S, LiveTracks
from elastic_inference.flows.events.partition import Partition
from tests.support.results import make_result

WATCHED, OTHER = (f"{name}:people:inferred" for name in ("gate", "yard"))
NOW_MS = 1_790_000_000_000


def partition() -> Partition:
    taken = Taken((0, 0), (0, 0), 0, {}, True, False)
    return Partition(3, 1, taken, window_s=0.2, rules_of=lambda _name: CameraRules(), now_s=0.0)


def feed(part: Partition, order: int) -> None:
    """One result of each stream; the first two fix the order."""
    for stream in (WATCHED, OTHER):
        document = result_json(make_result(stream=stream, order=order, seq=order))
        entry = read_entry([b"%d-%d" % (NOW_MS + 100 * order, stream is OTHER), [b"json", document]])
        assert entry is not None
        part.feed([entry], order / 10)
    part.tick(order / 10, NOW_MS + 100 * order)


def test_only_tracks_of_watched_streams_are_published(server: EmbeddedValkey) -> None:
    with redis.Redis(port=server.port) as client, client.pubsub() as viewer:
        live, part = LiveTracks(EventStore(client, 100, 60.0)), partition()
        for order in range(10):
            feed(part, order)
        assert part.tracks == {}, "nobody has asked yet"
        viewer.subscribe(keys.tracks(WATCHED))
        assert viewer.get_message(timeout=30)
        live.publish([part], 10.0)
        for order in range(10, 14):
            feed(part, order)
        assert set(part.tracks) == {WATCHED}
        live.publish([part], 10.0 + ASK_EVERY_S / 2)
        assert part.tracks == {}
        message = viewer.get_message(timeout=30)["data"]
        assert [each.order for each in parse_tracks(WATCHED, message)] == [10, 11, 12, 13]
        viewer.unsubscribe()
        assert viewer.get_message(timeout=30)
        live.publish([part], 10.0 + ASK_EVERY_S)
        feed(part, 14)
        assert part.tracks == {}


def test_an_older_users_acl_leaves_out_tracks_and_the_log_says_so(
    server: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis(port=server.port) as client, client.pubsub() as viewer:
        viewer.subscribe(keys.tracks(WATCHED))
        assert viewer.get_message(timeout=30)
        rights = ("on", ">x", "resetchannels", "-@all", "+ping", "+client", "~events:*")
        client.execute_command("ACL SETUSER", "events", *rights)
        with redis.Redis(port=server.port, username="events", password="x", protocol=2) as limited:
            live, part = LiveTracks(EventStore(limited, 100, 60.0)), partition()
            for order in range(10):
                feed(part, order)
            with caplog.at_level(logging.WARNING):
                live.publish([part], 10.0)
                live.publish([part], 11.0)
            feed(part, 10)
            assert part.tracks == {}
    (line,) = caplog.messages
    assert "the live view shows no tracks" in line
    assert "older users.acl" in line
