"""Cost and speed of events: the stages alone, one worker with 400 streams, and the latency to sinks behind two pods.

`python -m tests.bench --only events` runs it. The stages are what an event worker does with a result besides Redis:
read its JSON, track, look at two zones and a line, write the result with its tracks and the events, and once for every
sixteen results the state.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from elastic_inference.domain.events.analysis import StreamAnalysis
from elastic_inference.domain.events.event import event_json
from elastic_inference.domain.result import parse_result, result_json
from tests.bench import event_latency, event_streams
from tests.bench.event_scene import PART, RULES, walkers
from tests.bench.record import Context, Figure, LeftOut, median_figure
from tests.support.clips import START_MS, STREAM, camera_rules, frame

_RESULTS = 500
_BATCH = 16


def figures(context: Context) -> Iterator[Figure | LeftOut]:
    """Results for each second of CPU time through all stages, the size of a stream's state, then whole services."""
    documents = [result_json(frame(n + 1, walkers(n))) for n in range(_RESULTS)]
    rounds = [_round(documents, context.seconds(2.0)) for _ in range(context.rounds(7))]
    rates = [rate for rate, _ in rounds]
    yield median_figure(PART, "results a CPU second, five objects each, all stages", rates, unit="1/s", minimum=2000)
    yield Figure(PART, "state of a stream with five objects", rounds[0][1] / 1000, "kB")
    yield from event_streams.figures(context)
    yield from event_latency.figures(context)


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
