"""IDF1 and MOTA, as the MOT challenge counts them, from boxes by frame. `tests/tracking/library.py` checks them.

MOTA (Bernardin and Stiefelhagen, 2008): misses, false boxes and changes of identity, of all true boxes; a pair that
still overlaps stays a pair. IDF1 (Ristani et al., 2016): true and tracked objects are paired once for the whole scene.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from elastic_inference.domain.events.assignment import assign
from elastic_inference.domain.events.tracker import Box, overlap_of

MIN_OVERLAP = 0.5
Named = Sequence[tuple[object, Box]]


class Scores(NamedTuple):
    """Both are 1 for a perfect tracker."""

    idf1: float
    mota: float


def scores(frames: Sequence[tuple[Named, Named]]) -> Scores:
    """Of (true boxes, tracked boxes) for each frame, in order."""
    together: Counter[tuple[object, object]] = Counter()
    true_boxes = tracked_boxes = errors = 0
    before: dict[object, object] = {}
    last: dict[object, object] = {}
    for truth, tracked in frames:
        near = {
            (a, b): overlap
            for a, one in truth
            for b, other in tracked
            if (overlap := overlap_of(one, other)) >= MIN_OVERLAP
        }
        together.update(near.keys())
        true_boxes += len(truth)
        tracked_boxes += len(tracked)
        # What was a pair in the last frame stays one, wherever it still overlaps.
        before = _best([(overlap + 1000 * (before.get(a) == b), a, b) for (a, b), overlap in near.items()])
        changes = sum(1 for a, b in before.items() if last.get(a, b) != b)
        errors += len(truth) + len(tracked) - 2 * len(before) + changes
        last |= before
    return Scores(2 * _shared(together) / (true_boxes + tracked_boxes), 1 - errors / true_boxes)


def _shared(together: Counter[tuple[object, object]]) -> float:
    """The frames that true and tracked objects share, paired in the best way."""
    best = _best([(count, a, b) for (a, b), count in together.items()])
    return sum(together[pair] for pair in best.items())


def _best(pairs: Sequence[tuple[float, object, object]]) -> dict[object, object]:
    rows = list(dict.fromkeys(a for _, a, _ in pairs))
    columns = list(dict.fromkeys(b for _, _, b in pairs))
    scored = [(score, rows.index(a), columns.index(b)) for score, a, b in pairs]
    return {rows[row]: columns[column] for row, column in assign(scored, exact=True)}
