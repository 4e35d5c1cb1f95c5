"""Looks after the cameras of all partitions that an event worker has: asks for reports, and has `CameraWatch` judge.

Called by `event_worker` once a second. A camera with results costs nothing; of a quiet one the report is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from elastic_inference.adapters.event_store.source_reports import SourceReports
from elastic_inference.domain.events.camera_watch import CameraReport, Sight
from elastic_inference.flows.events.camera_rules import RulesReader
from elastic_inference.flows.events.partition import Partition

EVERY_S = 1.0
_BEST = (CameraReport.LIVE, CameraReport.UNKNOWN, CameraReport.SILENT, CameraReport.MISSING)


class CameraCheck:
    """Not thread-safe."""

    def __init__(self, reports: SourceReports, rules: RulesReader, bound_s: float) -> None:
        """`rules` also knows which cameras are of the pool, and which of these are paused."""
        self._reports = reports
        self._rules = rules
        self._bound_ms = bound_s * 1000
        self._looked_at_s = float("-inf")

    def look(self, partitions: Collection[Partition], late: Collection[int], now_ms: float, now_s: float) -> None:
        """Adds the events of cameras to these partitions. Those that are `late` have results that were not read yet."""
        if now_s - self._looked_at_s < EVERY_S:
            return
        self._looked_at_s = now_s
        read = [each for each in partitions if each.number not in late]
        quiet = {each.number: each.quiet_cameras(now_ms) for each in read}
        asked = {
            (infer_type, name) for names in quiet.values() for name, types in names.items() for infer_type in types
        }
        # A camera that was paused a moment ago is not lost.
        self._rules.read_again(name for names in quiet.values() for name in names)
        reports = self._reports.read(asked) if asked else {}
        working = {
            infer_type
            for each in partitions
            for infer_type, seen in each.types_seen().items()
            if now_ms - seen < self._bound_ms
        }
        for each in read:
            sights = {name: _sight(name, types, reports, working) for name, types in quiet[each.number].items()}
            each.look_at_cameras(sights, self._rules.standing, now_ms, now_s)


def _sight(
    name: str, types: Collection[str], reports: Mapping[tuple[str, str], CameraReport], working: Collection[str]
) -> Sight:
    found = {reports.get((infer_type, name), CameraReport.UNKNOWN) for infer_type in types} or {CameraReport.MISSING}
    return Sight(next(each for each in _BEST if each in found), any(each in working for each in types))
