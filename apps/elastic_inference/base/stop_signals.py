"""Signals that end a program, handled in a thread of their own.

A signal handler runs in the main thread between any two of its instructions. If it took a lock that the main thread
holds just then, the program would never end. So the handler only passes the signal on.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType


def watch_signals(
    numbers: Iterable[signal.Signals], begin: Callable[[signal.Signals], None], *, once: bool = False
) -> None:
    """Calls `begin` with each of these signals, in a daemon thread. Main thread only.

    With `once`, a second signal of a kind ends the process at once.
    """
    # Its `put` may interrupt another one; that of `queue.Queue` may not.
    received: queue.SimpleQueue[int] = queue.SimpleQueue()

    def watch() -> None:
        while True:
            begin(signal.Signals(received.get()))

    def handle(number: int, _frame: FrameType | None) -> None:
        if once:
            signal.signal(number, signal.SIG_DFL)
        received.put(number)

    threading.Thread(target=watch, name="signals", daemon=True).start()
    for number in numbers:
        signal.signal(number, handle)
