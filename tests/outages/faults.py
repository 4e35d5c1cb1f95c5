"""What happens to sinks and workers, one after another, and how it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.outages.sinks import RedisSite, SinkSite, WebhookSite
from tests.outages.site import Site
from tests.outages.webhook import FINE


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each kind of outage."""

    stopped: float = 60.0
    frozen: float = 20.0
    slow: float = 20.0
    refused: float = 20.0

    @classmethod
    def short(cls) -> Times:
        """To try the suite itself."""
        return cls(6.0, 6.0, 4.0, 4.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """`act` returns when the fault has ended. `hits`: the sinks that it concerns; all others must not notice."""

    name: str
    hits: tuple[str, ...]
    act: Callable[[], None]
    # Workers that it ends or freezes.
    ended: int = 0


@dataclass(slots=True)
class Row:
    """What was seen."""

    name: str
    back_s: float
    others_s: float
    repeats: int
    # The sink that `others_s` is of.
    other: str = ""
    problems: list[str] = field(default_factory=list)

    def text(self) -> str:
        """A line of the table."""
        cells = (self.name, f"{self.back_s:.1f} s", f"{self.others_s:.1f} s {self.other}".strip(), str(self.repeats))
        return f"| {' | '.join(cells)} | {'; '.join(self.problems) or 'passed'} |"


HEAD = "| outage | back after | oldest event at the others | repeats | verdict |\n|---|---:|---:|---:|---|"
# A sink that nothing happens to: its events may be as old as this.
OTHERS_S = 10.0


def of_sinks(site: Site, times: Times) -> Iterator[Fault]:
    """The outages of all sinks."""
    for sink in site.sinks.values():
        yield Fault(f"{sink.name} stopped for {times.stopped:g} s", (sink.name,), lambda s=sink: _stop(s, times))
        yield Fault(f"{sink.name} frozen for {times.frozen:g} s", (sink.name,), lambda s=sink: s.freeze(times.frozen))
        yield Fault(f"{sink.name} restarts empty", (sink.name,), lambda s=sink: _empty(site, s))
        yield Fault(f"{sink.name} slow for {times.slow:g} s", (sink.name,), lambda s=sink: s.slow(times.slow))
        if isinstance(sink, WebhookSite):
            for mode, what in (
                ("500 0", "answers 500"),
                ("429 5", "answers 429, Retry-After: 5"),
                ("413 50", "refuses one of 50 (413)"),
                ("401 0", "refuses the login (401)"),
            ):
                act = lambda s=sink, mode=mode: _mode(s, mode, times.refused)  # noqa: E731
                yield Fault(f"{sink.name} {what} for {times.refused:g} s", (sink.name,), act)
        if isinstance(sink, RedisSite):
            act = lambda s=sink: s.refuse(times.refused)  # noqa: E731
            yield Fault(f"{sink.name} has no memory for {times.refused:g} s", (sink.name,), act)


def of_workers(site: Site, times: Times) -> Iterator[Fault]:
    """The ends and freezes of workers: all sinks notice."""
    every = tuple(site.sinks)
    for index in range(len(site.workers)):
        yield Fault(f"event worker {index + 1} killed", every, lambda i=index: site.kill(i), 1)
    for index in range(len(site.workers)):
        act = lambda i=index: site.freeze(i, times.frozen)  # noqa: E731
        yield Fault(f"event worker {index + 1} frozen for {times.frozen:g} s", every, act, 1)


def carry_out(site: Site, fault: Fault) -> Row:
    """Lets it happen, and waits until everything arrives again."""
    began = time.monotonic()
    before = {name: each.arrivals.repeats for name, each in site.sinks.items()}
    fault.act()
    ended = time.monotonic()
    site.wait_caught_up(list(site.sinks))
    now = time.monotonic()
    others = [
        (max(sink.arrivals.ages_s(began, now), default=0.0), name)
        for name, sink in site.sinks.items()
        if name not in fault.hits
    ]
    repeats = sum(each.arrivals.repeats - before[name] for name, each in site.sinks.items())
    others_s, other = max(others, default=(0.0, ""))
    row = Row(fault.name, now - ended, others_s, repeats, other)
    if row.others_s > OTHERS_S:
        row.problems.append(f"{other} got an event only after {row.others_s:.1f} s")
    return row


def _stop(sink: SinkSite, times: Times) -> None:
    sink.stop()
    time.sleep(times.stopped)
    sink.start_again()


def _empty(site: Site, sink: SinkSite) -> None:
    sink.stop_empty()
    sink.start()
    site.forgive(sink.name)


def _mode(sink: WebhookSite, mode: str, seconds: float) -> None:
    sink.mode = mode
    time.sleep(seconds)
    sink.mode = FINE
