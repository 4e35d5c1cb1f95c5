"""Runs processes side by side: named log lines, restarts with backoff, and a stop that leaves nothing running.

Called by the demo. Independent of what the processes do. The thread that calls `run` starts all processes, since on
Linux a child gets its signal to end when that thread ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TextIO

from elastic_inference.base.backoff import Backoff
from elastic_inference.base.exit_codes import FINAL_EXITS
from elastic_inference.base.log import one_line
from elastic_inference.base.stop_signals import watch_signals

STOP_LIMIT_S = 4.0  # then SIGKILL; the demo promises to end within 5 s
STEADY_S = 20.0  # a child that ran for this long gets a fresh backoff
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)
# Longer lines are split.
_MAX_LINE = 8192
_PR_SET_PDEATHSIG = 1


@dataclass
class ServiceProcess:
    """One process to keep running.

    `group` orders the stop: a lower group gets SIGTERM first, so that producers end before pods and pods before Redis.
    After an exit with one of FINAL_EXITS a restart would not help: the supervisor stops everything.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    group: int = 0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    starts: int = 0
    next_start: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(0.5, 10.0))

    @property
    def running(self) -> bool:
        """Whether its process is running."""
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Keeps children running until `stop`, a signal, or the failure of a child for good."""

    def __init__(self, children: Sequence[ServiceProcess], out: TextIO | None = None) -> None:
        self.children = list(children)
        self.failure: str | None = None
        self._out = out or sys.stdout
        self._colour = self._out.isatty() and "NO_COLOR" not in os.environ
        self._width = max((len(child.name) for child in self.children), default=0)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []
        self._last_lines: dict[str, str] = {}

    def say(self, name: str, line: str) -> None:
        """Prints one line under a name. Lines of several children do not mix."""
        label = f"{name:<{self._width}} |"
        if self._colour:
            known = [child.name for child in self.children]
            colour = _COLOURS[known.index(name) % len(_COLOURS)] if name in known else 1
            label = f"\033[{colour}m{label}\033[0m"
        with self._lock, contextlib.suppress(BrokenPipeError, ValueError):
            self._out.write(f"{label} {one_line(line, _MAX_LINE)}\n")
            self._out.flush()

    def stop(self) -> None:
        """Makes `run` stop soon. May be called from another thread, not from a signal handler."""
        self._stop.set()

    def run(self, tick: Callable[[], None] | None = None) -> int:
        """Runs everything until it is stopped, and calls `tick` ten times per second. Returns the exit code."""
        watch_signals((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), lambda _number: self.stop())
        try:
            while not self._stop.wait(0.1):
                now = time.monotonic()
                for child in self.children:
                    self._attend(child, now)
                if self.failure:
                    break
                if tick is not None:
                    tick()
        finally:
            self._end()
        return 1 if self.failure else 0

    def _attend(self, child: ServiceProcess, now: float) -> None:
        if child.process is None:
            if now >= child.next_start:
                self._start(child, now)
            return
        code = child.process.poll()
        if code is None:
            return
        child.process = None
        if code in FINAL_EXITS and now - child.started < STEADY_S:
            for reader in self._readers:
                if reader.name == child.name:
                    reader.join(1)  # its last lines may still be in the pipe
            why = self._last_lines.get(child.name, "").removeprefix("error: ") or f"it ended with code {code}"
            self.failure = f"{child.name} cannot start: {why}"
            return
        if now - child.started > STEADY_S:
            child.backoff.reset()
        wait_s = child.backoff.next_s()
        child.next_start = now + wait_s
        ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        self.say(child.name, f"{ended}; restart in {wait_s:.1f} s")

    def _start(self, child: ServiceProcess, now: float) -> None:
        child.process = subprocess.Popen(  # noqa: S603  our own commands
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **child.environ},
            preexec_fn=_own_group_and_end_with_parent,  # noqa: PLW1509  libc is loaded before any thread runs
        )
        child.started = now
        child.starts += 1
        assert child.process.stdout is not None  # noqa: S101  for the type checker: a pipe was asked for
        reader = threading.Thread(
            target=self._copy, args=(child.name, child.process.stdout), name=child.name, daemon=True
        )
        reader.start()
        self._readers = [*(thread for thread in self._readers if thread.is_alive()), reader]

    def _copy(self, name: str, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(_MAX_LINE):
                text = line.decode(errors="replace").rstrip()
                if text:
                    self._last_lines[name] = text
                self.say(name, text)

    def _end(self) -> None:
        """SIGTERM group by group, each with its share of the time; SIGKILL for what is still running at the limit."""
        limit = time.monotonic() + STOP_LIMIT_S
        groups = sorted({child.group for child in self.children})
        for position, group in enumerate(groups):
            ending = [child for child in self.children if child.group == group and child.running]
            for child in ending:
                _signal(child, signal.SIGTERM)
            share_s = max(limit - time.monotonic(), 0.0) / (len(groups) - position)
            _wait(ending, time.monotonic() + share_s)
        _wait(self.children, limit)
        for child in self.children:
            if child.process is not None and child.running:
                self.say(child.name, "did not stop in time: killed")
                _signal(child, signal.SIGKILL)
                child.process.wait()
        for thread in self._readers:
            thread.join(0.5)


def _wait(children: Sequence[ServiceProcess], limit: float) -> None:
    for child in children:
        if child.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(limit - time.monotonic(), 0.0))


def _signal(child: ServiceProcess, number: signal.Signals) -> None:
    """Sends it to the child's whole process group, so that its own children end too."""
    if child.process is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, number)


@functools.cache
def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    except OSError:
        return None


def _own_group_and_end_with_parent() -> None:
    os.setpgid(0, 0)
    libc = _libc()
    if libc is not None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def preload() -> None:
    """Loads the library that the forked child calls, before there are threads."""
    _libc()
