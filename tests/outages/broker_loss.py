"""The broker's Redis restarts empty while one sink lags: what is lost is counted, and everything goes on by itself."""

from __future__ import annotations

import time

from tests.outages.faults import Row
from tests.outages.site import Site
from tests.support.waiting import wait_for

NAME = "the broker's Redis restarts empty"
LOST, MADE = "ei_events_lost_total", "ei_events_total"
_LAGS_S = 5.0


def carry_out(site: Site) -> Row:
    """Stops the first sink for a while, so that there is something to lose, then ends Redis."""
    lagging = next(iter(site.sinks.values()))
    lost, made = site.metric(LOST), site.metric(MADE)
    had = {name: len(each.arrivals.marks()) for name, each in site.sinks.items()}
    lagging.stop()
    time.sleep(_LAGS_S)
    site.server.kill()
    site.server.start(60)
    ended = time.monotonic()
    lagging.start_again()
    site.wait_caught_up(list(site.sinks))
    row = Row(NAME, time.monotonic() - ended, 0.0, 0)
    site.feeder.stop()
    wait_for(lambda: _settled(site), 60, "the last events")
    lost, made = site.metric(LOST) - lost, site.metric(MADE) - made
    most = 0.0
    for name, each in site.sinks.items():
        missing = made - (len(each.arrivals.marks()) - had[name])
        most = max(most, missing)
        if missing > lost:
            row.problems.append(f"{name} did not get {missing:.0f} events, and {lost:.0f} were counted as lost")
    if not most:
        row.problems.append("nothing was lost, so nothing was tried")
    row.name += f": {most:.0f} events lost, {lost:.0f} counted"
    return row


def _settled(site: Site) -> bool:
    counts = [len(each.arrivals.marks()) for each in site.sinks.values()]
    time.sleep(2)
    return counts == [len(each.arrivals.marks()) for each in site.sinks.values()]
