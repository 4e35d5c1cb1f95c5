"""Reads a msgpack map without building nested values. Called by `frame_message`; uses msgpack.

A value takes one byte in a message and up to 500 as a Python object, so 4 MiB of nested maps took 1.5 GB. Here
only the values of the map itself are built. A nested value, an extension or a text over MAX_TEXT_BYTES becomes a
`Skipped`, which costs nothing, however large it is.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack

MAX_KEYS: Final = 64
# A name of 128 characters in UTF-8 fits.
MAX_TEXT_BYTES: Final = 512

# Type bytes of the msgpack specification that begin something to skip: maps, arrays, extensions, and texts with a
# length of two or four bytes.
_SKIPPED = {
    **dict.fromkeys((*range(0x80, 0x90), 0xDE, 0xDF), "map"),
    **dict.fromkeys((*range(0x90, 0xA0), 0xDC, 0xDD), "array"),
    **dict.fromkeys((*range(0xC7, 0xCA), *range(0xD4, 0xD9)), "extension"),
    **dict.fromkeys((0xDA, 0xDB), "long text"),
}


class Skipped:
    """A value that was not built; `kind` says what it is."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def read_flat_map(message: bytes) -> dict[Any, Any]:
    """The map in `message`, whose values are numbers, texts, bytes, True, False, None or `Skipped`.

    Raises ValueError for anything else: other types, more than MAX_KEYS keys, bytes after the map.
    """
    try:
        fields: Any = msgpack.unpackb(
            message,
            raw=False,
            strict_map_key=True,
            object_hook=_OnlyMap().accept,
            max_map_len=MAX_KEYS,
            max_array_len=0,
            max_ext_len=0,
            max_str_len=MAX_TEXT_BYTES,
        )
    except (ValueError, msgpack.UnpackException, RecursionError):
        # Slower, but a producer may add fields of its own.
        return _read_by_key(message)
    if not isinstance(fields, dict):
        raise ValueError(f"a msgpack {type(fields).__name__}, expected a map")  # noqa: TRY004  as for all that is wrong
    return fields


class _OnlyMap:
    """Refuses a second map. Inner maps are complete before outer ones, so at most one is built needlessly."""

    def __init__(self) -> None:
        self._found = False

    def accept(self, fields: dict[Any, Any]) -> dict[Any, Any]:
        if self._found:
            raise ValueError("a map in a map")
        self._found = True
        return fields


def _read_by_key(message: bytes) -> dict[Any, Any]:
    unpacker = msgpack.Unpacker(raw=False, max_buffer_size=len(message), max_str_len=MAX_TEXT_BYTES)
    fields: dict[Any, Any] = {}
    try:
        unpacker.feed(message)
        keys = unpacker.read_map_header()
        if keys > MAX_KEYS:
            raise ValueError(f"a map of {keys} keys, at most {MAX_KEYS} are accepted")
        for _ in range(keys):
            key = _value(unpacker, message)
            if not isinstance(key, str | bytes):
                raise ValueError("a key that is not a short text")  # noqa: TRY004
            fields[key] = _value(unpacker, message)
    except msgpack.OutOfData:
        raise ValueError("the map is cut off") from None
    except (msgpack.UnpackException, RecursionError) as error:
        raise ValueError(f"{type(error).__name__} {error}".strip()) from None
    if unpacker.tell() != len(message):
        raise ValueError(f"{len(message) - unpacker.tell()} extra bytes after the map")
    return fields


def _value(unpacker: Any, message: bytes) -> Any:
    at = unpacker.tell()
    kind = _SKIPPED.get(message[at]) if at < len(message) else None
    if kind is None:
        return unpacker.unpack()
    unpacker.skip()
    return Skipped(kind)
