"""What producers report of their cameras, in the queue's Redis. Synchronous; called by the event worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.events.camera_watch import CameraReport

log = logging.getLogger(__name__)
_CHUNK = 200
# Producers can write anything into these keys: a longer state is none of ours, and is not read.
_MAX_STATE_BYTES = 64
_LIVE = (b"live", b"quiet")


class SourceReports:
    """Not thread-safe. Never raises for an unavailable Redis: then nothing is known."""

    def __init__(self, client_of: Callable[[str], redis.Redis]) -> None:
        """`client_of` gives the client for the keys of a type."""
        self._client_of = client_of
        self._throttle = Throttle()

    def read(self, cameras: Collection[tuple[str, str]]) -> dict[tuple[str, str], CameraReport]:
        """The reports of cameras, each a pair of type and name."""
        by_type: dict[str, list[str]] = {}
        for infer_type, name in cameras:
            by_type.setdefault(infer_type, []).append(name)
        found: dict[tuple[str, str], CameraReport] = {}
        for infer_type, names in by_type.items():
            for start in range(0, len(names), _CHUNK):
                some = names[start : start + _CHUNK]
                for name, report in zip(some, self._of(infer_type, some), strict=True):
                    found[infer_type, name] = report
        return found

    def _of(self, infer_type: str, names: Sequence[str]) -> list[CameraReport]:
        try:
            client = self._client_of(infer_type)
            sizes = _ask(client, "hstrlen", infer_type, names)
            small = [name for name, size in zip(names, sizes, strict=True) if _is_small(size)]
            states = dict(zip(small, _ask(client, "hget", infer_type, small), strict=True))
        except (RedisError, OSError):
            return [CameraReport.UNKNOWN] * len(names)
        if any(isinstance(each, NoPermissionError) for each in sizes) and (note := self._throttle.note("rights")):
            log.warning(
                "the Redis user of this event service may not read the reports of cameras: users.acl is of an older "
                "version; cameras without results are not told as lost %s",
                note,
            )
        return [_report(size, states.get(name)) for name, size in zip(names, sizes, strict=True)]


def _ask(client: redis.Redis, command: str, infer_type: str, names: Sequence[str]) -> list[Any]:
    if not names:
        return []
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.execute_command(command, keys.source(infer_type, name), "state")  # type: ignore[no-untyped-call]
    return list(pipe.execute(raise_on_error=False))


def _is_small(size: object) -> bool:
    return isinstance(size, int) and 0 < size <= _MAX_STATE_BYTES


def _report(size: object, state: object) -> CameraReport:
    if isinstance(size, ResponseError) and str(size).startswith("WRONGTYPE"):
        return CameraReport.MISSING  # housekeeping removes it
    if not isinstance(size, int) or isinstance(state, Exception):
        return CameraReport.UNKNOWN
    if not _is_small(size) or state is None:
        return CameraReport.MISSING
    return CameraReport.LIVE if state in _LIVE else CameraReport.SILENT
