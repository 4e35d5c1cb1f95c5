"""Reads the entries of `results:{p}`: input from outside, since clients can write anything. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from elastic_inference.domain import keys
from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.result import Result, parse_result
from elastic_inference.domain.sequence import Tombstone

RESULT_FIELD = b"json"
TOMBSTONE_FIELD = b"gone"
_MAX_TOMBSTONE_BYTES = 1024
_MAX_ORDER = 2**62
_ID = re.compile(rb"(\d{1,19})-(\d{1,20})")
_TOP = 2**64 - 1

# Redis' time in ms, and a number within it: ids compare as they rise.
EntryId = tuple[int, int]
START: EntryId = (0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: a result or a tombstone, or None and the reason if it cannot be read."""

    id: EntryId
    item: Result | Tombstone | None
    problem: str = ""


def read_entry(raw: Any) -> Entry | None:
    """Parses one entry of XREAD's reply; None if it is malformed."""
    if not isinstance(raw, list) or len(raw) != 2:
        return None
    position = read_id(raw[0])
    if position is None:
        return None
    fields = raw[1] if isinstance(raw[1], list) else []
    if len(fields) != 2 or not isinstance(fields[1], bytes):
        return Entry(position, None, "expected one field")
    try:
        if fields[0] == RESULT_FIELD:
            return Entry(position, _result(fields[1]))
        if fields[0] == TOMBSTONE_FIELD:
            return Entry(position, _tombstone(fields[1]))
    except InvalidResultError as error:
        return Entry(position, None, str(error))
    return Entry(position, None, "expected the field json or gone")


def read_id(raw: object) -> EntryId | None:
    """Parses an entry's id; None if it is invalid."""
    match = _ID.fullmatch(raw) if isinstance(raw, bytes) and len(raw) <= 40 else None
    found = (int(match[1]), int(match[2])) if match else None
    return found if found and found[1] <= _TOP else None


def write_id(position: EntryId) -> str:
    """The id as Redis writes it."""
    return f"{position[0]}-{position[1]}"


def before(position: EntryId) -> EntryId:
    """The id right before this one."""
    return (position[0], position[1] - 1) if position[1] else (max(0, position[0] - 1), _TOP if position[0] else 0)


def _result(document: bytes) -> Result:
    result = parse_result(document)
    parts = keys.split_stream_id(result.stream)
    if parts is None or result.order > _MAX_ORDER:
        raise InvalidResultError("a result with an invalid stream or order")
    return result


def _tombstone(document: bytes) -> Tombstone:
    try:
        if len(document) > _MAX_TOMBSTONE_BYTES:
            raise ValueError
        found = json.loads(document)
        stream, order, reason = found["stream"], found["order"], found["reason"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidResultError("a malformed tombstone") from None
    if not isinstance(stream, str) or keys.split_stream_id(stream) is None:
        raise InvalidResultError("a tombstone without a stream")
    if type(order) is not int or not 0 <= order <= _MAX_ORDER or not isinstance(reason, str):
        raise InvalidResultError("a tombstone whose order is not a number")
    return Tombstone(stream, order, reason)
