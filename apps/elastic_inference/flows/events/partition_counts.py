"""The last hour of counters of a partition's cameras, and which of them are to be saved. Called by `partition`.

A camera has an entry as long as it has zones or lines, and a stream that the partition knows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from elastic_inference.domain.errors import InvalidCountsError
from elastic_inference.domain.events.camera_counts import MAX_COUNTS_BYTES, CameraCounts, counts_json, parse_counts
from elastic_inference.domain.events.count_history import CountHistory
from elastic_inference.flows.events.ordered_stream import OrderedStream

log = logging.getLogger(__name__)

# What has changed is written this often.
SAVE_S = 5.0
# Of all cameras of a partition.
MAX_BYTES = 16 * 1024 * 1024


class PartitionCounts:
    """Not thread-safe. `now_s` is monotonic, `now_ms` is Redis' clock."""

    def __init__(self, saved: Mapping[str, bytes], now_s: float) -> None:
        """`saved`: camera -> what another worker has left."""
        self.refused = 0
        # Of what Redis has, or will have once it confirms the last batch.
        self._sizes = {camera: len(raw) for camera, raw in saved.items()}
        self._saved_at_s = now_s
        self._histories = {
            camera: CountHistory(camera, found)
            for camera, raw in saved.items()
            if (found := _read(camera, raw)) is not None
        }

    @property
    def saved_bytes(self) -> int:
        """Size of what is saved of all cameras."""
        return sum(self._sizes.values())

    def resume(self, stream: OrderedStream) -> None:
        """A stream whose own state was lost continues to count from the totals that were saved."""
        history = self._histories.get(stream.name)
        if history is not None:
            history.resume(stream.type, stream.analysis.counts())

    def sample(self, streams: Iterable[OrderedStream], now_ms: float) -> None:
        """Takes the counters of all streams; call it about once a second."""
        found: dict[str, list[OrderedStream]] = {}
        for each in streams:
            if each.rules.zones or each.rules.lines:
                found.setdefault(each.name, []).append(each)
        for camera in self._histories.keys() - found.keys():
            del self._histories[camera]
        for camera, own in found.items():
            history = self._histories.get(camera)
            if history is None:
                history = self._histories[camera] = CountHistory(camera)
            runs = any(not each.ended for each in own)
            history.sample(own[0].rules, [(each.type, each.analysis.counts()) for each in own], now_ms, runs)

    def due(self, now_s: float, whole: bool) -> dict[str, bytes]:
        """What is to be written now, by camera: all changes every few seconds, with `whole` at once."""
        if not whole and now_s - self._saved_at_s < SAVE_S:
            return {}
        self._saved_at_s = now_s
        found: dict[str, bytes] = {}
        room = MAX_BYTES - self.saved_bytes
        for camera, history in self._histories.items():
            if not history.changed:
                continue
            document = counts_json(history.document())
            more = len(document) - self._sizes.get(camera, 0)
            if len(document) > MAX_COUNTS_BYTES or more > room:
                self.refused += 1
                continue
            room -= more
            found[camera] = document
        return found

    def gone(self) -> tuple[str, ...]:
        """Cameras whose saved counters are to be removed."""
        return tuple(camera for camera in self._sizes if camera not in self._histories)

    def written(self, counts: Mapping[str, bytes], gone: Iterable[str]) -> None:
        """Redis has them, and has removed those that are gone."""
        for camera, document in counts.items():
            self._sizes[camera] = len(document)
            if (history := self._histories.get(camera)) is not None:
                history.changed = False
        for camera in gone:
            self._sizes.pop(camera, None)

    def lost(self) -> None:
        """Redis has lost everything: it is written again."""
        self._sizes.clear()
        self._saved_at_s = float("-inf")
        for history in self._histories.values():
            history.changed = True


def _read(camera: str, raw: bytes) -> CameraCounts | None:
    try:
        found = parse_counts(raw)
    except InvalidCountsError as error:
        log.warning("%s: its last hour of counters can't be read and starts anew: %s", camera, error)
        return None
    return found if found.camera == camera else None
