"""Tunnels and event streams that are open, and whether they still may be. Called by their handlers and by `server`."""

from __future__ import annotations

from collections.abc import Callable

Close = Callable[[], object]


class OpenConnections:
    """What ends a connection, with the question whether its token still allows it. One event loop."""

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
        """Ends those that may no longer stay; called after the tokens have changed."""
        for close in [each for each, may_stay in self._open.items() if not may_stay()]:
            close()
