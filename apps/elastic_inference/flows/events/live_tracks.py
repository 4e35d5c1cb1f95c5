"""Publishes tracks for the live view, only for streams that somebody watches.

Called by `event_worker`. Nobody depends on them, so if Redis refuses some, they are dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from redis.exceptions import ResponseError

from elastic_inference.adapters.event_store import EventStore
from elastic_inference.base.log import Throttle
from elastic_inference.flows.events.partition import Partition

log = logging.getLogger(__name__)

ASK_EVERY_S = 1.0
_AGAIN_AFTER_S = 60.0


class LiveTracks:
    """Publishes tracks. Not thread-safe. Raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._throttle = Throttle()
        self._ask_at_s = float("-inf")

    def publish(self, partitions: Iterable[Partition], now_s: float) -> None:
        """Sends what the partitions have collected; once a second it asks which streams are watched."""
        held = list(partitions)
        try:
            tracks = {stream: own for each in held for stream, own in each.tracks.items()}
            for each in held:
                each.tracks.clear()
            if tracks:
                self._store.publish_tracks(tracks)
            if now_s >= self._ask_at_s:
                self._ask(held)
                self._ask_at_s = now_s + ASK_EVERY_S
        except ResponseError as error:
            self._ask_at_s = now_s + _AGAIN_AFTER_S
            for each in held:
                each.watch(())
            if note := self._throttle.note("refused"):
                log.warning(
                    "the live view shows no tracks, since Redis refuses to publish them: %s. An older users.acl lacks "
                    "the right: write it again with this version's %s",
                    *(error, note),
                )

    def _ask(self, partitions: list[Partition]) -> None:
        streams = [name for each in partitions for name, stream in each.streams.items() if not stream.ended]
        watched = self._store.watched(streams) if streams else set()
        for each in partitions:
            each.watch(watched)
