"""A process that a test can freeze."""

from __future__ import annotations

import signal
import subprocess
from typing import Any


class Freezable:
    """What runs as one process, from its start to its end."""

    _process: subprocess.Popen[Any] | None = None

    def freeze(self) -> None:
        """Stops the process without ending it: its connections stay open and silent until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen process continue."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
