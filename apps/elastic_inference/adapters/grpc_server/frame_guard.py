"""Checks the lengths of HTTP/2 frames before `h2` sees them. Pure.

`h2` looks at a frame's length once it has the whole frame: up to 16 MiB of each connection would wait in memory.
"""

from __future__ import annotations

# The length of the text that starts a connection; `h2` checks it.
_PREFACE_BYTES = 24
_HEADER_BYTES = 9
# The maximum that HTTP/2 gives a server that asks for no other.
MAX_FRAME_BYTES = 16 * 1024
# Header fields that need a second frame are longer than what we accept.
_CONTINUATION = 9


class FrameGuard:
    """Follows one connection."""

    def __init__(self) -> None:
        # Frames that have begun.
        self.frames = 0
        self._skip = _PREFACE_BYTES
        self._header = bytearray()

    def accepts(self, data: bytes) -> bool:
        """Whether all frames that start in `data`, the next bytes of the connection, are allowed."""
        offset = 0
        while offset < len(data):
            if self._skip:
                step = min(self._skip, len(data) - offset)
                self._skip -= step
                offset += step
                continue
            step = min(_HEADER_BYTES - len(self._header), len(data) - offset)
            self._header += data[offset : offset + step]
            offset += step
            if len(self._header) == _HEADER_BYTES:
                length, kind = int.from_bytes(self._header[:3], "big"), self._header[3]
                if length > MAX_FRAME_BYTES or kind == _CONTINUATION:
                    return False
                self._skip = length
                self.frames += 1
                self._header.clear()
        return True
