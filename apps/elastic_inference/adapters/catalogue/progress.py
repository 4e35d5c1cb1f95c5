"""Shows the progress of a download: a bar on a terminal, otherwise one line per file."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO

_BAR = 28
_REDRAW_S = 0.1


class Progress(Protocol):
    """Receives the progress of one file after another."""

    def start(self, label: str, total_bytes: int) -> None:
        """Records that a file starts."""
        ...

    def advance(self, done_bytes: int) -> None:
        """Records that `done_bytes` of it have arrived."""
        ...

    def finish(self, outcome: str) -> None:
        """Records that it is complete."""
        ...

    def note(self, line: str) -> None:
        """Shows another message, such as a retry."""
        ...


class Silent:
    """Shows nothing."""

    def start(self, label: str, total_bytes: int) -> None:
        """See `Progress`."""

    def advance(self, done_bytes: int) -> None:
        """See `Progress`."""

    def finish(self, outcome: str) -> None:
        """See `Progress`."""

    def note(self, line: str) -> None:
        """See `Progress`."""


class Console:
    """Writes to standard error: a bar on a terminal, otherwise one line per finished file."""

    def __init__(self, out: TextIO | None = None) -> None:
        """`out` replaces standard error."""
        self._out = out or sys.stderr
        self._terminal = self._out.isatty()
        self._label = ""
        self._total = 1
        self._drawn_at = 0.0

    def start(self, label: str, total_bytes: int) -> None:
        """See `Progress`."""
        self._label, self._total, self._drawn_at = label, max(1, total_bytes), 0.0
        self.advance(0)

    def advance(self, done_bytes: int) -> None:
        """See `Progress`."""
        now = time.monotonic()
        if not self._terminal or (now - self._drawn_at < _REDRAW_S and done_bytes < self._total):
            return
        self._drawn_at = now
        share = min(1.0, done_bytes / self._total)
        bar = ("#" * round(share * _BAR)).ljust(_BAR, ".")
        megabytes = f"{done_bytes / 1e6:.1f} of {self._total / 1e6:.1f} MB"
        self._write(f"\r[{bar}] {share:4.0%}  {megabytes}  {self._label}\x1b[K")

    def finish(self, outcome: str) -> None:
        """See `Progress`."""
        start = "\r" if self._terminal else ""
        end = "\x1b[K\n" if self._terminal else "\n"
        self._write(f"{start}{self._label}: {outcome} ({self._total / 1e6:.1f} MB){end}")

    def note(self, line: str) -> None:
        """See `Progress`."""
        self._write(("\r\x1b[K" if self._terminal else "") + line + "\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
