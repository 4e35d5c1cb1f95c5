"""Splits a `multipart/x-mixed-replace` body into its parts. Pure: bytes in, JPEGs out.

Called by `mjpeg`. Accepts boundaries with and without the leading dashes, since cameras write both.
Format: RFC 2046, section 5.1.
"""

from __future__ import annotations

import re

from elastic_inference.domain.errors import SourceError

MAX_HEADER_BYTES = 8192
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_BOUNDARY = re.compile(r"boundary\s*=\s*(\"[^\"]{1,200}\"|[^\s;,]{1,200})", re.IGNORECASE)


def boundary_of(content_type: str) -> bytes:
    """Returns the boundary of a Content-Type without leading dashes. Raises SourceError if there is none."""
    found = _BOUNDARY.search(content_type)
    boundary = found.group(1).strip('"').lstrip("-") if found else ""
    if not content_type.lower().startswith("multipart/") or not boundary:
        raise SourceError(
            f"The camera answers with {content_type[:80]!r}, expected multipart/x-mixed-replace and a boundary."
        )
    return boundary.encode("latin-1", "replace")


class MultipartReader:
    """Splits the bytes it is fed into parts. Buffers at most `max_part_bytes` and one header."""

    def __init__(self, boundary: bytes, max_part_bytes: int) -> None:
        """A part of more than `max_part_bytes` is skipped and counted in `oversize`."""
        self._delimiter = re.compile(rb"(?:^|\n)-{0,6}" + re.escape(boundary) + rb"(?:--)?[ \t]*\r?\n")
        self._boundary = boundary
        self._keep = len(boundary) + 16
        self._scanned = 0  # leading bytes of the buffer that are known to hold no boundary
        self._max = max_part_bytes
        self._buffer = bytearray()
        self._in_part = False
        self._left: int | None = None  # remaining bytes of the part if its header states a length, else None
        self._skip = 0  # bytes of an oversize part still to skip
        self._passed = 0  # bytes skipped without finding a boundary
        self.oversize = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the parts that `data` completes. Raises SourceError if the body is not multipart."""
        self._buffer += data
        parts: list[bytes] = []
        while self._step(parts):
            pass
        return parts

    def _step(self, parts: list[bytes]) -> bool:
        if self._skip:
            taken = min(self._skip, len(self._buffer))
            self._cut(taken)
            self._skip -= taken
            return self._skip == 0
        if not self._in_part:
            return self._find_part()
        if self._left is not None:
            if len(self._buffer) < self._left:
                return False
            self._part(parts, self._left, self._left)
            return True
        found = self._find_delimiter()
        if found is None:
            if len(self._buffer) > self._max + self._keep:
                self.oversize += 1
                self._in_part = False
                self._passed = 0
                self._cut(len(self._buffer) - self._keep)
            return False
        end = found.start()
        if end and self._buffer[end - 1] == 0x0D:
            end -= 1
        # Keep the delimiter: it starts the next part.
        self._part(parts, end, found.start())
        return True

    def _part(self, parts: list[bytes], end: int, cut: int) -> None:
        if end > self._max:
            self.oversize += 1
        elif end:
            parts.append(bytes(self._buffer[:end]))
        self._cut(cut)
        self._in_part = False
        self._passed = 0

    def _find_delimiter(self) -> re.Match[bytes] | None:
        if self._buffer.find(self._boundary, self._scanned) < 0:
            self._scanned = max(0, len(self._buffer) - self._keep)
            return None
        return self._delimiter.search(self._buffer, max(0, self._scanned - self._keep))

    def _cut(self, size: int) -> None:
        del self._buffer[:size]
        self._scanned = 0

    def _find_part(self) -> bool:
        """Skips to the next boundary and past the part's header."""
        found = self._find_delimiter()
        if found is None:
            surplus = len(self._buffer) - self._keep
            if surplus > 0:
                self._cut(surplus)
                self._passed += surplus
            # Allow for the rest of an oversize part.
            if self._passed > 8 * self._max:
                raise SourceError(
                    f"The camera sends no boundary within {self._passed} bytes: this is not an MJPEG stream."
                )
            return False
        head = re.compile(rb"\r?\n\r?\n").search(self._buffer, found.end() - 1)
        if head is None:
            if len(self._buffer) - found.end() > MAX_HEADER_BYTES:
                raise SourceError(f"The camera sends a part whose header is longer than {MAX_HEADER_BYTES} bytes.")
            return False
        if head.end() - found.end() > MAX_HEADER_BYTES:
            raise SourceError(f"The camera sends a part whose header is longer than {MAX_HEADER_BYTES} bytes.")
        length = _LENGTH.search(bytes(self._buffer[found.end() : head.end()]))
        self._cut(head.end())
        self._in_part = True
        self._left = int(length.group(1)) if length else None
        if self._left is not None and self._left > self._max:
            self.oversize += 1
            self._skip = self._left
            self._in_part = False
            self._passed = 0
        return True
