"""The open tunnels and event streams, and whether they may stay open. Called by their handlers and by `server`."""

from __future__ import annotations

from collections.abc import Callable

Close = Callable[[], object]


class OpenConnections:
    """For each open connection: how to close it, and whether its token still allows it. Not thread-safe."""

    def __init__(self) -> None:
        self._open: dict[Close, Callable[[], bool]] = {}

    def add(self, close: Close, may_stay: Callable[[], bool]) -> None:
        """Adds a connection; it is closed at once if its token was removed while it was being opened."""
        self._open[close] = may_stay
        if not may_stay():
            close()

    def remove(self, close: Close) -> None:
        """Forgets a connection that has ended."""
        self._open.pop(close, None)

    def end_refused(self) -> None:
        """Closes connections that are no longer allowed; called after the tokens have changed."""
        for close in [each for each, may_stay in self._open.items() if not may_stay()]:
            close()
