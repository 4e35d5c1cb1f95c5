"""The binary result message: the JSON of a `Result` and the image. The limits of that JSON.

Called by the pods, the relay and readers. Knows nothing of a result's fields, so the relay starts without pydantic's
models of them.
"""

from __future__ import annotations

import struct
from typing import Final

from elastic_inference.domain.errors import InvalidResultError

RESULT_VERSION: Final = 1
MAX_RESULT_JSON_BYTES = 1024 * 1024
# 1 MiB of brackets would take 80 MB as Python objects. Twenty thousand detections have fewer brackets.
MAX_RESULT_BRACKETS = 65_536
_LENGTH = struct.Struct(">I")


def check_size(document: bytes | str) -> None:
    """Raises InvalidResultError for JSON that would take far more memory than a result. Call it before parsing."""
    if len(document) > MAX_RESULT_JSON_BYTES:
        raise InvalidResultError(f"a result of {len(document)} bytes of JSON, at most {MAX_RESULT_JSON_BYTES} are read")
    text = document.encode(errors="replace") if isinstance(document, str) else document
    opened = text.count(b"[") + text.count(b"{")
    if opened > MAX_RESULT_BRACKETS:
        raise InvalidResultError(f"a result of {opened} lists and maps, at most {MAX_RESULT_BRACKETS} are read")


def join_message(document: bytes, jpeg: bytes) -> bytes:
    """The binary result message: 4 bytes big-endian length, the JSON, the original JPEG."""
    return b"".join((_LENGTH.pack(len(document)), document, jpeg))


def split_message(message: bytes | memoryview) -> tuple[bytes, memoryview]:
    """(JSON, JPEG) of a result message; the JPEG is a view, not a copy. Raises InvalidResultError."""
    if len(message) < _LENGTH.size:
        raise InvalidResultError(f"a result message has {len(message)} bytes, expected at least {_LENGTH.size}")
    (length,) = _LENGTH.unpack_from(message)
    if length > MAX_RESULT_JSON_BYTES or _LENGTH.size + length > len(message):
        raise InvalidResultError(f"a result message of {len(message)} bytes claims {length} bytes of JSON")
    view = memoryview(message)
    return bytes(view[4 : 4 + length]), view[4 + length :]
