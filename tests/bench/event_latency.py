"""From a result's entry in Redis to its event at a sink, at 200 events a second behind two pods of uneven speed.

`python -m tests.bench --only events` runs it. Two event workers, and mosquitto, a webhook and another Redis with a
consumer each, as in `tests/outages`. Each result becomes an event, and waits for those before it in its stream.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.event_scene import PART
from tests.bench.record import Context, Figure, LeftOut, percentile
from tests.outages.sinks import MqttSite, RedisSite, WebhookSite
from tests.outages.site import Site
from tests.support.uneven_pods import UnevenPods

# (cameras, fps): both are 200 results a second. At 25 fps, up to three results overtake a slow one.
CASES = ((20, 10.0), (8, 25.0))
_SETTLES_S = 5.0
P50_MS, P99_MS = 60.0, 250.0


def figures(context: Context) -> Iterator[Figure | LeftOut]:
    """p50 and p99 for each sink and each frame rate."""
    for cameras, fps in CASES:
        with tempfile.TemporaryDirectory(prefix="ei-bench-") as folder:
            sinks = [kind(Path(folder)) for kind in (MqttSite, WebhookSite, RedisSite)]
            with Site(Path(folder), sinks, lambda port, n=cameras, rate=fps: UnevenPods(port, n, rate)) as site:
                yield from (
                    LeftOut(PART, f"no latency of {each.name}") for each in sinks if each.name not in site.sinks
                )
                yield from _measure(site, fps, context.seconds(20.0))


def _measure(site: Site, fps: float, seconds: float) -> Iterator[Figure]:
    site.wait_caught_up(list(site.sinks))
    time.sleep(_SETTLES_S)
    pods = site.feeder
    assert isinstance(pods, UnevenPods)
    published, overtaken, began = pods.published, pods.overtaken, time.monotonic()
    time.sleep(seconds)
    rate = (pods.published - published) / (time.monotonic() - began)
    share = (pods.overtaken - overtaken) / max(1, pods.published - published)
    details = {"events_a_second": round(rate, 1), "out_of_order": round(share, 3)}
    for name, sink in site.sinks.items():
        ages = sink.arrivals.ages_s(began)
        for part, bar in ((0.5, P50_MS), (0.99, P99_MS)):
            yield Figure(
                PART,
                f"result to event, two pods, cameras of {fps:g} fps, {name}, p{100 * part:g}",
                1000 * percentile(ages, part),
                "ms",
                maximum=bar,
                details=details,
            )
    yield Figure(PART, f"results that an earlier one of their stream follows, cameras of {fps:g} fps", share)
