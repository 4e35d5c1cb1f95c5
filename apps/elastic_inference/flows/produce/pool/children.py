"""The child processes of a source worker: distributes cameras among them, and handles crashes.

Called by `source_worker`, from one thread, except `metrics`.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Mapping

from elastic_inference.base.backoff import Backoff
from elastic_inference.base.log import Throttle
from elastic_inference.flows.produce.pool.blame import Records, guilty
from elastic_inference.flows.produce.pool.channel import Message
from elastic_inference.flows.produce.pool.child_process import Assignment, ChildProcess
from elastic_inference.flows.produce.pool.costs import Costs

log = logging.getLogger(__name__)
# Another process is started when each of the others would use more than this, in cores.
START_ANOTHER_ABOVE = 0.5
# It is started ahead of need, so that a camera claimed from another worker need not wait for it.
START_AHEAD_ABOVE = 0.25
MOST_ALONE = 4
# A child that sends nothing for this long, while this process runs, hangs.
SILENT_LIMIT_S = 30.0
# Limit for the first message: on a node without spare CPU, Python starts slowly.
START_LIMIT_S = 120.0
METRICS_LIMIT_S = 1.0
# If a process ends this soon after its start, and no camera is to blame, the next one starts after a pause that grows.
SHORT_LIFE_S = 10.0


class Children:
    """Runs the cameras that it is given. A camera whose process crashes continues in another one."""

    def __init__(self, most: int, window_s: float) -> None:
        """Runs at most `most` processes, and some more for cameras in quarantine."""
        self.most = most
        self._shared: list[ChildProcess] = []
        self._alone: dict[str, ChildProcess] = {}
        self._homes: dict[str, ChildProcess] = {}
        self._wanted: dict[str, Assignment] = {}
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._started = 0
        self._start_at = 0.0
        self._backoff = Backoff(0.25, 10.0)
        self._throttle = Throttle()
        self._stepped_at = time.monotonic()
        self.records = Records()
        self.costs = Costs(window_s)
        self._answered = threading.Condition()
        self._asked = 0
        self._answers: dict[int, tuple[int, list[Message]]] = {}

    def start_first(self) -> None:
        """Starts a process before there is a camera, so that the first camera need not wait for it."""
        if not self._shared and (child := self._start(time.monotonic())) is not None:
            self._shared.append(child)

    @property
    def ready(self) -> bool:
        """Whether a process is running and ready to read messages."""
        return any(child.follows for child in self._shared)

    def put(self, name: str, camera: Assignment) -> None:
        """Adds a camera, or changes it."""
        before = self._wanted.get(name)
        self._wanted[name] = camera
        if before is not None and before.revision != camera.revision:
            self._forgive(name)
        if home := self._homes.get(name):
            home.put(name, camera)
        else:
            self._assign(name)

    def remove(self, name: str) -> None:
        """Ends a camera."""
        self._wanted.pop(name, None)
        self.costs.forget(name)
        if home := self._homes.pop(name, None):
            home.remove(name)
            if self._alone.pop(name, None):
                home.begin_end()  # `step` sees its end

    def extend(self, until: Mapping[str, float]) -> None:
        """Tells until when (monotonic) each camera may push."""
        for name, at in until.items():
            if name in self._wanted:
                self._wanted[name].until = at
        for child in self._all():
            child.extend(until)

    def names(self) -> set[str]:
        """The cameras that it runs or should run."""
        return set(self._wanted)

    def assignment(self, name: str) -> Assignment | None:
        """The last assignment of a camera."""
        return self._wanted.get(name)

    def wake(self) -> None:
        """Ends a `step` that waits. For any thread."""
        with contextlib.suppress(OSError):
            self._wake.send(b".")

    def report(self, name: str) -> Message | None:
        """What its process last said about a camera."""
        home = self._homes.get(name)
        return home.reports.get(name) if home else None

    def cpu_s(self) -> Iterable[tuple[int, float]]:
        """(number, CPU seconds so far) of each process."""
        return [(child.number, child.cpu_s) for child in self._all()]

    def step(self, timeout_s: float) -> None:
        """Waits for messages, handles them, and supervises the processes."""
        for key, _ in self._selector.select(timeout_s):
            child: ChildProcess | None = key.data
            if child is None:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
                continue
            messages = child.receive()
            if messages is None:
                self._ended(child)
            else:
                self._note(child, messages)
        now = time.monotonic()
        # This process may have been frozen itself: silence counts only while it runs.
        passed_s, self._stepped_at = min(now - self._stepped_at, 1.0), now
        for child in self._all():
            child.flush()
            child.silent_s += passed_s
            if child.hangs or child.silent_s > (SILENT_LIMIT_S if child.follows else START_LIMIT_S):
                log.error("camera process %d hangs: replacing it", child.pid)
                child.hangs = True
                self._ended(child)
        for name in self.records.forgive(now):
            log.info("%s leaves quarantine: it has run for a long time without a crash", name)
            self._leave_quarantine(name)
        for name in self._wanted.keys() - self._homes.keys():
            self._assign(name)
        self._start_ahead(now)

    def metrics(self) -> list[Message]:
        """The metrics of all processes. For any thread."""
        children = self._all()
        with self._answered:
            self._asked += 1
            number = self._asked
        for child in children:
            child.request_metrics(number)
        deadline = time.monotonic() + METRICS_LIMIT_S
        numbers = [child.number for child in children]
        with self._answered:
            self._answered.wait_for(
                lambda: all(self._answers.get(each, (0, []))[0] >= number for each in numbers),
                max(0.0, deadline - time.monotonic()),
            )
            return [family for each in numbers for family in self._answers.get(each, (0, []))[1]]

    def close(self) -> None:
        """Ends all processes."""
        children = self._all()
        for child in children:
            child.begin_end()
        for child in children:
            self._selector.unregister(child.channel)
            child.end()
        self._shared, self._alone, self._homes = [], {}, {}
        self._selector.close()
        self._woken.close()
        self._wake.close()

    def _all(self) -> list[ChildProcess]:
        return [*self._shared, *self._alone.values()]

    def _note(self, child: ChildProcess, messages: list[Message]) -> None:
        now = time.monotonic()
        for message in messages:
            if message["op"] == "report":
                for name, each in child.reports.items():
                    self.costs.note(name, each["cpu_s"], now)
                    if not each["opening"]:
                        self.records.opened(name)
            elif message["op"] == "metrics":
                with self._answered:
                    self._answers[child.number] = message["id"], message["families"]
                    self._answered.notify_all()

    def _ended(self, child: ChildProcess) -> None:
        self._selector.unregister(child.channel)
        opening = child.opening()
        code, report = child.end()
        self._answers.pop(child.number, None)
        if child in self._shared:
            self._shared.remove(child)
        names = list(child.cameras)
        for name in names:
            self._homes.pop(name, None)
            self._alone.pop(name, None)
        if not names and code == 0:
            return
        now = time.monotonic()
        suspects = [] if child.hangs else [name for name in guilty(code, report, opening) if name in child.cameras]
        log.error(
            "camera process %d has ended (%s); %s; cameras that continue in another process: %d",
            *(child.pid, f"signal {-code}" if code < 0 else f"exit code {code}"),
            *(f"suspected: {', '.join(suspects[:5])}" if suspects else "no camera is suspected", len(names)),
        )
        if now - child.started_at >= SHORT_LIFE_S:
            self._backoff.reset()
        elif len(suspects) != 1:
            self._start_at = now + self._backoff.next_s()
        if len(suspects) > 1:
            self.records.doubt(suspects)
        for name in suspects if len(suspects) == 1 else ():
            self.records.crashed(name, now)
            if self.records.quarantined(name):
                log.error("%s is in quarantine: %s", name, self.records.sentence(name, now))
        # Cameras that are not suspected come first, so that they go to processes that run already.
        for name in sorted(names, key=self.records.suspect):
            self._assign(name, hurry=not self.records.suspect(name))

    def _assign(self, name: str, hurry: bool = False) -> None:
        """With `hurry`, prefers a running process to one that must be started."""
        now = time.monotonic()
        if self.records.doubted(name) and any(map(self._tries, self._homes)):
            return  # `step` tries again
        if self.records.quarantined(name):
            if not self.records.may_run(name, now) or len(self._alone) >= MOST_ALONE:
                return
            chosen = self._start(now)
            if chosen is not None:
                self._alone[name] = chosen
        else:
            chosen = self._choose(name, hurry, now)
        if chosen is None:
            return  # `step` tries again
        self._homes[name] = chosen
        chosen.put(name, self._wanted[name])

    def _tries(self, name: str) -> bool:
        """Whether a doubted camera is being opened."""
        report = self.report(name)
        return self.records.doubted(name) and (report is None or report["opening"])

    def _start_ahead(self, now: float) -> None:
        if not 0 < len(self._shared) < self.most:
            return
        if min(sum(map(self.costs.of, child.cameras)) for child in self._shared) > START_AHEAD_ABOVE:
            another = self._start(now)
            if another is not None:
                self._shared.append(another)

    def _choose(self, name: str, hurry: bool, now: float) -> ChildProcess | None:
        suspect = self.records.suspect(name)
        loads = {child: sum(map(self.costs.of, child.cameras)) for child in self._shared}
        best = min(loads, key=loads.__getitem__, default=None)
        room = len(self._shared) < self.most
        wants_another = suspect or best is None or loads[best] + self.costs.of(name) > START_ANOTHER_ABOVE
        if best is not None and (hurry or not room or not wants_another or not best.cameras):
            return best
        another = self._start(now)
        if another is not None:
            self._shared.append(another)
        return another or best

    def _start(self, now: float) -> ChildProcess | None:
        """None during the pause after processes that ended soon after their start, or could not be started."""
        if now < self._start_at:
            return None
        self._started += 1
        try:
            child = ChildProcess(self._started)
        except OSError as error:
            # No descriptor, process or memory is left: cameras in other processes continue meanwhile.
            self._start_at = now + self._backoff.next_s()
            if note := self._throttle.note("start"):
                log.error("no camera process can be started, retrying: %s %s", error, note)
            return None
        self._selector.register(child.channel, selectors.EVENT_READ, child)
        log.info("camera process %d has been started", child.pid)
        return child

    def _forgive(self, name: str) -> None:
        """A changed camera starts with a clean record."""
        self.records.forget(name)
        self._leave_quarantine(name)

    def _leave_quarantine(self, name: str) -> None:
        if child := self._alone.pop(name, None):
            self._homes.pop(name, None)
            child.remove(name)
            child.begin_end()  # `step` sees its end
