"""Work in a thread beside a test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self


class Background:
    """Runs `run` in a thread while the `with` block lasts."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        """Returns soon after `_stop` is set."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(10)


@contextmanager
def beside(work: Callable[[threading.Event], object], limit_s: float | None = None) -> Iterator[None]:
    """Runs `work` in a thread while the block lasts, then sets the event and waits, at most `limit_s`."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(limit_s)


@contextmanager
def repeating(action: Callable[[], object], fps: float) -> Iterator[None]:
    """Calls `action` at this rate in a thread while the block lasts; raises at the end what it raised."""
    failed: list[Exception] = []

    def run(stop: threading.Event) -> None:
        due_s = time.monotonic()
        try:
            while not stop.is_set():
                action()
                due_s += 1 / fps
                stop.wait(max(0.0, due_s - time.monotonic()))
        except Exception as error:  # noqa: BLE001  raised again below
            failed.append(error)

    with beside(run, 10):
        yield
    if failed:
        raise failed[0]
