"""Speed of the stages that make events: results a second of CPU time, five objects each.

`python -m tests.bench --only events` runs it. What an event worker does with a result besides Redis: read its JSON,
track, look at two zones and a line, write the result with its tracks and the events, and once for every sixteen results
the state.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from elastic_inference.domain.events.analysis import StreamAnalysis
from elastic_inference.domain.events.event import event_json
from elastic_inference.domain.result import Detection, parse_result, result_json
from tests.bench.record import Context, Figure, median_figure
from tests.support.clips import START_MS, STREAM, camera_rules, frame

PART = "events"
_OBJECTS = 5
_RESULTS = 500
_BATCH = 16
RULES = {
    "zones": [
        {"name": "hall", "points": [[0.3, 0.1], [0.9, 0.2], [0.8, 0.9], [0.5, 0.95], [0.2, 0.8]], "dwell_s": 5},
        {"name": "door", "points": [[0.0, 0.2], [0.2, 0.2], [0.2, 0.9], [0.0, 0.9]]},
    ],
    "lines": [{"name": "entry", "from": [0.5, 0.0], "to": [0.5, 1.0]}],
}


def figures(context: Context) -> Iterator[Figure]:
    """Results for each second of CPU time through all stages, and the size of a stream's state."""
    documents = [result_json(frame(n + 1, _walkers(n))) for n in range(_RESULTS)]
    rounds = [_round(documents, context.seconds(2.0)) for _ in range(context.rounds(7))]
    rates = [rate for rate, _ in rounds]
    yield median_figure(PART, "results a CPU second, five objects each, all stages", rates, unit="1/s", minimum=2000)
    yield Figure(PART, "state of a stream with five objects", rounds[0][1] / 1000, "kB")


def _walkers(n: int) -> Iterator[Detection]:
    """People who walk to and fro in rows, each at a pace of their own."""
    for row in range(_OBJECTS):
        way = (n * (0.004 + 0.001 * row)) % 2
        x, y = 0.05 + 0.9 * (way if way < 1 else 2 - way), 0.3 + 0.15 * row
        yield Detection("person", 1, 0.9, (x - 0.04, y - 0.25, x + 0.04, y))


def _round(documents: list[bytes], seconds: float) -> tuple[float, int]:
    """(results a CPU second, bytes of the state)."""
    stages, rules, done, at_ms = None, camera_rules(RULES), 0, START_MS
    began, until, written = time.thread_time(), time.thread_time() + seconds, 0
    while time.thread_time() < until:
        stages = StreamAnalysis(STREAM, 1, rules)
        for n, document in enumerate(documents):
            result, events = stages.on_result(parse_result(document), at_ms + n * 100.0)
            written += len(result_json(result)) + sum(len(event_json(event)) for event in events)
            if n % _BATCH == 0:
                written += len(stages.state())
        done += len(documents)
    assert stages is not None
    assert written > 0
    return done / (time.thread_time() - began), len(stages.state())
