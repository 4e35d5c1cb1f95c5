"""The message of `tombstones:<stream id>`: tombstones of a pod, for the relay, which puts results in order.

Written by `publisher`, read by the relay. Uses no Redis client.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.sequence import Tombstone

VERSION = 1


def tombstones_message(tombstones: Iterable[Tombstone]) -> bytes:
    """One message with all of one stream's tombstones: `{"v":1,"tombstones":[[order, reason], …]}`."""
    pairs = [[each.order, each.reason] for each in tombstones]
    return json.dumps({"v": VERSION, "tombstones": pairs}, separators=(",", ":")).encode()


def parse_tombstones(stream_id: str, message: bytes) -> list[Tombstone]:
    """The tombstones of one message. Raises InvalidResultError."""
    try:
        fields: Any = json.loads(message)
        if fields["v"] != VERSION:
            raise InvalidResultError(f"tombstones of a version other than {VERSION}")
        found = [Tombstone(stream_id, order, str(reason)) for order, reason in fields["tombstones"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        # Only the error's kind: its text may contain the whole message.
        raise InvalidResultError(f"tombstones that cannot be read ({type(error).__name__})") from None
    if not all(type(each.order) is int for each in found):
        raise InvalidResultError("a tombstone whose order is not an integer")
    return found
