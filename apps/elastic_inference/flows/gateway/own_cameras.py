"""Reduces documents to what a token may see: its own cameras, and figures that reveal nothing about others. Pure.

Called by `pool_state`. A token that may see all cameras gets the list of streams unchanged. If it is an admin's,
it also gets the statistics unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from elastic_inference.domain.pool import Stats, Stream, Streams, TotalStats, TypeStats
from elastic_inference.flows.gateway.access import Access


def own_streams(document: Streams, access: Access) -> Streams:
    """The streams of the cameras that `access` sees."""
    if access.sees_all:
        return document
    return replace(document, streams=tuple(each for each in document.streams if access.sees(each.name)))


def own_stats(document: Stats, streams: Streams, access: Access) -> Stats:
    """Statistics over `streams` alone, the streams that `access` may see.

    Rates are those of these streams. Drops, load and queues are known only for all cameras of a type together, and
    pods serve all of them. So only an admin of all cameras gets them.
    """
    if access.sees_pool:
        return document
    by_type: dict[str, list[Stream]] = {}
    for stream in streams.streams:
        by_type.setdefault(stream.type, []).append(stream)
    types = tuple(_own_type(each, by_type[each.type]) for each in document.types if each.type in by_type)
    totals = TotalStats(
        infer_fps=_sum(each.infer_fps for each in types),
        drop_fps=None,
        queue_length=None,
        replicas=sum(each.replicas for each in types),
        streams=len(streams.streams),
    )
    return replace(document, types=types, totals=totals, workers=())


def _own_type(stats: TypeStats, streams: Sequence[Stream]) -> TypeStats:
    return replace(
        stats,
        infer_fps=_sum(each.fps for each in streams),
        drop_fps=None,
        scale_ratio=None,
        capacity_fps=None,
        queue_length=None,
        streams=len(streams),
    )


def _sum(numbers: Iterable[float]) -> float:
    return round(sum(numbers), 2)
