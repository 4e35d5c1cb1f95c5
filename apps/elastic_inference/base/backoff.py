"""Pauses between attempts: exponential with jitter and a maximum. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Seconds to wait before each attempt: `first_s`, doubled each time up to `limit_s`; half of it is random."""

    first_s: float = 0.1
    limit_s: float = 2.0
    _next_s: float = field(default=0.0, init=False)

    def next_s(self) -> float:
        """How long to wait now, in seconds."""
        self._next_s = min(max(self._next_s * 2, self.first_s), self.limit_s)
        return self._next_s * random.uniform(0.5, 1.0)  # noqa: S311  jitter, not a secret

    @property
    def waited(self) -> bool:
        """Whether there was a failure since the last success."""
        return self._next_s > 0

    def reset(self) -> None:
        """Call after a success: the next failure waits `first_s` again."""
        self._next_s = 0.0
