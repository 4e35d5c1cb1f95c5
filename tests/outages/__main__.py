"""Outages of delivery under a steady load, with the times that count: some 15 minutes.

Prints a table. The exit code is 1 if an event is missing, came out of order or more often than what was in flight, or
if one sink delayed another.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.bench.record import percentile
from tests.outages import broker_loss, faults
from tests.outages.faults import HEAD, Times
from tests.outages.feeder import Feeder
from tests.outages.sinks import KafkaSite, MqttSite, RedisSite, SinkSite, WebhookSite
from tests.outages.site import Site

KINDS: dict[str, type[SinkSite]] = {each.name: each for each in (MqttSite, WebhookSite, RedisSite, KafkaSite)}


def main() -> int:
    """The exit code."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="ei-outages-") as folder:
        sinks = []
        for name in options.sinks or KINDS:
            try:
                sinks.append(KINDS[name](Path(folder)))
            except pytest.skip.Exception as error:
                print(f"left out: {name}: {error}")
        with Site(Path(folder), sinks, lambda port: Feeder(port, options.rate)) as site:
            return _run(site, options)


def _run(site: Site, options: argparse.Namespace) -> int:
    times, wrong, ended = Times.short() if options.short else Times(), 0, 0
    site.wait_caught_up(list(site.sinks))
    time.sleep(5)
    _latency(site, options.calm)
    print(HEAD)
    for fault in (*faults.of_workers(site, times), *faults.of_sinks(site, times)):
        if options.only and options.only not in fault.name:
            continue
        row = faults.carry_out(site, fault)
        ended += fault.ended
        wrong += len(row.problems)
        print(row.text(), flush=True)
    wrong += _check(site, ended)
    if not options.only or options.only in broker_loss.NAME:
        row = broker_loss.carry_out(site)
        print(row.text(), flush=True)
        wrong += len(row.problems)
    print(f"{wrong} problems")
    return 1 if wrong else 0


def _latency(site: Site, seconds: float) -> None:
    """From the entry of a result to its event at the consumer of each sink, while nothing fails."""
    began = time.monotonic()
    time.sleep(seconds)
    print("| sink | events | p50 | p99 |\n|---|---:|---:|---:|")
    for name, sink in site.sinks.items():
        ages = sink.arrivals.ages_s(began)
        values = (f"{1000 * percentile(ages, share):.0f} ms" for share in (0.5, 0.99))
        print(f"| {name} | {len(ages)} | {' | '.join(values)} |", flush=True)
    print()


def _check(site: Site, ended: int) -> int:
    """Everything that was written must have arrived everywhere."""
    sent = dict(site.feeder.sent)
    problems = [f"{len(site.feeder.unsure)} results were not written"] if site.feeder.unsure else []
    print("\n| sink | events | missing | refused | its own loss | its own repeats | repeats | allowed |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, sink in site.sinks.items():
        dead, arrivals = site.dead(name), sink.arrivals
        besides = dead | site.exempt[name]
        deadline = time.monotonic() + 60
        while (missing := arrivals.missing(sent, besides)) and time.monotonic() < deadline:
            time.sleep(0.5)
        allowed = site.repeats_allowed(name, ended)
        print(
            f"| {name} | {sum(sent.values())} | {len(missing)} | {len(dead)} | {site.emptied[name]} "
            f"| {arrivals.by_sink} | {arrivals.repeats} | {allowed} |"
        )
        if missing:
            problems.append(f"{name}: {len(missing)} are missing, such as {missing[:3]}")
        if wrong := arrivals.wrong_revisions():
            problems.append(f"{name}: {wrong} have another revision than they should")
        if arrivals.repeats > allowed:
            problems.append(f"{name}: {arrivals.repeats} repeats, at most {allowed} were in flight")
        if arrivals.by_sink > sink.own_repeats:
            problems.append(f"{name}: sent {arrivals.by_sink} again itself, at most {sink.own_repeats} were in flight")
        problems += [f"{name}: {each}" for each in arrivals.problems[:5]]
    print("\n".join(f"PROBLEM {each}" for each in problems))
    return len(problems)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.outages", description=__doc__)
    parser.add_argument("--sinks", action="append", choices=tuple(KINDS), help="only these")
    parser.add_argument("--only", default="", metavar="TEXT", help="only outages with this in their name")
    parser.add_argument("--calm", type=float, default=10.0, help="seconds for the latency before all outages (10)")
    parser.add_argument("--rate", type=float, default=200.0, help="events a second (200)")
    parser.add_argument("--short", action="store_true", help="outages of seconds, to try the suite itself")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
