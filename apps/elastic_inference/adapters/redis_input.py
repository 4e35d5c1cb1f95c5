"""Reads what Redis returns as input from outside: clients can write anything into the keys that they share with us.

Called by the frame queue and the stream broker. Nothing here raises: an unexpected value becomes None or 0, or is
left out.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache

from redis.exceptions import ResponseError

from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason

MAX_TEXT = 128
# More than one Redis can carry for a type. What is claimed beyond it was not counted by our scripts.
MAX_DROPS_A_SECOND = 20_000
# For the first claim, which may cover days without a pod.
_MAX_COUNT = 10**12
# The reasons that the queue's scripts count.
_CLAIMED = {reason.value.encode(): reason for reason in (DropReason.QUEUE_FULL, DropReason.STALE)}


def read_name(raw: object) -> str | None:
    """The name of a stream, a type or a pod; None if it is not one."""
    return _short_name(raw) if isinstance(raw, bytes) and len(raw) <= keys.NAME_LIMIT else None


@lru_cache(maxsize=1024)
def _short_name(raw: bytes) -> str | None:
    """Remembers what it has checked: a pod reads the same few names with each frame."""
    text = raw.decode("latin-1")
    return text if keys.is_name(text) else None


def read_text(raw: object) -> str:
    """At most MAX_TEXT characters that can be shown; what is not UTF-8 is replaced."""
    return raw[: 4 * MAX_TEXT].decode(errors="replace")[:MAX_TEXT] if isinstance(raw, bytes) else ""


def read_count(raw: object, maximum: int = _MAX_COUNT) -> int:
    """A whole number from 0 to `maximum`, from an integer or ASCII digits; 0 if it is neither."""
    if isinstance(raw, bytes):
        raw = int(raw) if 0 < len(raw) <= 18 and raw.isdigit() else 0
    return min(raw, maximum) if isinstance(raw, int) and raw > 0 else 0


def read_number(raw: object, maximum: float = 1e15) -> float:
    """A number from 0 to `maximum`; 0 for anything else."""
    try:
        number = float(raw) if isinstance(raw, (bytes, str, int, float)) and len(str(raw)) <= 64 else 0.0
    except ValueError:
        return 0.0
    return number if math.isfinite(number) and 0 <= number <= maximum else 0.0


def is_wrong_type(reply: object) -> bool:
    """Whether Redis refused a command because somebody has written a value of another type into its key."""
    return isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE")


def read_fields(raw: object) -> Mapping[bytes, bytes]:
    """The fields of a hash; none if the reply is an error or not a hash."""
    return raw if isinstance(raw, dict) else {}


class DropClaims:
    """Reads the drops that a pop has claimed: known reasons, and no more than could have happened since the last."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.refused = 0
        self._monotonic = monotonic
        self._read_at_s: float | None = None

    def skip(self) -> None:
        """Records that a pop has claimed nothing: what the next claim may hold is counted from here."""
        self._read_at_s = self._monotonic()

    def read(self, raw: object) -> Counter[DropReason]:
        """The drops of a reply of the pop script, `reason, count, …`. `refused` counts those above the bound."""
        now_s = self._monotonic()
        last_s, self._read_at_s = self._read_at_s, now_s
        found: Counter[DropReason] = Counter()
        if not isinstance(raw, list) or not raw:
            return found
        room = _MAX_COUNT if last_s is None else int(MAX_DROPS_A_SECOND * max(1.0, now_s - last_s))
        for name, value in zip(raw[::2], raw[1::2], strict=False):
            reason, count = _CLAIMED.get(name) if isinstance(name, bytes) else None, read_count(value)
            if reason is None or count == 0:
                continue
            kept = min(count, room)
            room -= kept
            self.refused += count - kept
            found[reason] += kept
        return found
