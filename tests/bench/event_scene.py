"""What the benchmarks of events look at: people who walk, and the zones and the line of each camera."""

from __future__ import annotations

from collections.abc import Iterator

from elastic_inference.domain.result import Detection

PART = "events"
OBJECTS = 5
RULES = {
    "zones": [
        {"name": "hall", "points": [[0.3, 0.1], [0.9, 0.2], [0.8, 0.9], [0.5, 0.95], [0.2, 0.8]], "dwell_s": 5},
        {"name": "door", "points": [[0.0, 0.2], [0.2, 0.2], [0.2, 0.9], [0.0, 0.9]]},
    ],
    "lines": [{"name": "entry", "from": [0.5, 0.0], "to": [0.5, 1.0]}],
}


def walkers(n: int) -> Iterator[Detection]:
    """People who walk to and fro in rows, each at a pace of their own, in frame `n`."""
    for row in range(OBJECTS):
        way = (n * (0.004 + 0.001 * row)) % 2
        x, y = 0.05 + 0.9 * (way if way < 1 else 2 - way), 0.3 + 0.15 * row
        yield Detection("person", 1, 0.9, (x - 0.04, y - 0.25, x + 0.04, y))
