"""Runs one fault against a loaded site and measures it: account and memory before and after, time to recover."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import redis

from tests.bench.record import cpu_s, rss_mb
from tests.faults.record import BACK_WITHIN_S, PAUSE_LIMIT_S, Account, Allowance, Bar, Row
from tests.faults.site import STREAMS, Site
from tests.support.background import beside
from tests.support.waiting import TIME_FACTOR, wait_for

# How long to wait for the recovery; its bar is lower.
BACK_LIMIT_S = 45.0
LEVEL_WITHIN_S = 10.0
# A busy machine may miss the bar; three times as long is a failure everywhere.
FAILS_AFTER = 3
READY_WITHIN_S = 60.0
STEADY_S = 1.0
# A process may keep this much more memory, and this many more descriptors, than before the fault.
RSS_PART, RSS_MB, DESCRIPTORS = 1.1, 16.0, 12
# The limits of memory in the manifests (kubernetes/parts), in whole MB.
LIMITS_MB = {"pod": 1073, "websocket-server": 536, "gateway": 536, "housekeeping": 268, "video": 536}

Levels = dict[str, tuple[float, int]]


@dataclass
class Answers:
    """How long Redis took to answer, and the CPU time that it took meanwhile, both at most."""

    limit_s: float
    longest_s: float = 0.0
    worked_s: float = 0.0

    def note(self, took_s: float, worked_s: float) -> None:
        """Records one answer."""
        self.longest_s, self.worked_s = max(self.longest_s, took_s), max(self.worked_s, worked_s)

    @property
    def held_up(self) -> bool:
        """Whether it was late although it had little to do: a busy machine gave it no CPU time."""
        return self.longest_s >= self.limit_s > self.worked_s


@dataclass
class Seen:
    """What a fault reports about itself while it runs."""

    site: Site
    # Streams that the fault affects: they may pause.
    concerned: set[str] = field(default_factory=lambda: set(STREAMS))
    pushed: int = 0
    ended_at: float | None = None
    allowance: Allowance = field(default_factory=Allowance)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # The fault takes results from results_<type>, which nobody could read in time.
    takes_results: bool = False
    clean_up: list[Callable[[], object]] = field(default_factory=list)

    def others_go_on(self, *concerned: str) -> None:
        """Only these streams may pause."""
        self.concerned = set(concerned)

    def end(self) -> None:
        """The fault is over; what follows only checks its consequences."""
        self.ended_at = time.monotonic()

    def may_lose(self, frames: int, why: str) -> None:
        """Allows at most this many frames that no counter knows."""
        self.allowance.missing += frames
        self.allowance.reasons.append(f"up to {frames} {why}")

    def may_forge(self, frames: int, why: str) -> None:
        """Allows at most this many outcomes without a frame."""
        self.allowance.surplus += frames
        self.allowance.reasons.append(f"up to {frames} {why}")

    def check(self, what: str, met: bool, says: str = "", *, fails: bool = True) -> None:
        """Records a bar of this fault alone."""
        self.bars.append(Bar(what, met, says, fails, own=True))

    def within(self, what: str, condition: Callable[[], object], seconds: float) -> None:
        """A bar: the condition becomes true in time. It fails at three times the bar, as recovery does."""
        began = time.monotonic()
        try:
            wait_for(lambda: _quietly(condition), FAILS_AFTER * seconds, every_s=0.1)
        except AssertionError:
            self.check(what, False, f"not within {FAILS_AFTER * seconds:.0f} s")
        else:
            took_s = time.monotonic() - began
            self.check(what, took_s <= seconds * TIME_FACTOR, f"{took_s:.1f} s", fails=False)

    @contextlib.contextmanager
    def peak_below(self, **limits_mb: float) -> Iterator[None]:
        """A bar: the resident memory of these services (`_` for `-`) stays below this many MB."""
        peaks = dict.fromkeys(limits_mb, 0.0)

        def watch(stop: threading.Event) -> None:
            while not stop.wait(0.05):
                for name in peaks:
                    with contextlib.suppress(OSError, AssertionError, IndexError):
                        peaks[name] = max(peaks[name], rss_mb(self.site.pid(name.replace("_", "-"))))

        with beside(watch):
            yield
        for name, limit in limits_mb.items():
            what = f"{name.replace('_', '-')} below {limit:.0f} MB"
            self.check(what, peaks[name] < limit, f"{peaks[name]:.0f} MB")

    @contextlib.contextmanager
    def answers_within(self, limit_s: float) -> Iterator[Answers]:
        """A bar: Redis answers every PING within this time. A miss fails if Redis itself worked that long meanwhile."""
        found = Answers(limit_s * TIME_FACTOR)

        def ask(stop: threading.Event) -> None:
            with self.site.client("admin") as client:
                while not stop.wait(0.01):
                    began, used = time.monotonic(), cpu_s(self.site.pid("Valkey"))
                    with contextlib.suppress(redis.RedisError):
                        client.ping()
                    found.note(time.monotonic() - began, cpu_s(self.site.pid("Valkey")) - used)

        with beside(ask):
            yield found
        late = found.longest_s >= found.limit_s
        says = f"{found.longest_s:.2f} s" + (f", of which it worked {found.worked_s:.2f} s" if late else "")
        self.check(f"Redis answers within {limit_s:g} s", not late, says, fails=not found.held_up)


Inject = Callable[[Site, Seen], None]


class Fault(NamedTuple):
    """A fault: `inject` makes it happen and returns when it is over. `place` names the site that it needs."""

    group: str
    name: str
    inject: Inject
    place: str = "plain"
    short: bool = False
    # Runs once, when the site is up: for what has to begin long before the fault.
    prepare: Callable[[Site], object] | None = None


class Faults(list[Fault]):
    """The faults of a module whose functions each inject one, in the order in which they stand there."""

    def add(self, group: str, name: str, *, short: bool = False) -> Callable[[Inject], Inject]:
        """Decorates the function that injects this fault."""

        def note(inject: Inject) -> Inject:
            self.append(Fault(group, name, inject, short=short))
            return inject

        return note


def _quietly(condition: Callable[[], object]) -> object:
    try:
        return condition()
    except (OSError, redis.RedisError, ValueError):
        return None


def _succeeds(action: Callable[[], object]) -> bool:
    try:
        action()
    except (OSError, redis.RedisError):
        return False
    return True


def run_fault(site: Site, fault: Fault, before: Account) -> tuple[Row, Account]:
    """The row of one fault, and the account at its end, from which the next one counts.

    A machine that is busy with other things can miss a bar once. A fault of ours misses it again. A frame that nobody
    counted is never tried again.
    """
    row, after = _run_once(site, fault, before)
    if row.fails() and row.unaccounted() == 0:
        missed = "; ".join(bar.text() for bar in row.missed())
        row, after = _run_once(site, fault, after)
        row.notes.append(f"the second try; the first missed: {missed}")
    return row, after


def _run_once(site: Site, fault: Fault, before: Account) -> tuple[Row, Account]:
    row = Row(fault.group, fault.name)
    seen = Seen(site)
    started, results = time.monotonic(), site.reader.count
    site.resume()
    _wait_back(site, started, BACK_LIMIT_S)
    wait_for(lambda: time.monotonic() - started > STEADY_S, 30)
    for service in site.services:
        site.note_counters(service.name)
    levels = site.levels()
    began = time.monotonic()
    try:
        fault.inject(site, seen)
    except Exception as error:  # noqa: BLE001  whatever a busy machine makes of it: the next try shows
        seen.check("the fault runs to its end", False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    ended = seen.ended_at or time.monotonic()
    row.notes += site.mend()
    row.back_s = _wait_back(site, ended, BACK_LIMIT_S)
    row.notes += [note for note in site.mend() if note not in row.notes]
    ended_by_itself = list(row.notes)
    unready = _not_ready(site)
    concerned = seen.concerned
    others = [name for name in STREAMS if name not in concerned]
    if others:
        row.pause_s = max(site.reader.longest_pause_s(name, began, ended + (row.back_s or 0)) for name in others)
    for clean_up in seen.clean_up:
        wait_for(lambda clean_up=clean_up: _succeeds(clean_up), 60, "the end of a fault")
    after = _wait_levels(site, levels)
    now = site.settle()
    row.account, row.allowance = now.since(before), seen.allowance
    row.account.pushed += seen.pushed
    _explain_unanswered(row, site)
    row.rss_mb = (sum(each[0] for each in levels.values()), sum(each[0] for each in after.values()))
    row.descriptors = (sum(each[1] for each in levels.values()), sum(each[1] for each in after.values()))
    row.notes += seen.notes
    row.bars = [*_bars(row, levels, after), *seen.bars]
    if not seen.takes_results:
        row.bars.append(_kept(row, site.reader.count - results))
    if unready:
        row.bars.append(Bar(f"all ready within {READY_WITHIN_S:.0f} s", False, ", ".join(unready)))
    if ended_by_itself:
        row.bars.append(Bar("no process ends by itself", False, ", ".join(ended_by_itself)))
    row.took_s = time.monotonic() - started
    return row, now


def _wait_back(site: Site, since: float, limit_s: float) -> float | None:
    """Seconds until each stream and each viewer has a frame that was captured after `since`; None if not in time."""
    deadline = time.monotonic() + limit_s * TIME_FACTOR
    while time.monotonic() < deadline:
        times = [site.reader.back_at(name, since) for name in STREAMS]
        times += [viewer.back_at(since) for viewer in site.viewers]
        found = [each for each in times if each is not None]
        if len(found) == len(times):
            return max(found) - since
        time.sleep(0.05)
    return None


def _not_ready(site: Site) -> list[str]:
    """Waits for all services; returns those that are still not ready after READY_WITHIN_S."""
    waiting = {each.name for each in site.services}

    def ready() -> bool:
        waiting.difference_update([name for name in waiting if _is_ready(site, name)])
        return not waiting

    with contextlib.suppress(AssertionError):
        wait_for(ready, READY_WITHIN_S, every_s=0.1)
    return sorted(waiting)


def _is_ready(site: Site, name: str) -> bool:
    try:
        return bool(site.named(name).ready()["ready"])
    except (OSError, ValueError, KeyError):
        return False


def _wait_levels(site: Site, before: Levels) -> Levels:
    """The levels as soon as they are near those before the fault; the last ones if they never are."""
    after = site.levels()
    deadline = time.monotonic() + LEVEL_WITHIN_S
    while _grown(before, after) and time.monotonic() < deadline:
        time.sleep(0.2)
        after = site.levels()
    return after


def _grown(before: Levels, after: Levels) -> tuple[list[str], list[str]] | None:
    memory, files = [], []
    for name, (rss, count) in before.items():
        rss_now, count_now = after.get(name, (0.0, 0))
        if rss_now > rss * RSS_PART + RSS_MB:
            memory.append(f"{name} {rss:.0f} to {rss_now:.0f} MB")
        if count_now > count + DESCRIPTORS:
            files.append(f"{name} {count} to {count_now}")
    return (memory, files) if memory or files else None


def _kept(row: Row, results: int) -> Bar:
    """Each inferred frame has its result in results_<type>, unless the fault took results too."""
    inferred = row.account.inferred
    met = inferred - row.allowance.missing <= results <= inferred + row.allowance.missing
    return Bar("as many results as inferred frames", met, f"{results} of {inferred}", fails=False)


def _explain_unanswered(row: Row, site: Site) -> None:
    """A push without a reply counts as refused. If its frame was inferred nevertheless, it is counted twice."""
    if row.account.missing() < 0 and row.account.refused > 0:
        row.allowance.surplus += row.account.refused
        row.allowance.reasons.append("pushes without an answer that had reached the queue")


def _bars(row: Row, before: Levels, after: Levels) -> list[Bar]:
    limit_s = BACK_WITHIN_S * TIME_FACTOR
    back = "never" if row.back_s is None else f"{row.back_s:.1f} s"
    is_back = row.back_s is not None and row.back_s <= FAILS_AFTER * limit_s
    memory, files = _grown(before, after) or ([], [])
    found = [
        Bar(f"back within {BACK_WITHIN_S:.0f} s", row.back_s is not None and row.back_s <= limit_s, back, not is_back),
        Bar("every frame accounted for", row.unaccounted() == 0, f"{row.unaccounted()} are not"),
        Bar("memory as before", not memory, ", ".join(memory)),
        Bar("descriptors as before", not files, ", ".join(files)),
        Bar("memory below half of the limit", not (large := _large(after)), ", ".join(large)),
    ]
    if row.pause_s is not None:
        paused, limit_s = f"{row.pause_s:.1f} s", PAUSE_LIMIT_S * TIME_FACTOR
        what = f"other streams pause for at most {PAUSE_LIMIT_S:.0f} s"
        found.append(Bar(what, row.pause_s <= limit_s, paused, fails=row.pause_s > FAILS_AFTER * limit_s))
    return found


def _large(after: Levels) -> list[str]:
    """The services that use more than half of the limit that the manifests give them."""
    found = []
    for name, (rss, _) in after.items():
        limit = LIMITS_MB.get(name.rpartition("-")[0] if name[-1:].isdigit() else name)
        if limit is not None and rss > limit / 2:
            found.append(f"{name} {rss:.0f} of {limit} MB")
    return found
