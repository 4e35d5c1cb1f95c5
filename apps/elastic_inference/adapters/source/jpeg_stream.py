"""Finds the JPEG images in a stream of bytes by their own markers. Pure: bytes in, JPEGs out.

Called by `http_stream` and `usb`. Cameras send multipart bodies with wrong or missing boundaries, lengths and headers;
the images themselves always begin with a marker. Markers: ITU-T T.81, table B.1.
"""

from __future__ import annotations

import re

from elastic_inference.domain.errors import SourceError

# In entropy-coded data a 0xFF is followed by a stuffed 0, a restart marker or another 0xFF; anything else is a marker.
_MARKER = re.compile(rb"\xff(?=[^\x00\xd0-\xd7\xff])")
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
# Not a start followed directly by an end or another start: random data would give an image for every four bytes.
_START = re.compile(rb"\xff\xd8(?!\xff[\xd8\xd9])")
_START_OF_SCAN = 0xDA
_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r?$")
_HEAD_BYTES = 8192
# Limits of what separates two parts of a multipart body: length of the boundary, number of lines.
_BOUNDARY_BYTES = 202
_HEAD_LINES = 32


class JpegStream:
    """Cuts what it is fed into JPEG images. Buffers at most one image of `max_bytes` and a part's header."""

    def __init__(self, max_bytes: int) -> None:
        """An image of more than `max_bytes` is skipped and counted in `oversize`."""
        self._max = max_bytes
        self._buffer = bytearray()
        self._walk: _Walk | None = None
        self._length: int | None = None
        self._skipped = 0
        self.oversize = 0
        self.unfinished = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the images that `data` completes. An image whose end is missing gets one, and is counted in
        `unfinished`; if it has only a header, it is left out. Raises SourceError if no image begins within eight times
        `max_bytes`.
        """
        self._buffer += data
        images: list[bytes] = []
        while self._step(images):
            pass
        return images

    def _step(self, images: list[bytes]) -> bool:
        if self._walk is None:
            return self._find_start()
        if self._length is not None:
            return self._take_length(images)
        end = self._walk.end(self._buffer)
        if end is not None:
            self._emit(images, end, self._walk.finished, self._walk.has_scan)
            return True
        if len(self._buffer) > self._max + _HEAD_BYTES:
            self._drop()
            return True
        return False

    def _find_start(self) -> bool:
        found = _START.search(self._buffer)
        if found is None:
            surplus = len(self._buffer) - _HEAD_BYTES
            if surplus > 0:
                del self._buffer[:surplus]
                self._skipped += surplus
                if self._skipped > 8 * self._max:
                    raise SourceError(f"The camera sends no JPEG image within {self._skipped} bytes.")
            return False
        start = found.start()
        lengths = _LENGTH.findall(self._buffer, 0, start)
        self._length = int(lengths[-1]) if lengths else None
        if self._length is not None and not 4 <= self._length <= self._max:
            if self._length > self._max:
                del self._buffer[:start]
                self._drop()
                return True
            self._length = None
        del self._buffer[:start]
        self._skipped = 0
        self._walk = _Walk()
        return True

    def _take_length(self, images: list[bytes]) -> bool:
        """Uses the length that the part's header states, unless what follows shows that it is wrong."""
        length = self._length or 0
        if len(self._buffer) < length:
            # If the stated length is too large, the image may end long before it.
            walk = self._walk
            end = walk.end(self._buffer) if walk is not None else None
            if end is not None and walk is not None and walk.finished and len(self._buffer) > end + 2:
                self._length = None
                return True
            return False
        self._length = None
        body = bytes(self._buffer[:length]).rstrip(b"\0\r\n")
        if body.endswith(_EOI):
            self._emit(images, length, True)
        return True

    def _emit(self, images: list[bytes], end: int, finished: bool, has_scan: bool = True) -> None:
        image = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._walk = None
        if len(image) > self._max:
            self.oversize += 1
            return
        if finished:
            images.append(image.rstrip(b"\0\r\n") if not image.endswith(_EOI) else image)
            return
        self.unfinished += 1
        if has_scan:
            images.append(_cut_boundary(image) + _EOI)

    def _drop(self) -> None:
        self.oversize += 1
        self._walk = None
        self._length = None
        # Keep looking after this image's first bytes.
        del self._buffer[: max(2, len(self._buffer) - _HEAD_BYTES)]


class _Walk:
    """Walks an image's segments, from where it last stopped. `finished`: whether the end marker was present."""

    def __init__(self) -> None:
        self._at = 2
        self._in_scan = False
        self.has_scan = False
        self.finished = True

    def end(self, buffer: bytearray) -> int | None:
        """The offset at which the image ends, None if more bytes are needed."""
        while True:
            if self._in_scan and not self._find_marker(buffer):
                return None
            if self._at + 4 > len(buffer):
                # An end marker has no length: two bytes are enough.
                return self._close() if buffer[self._at : self._at + 2] == _EOI else None
            marker = buffer[self._at + 1] if buffer[self._at] == 0xFF else 0x00
            if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD7:
                # Bytes before a marker, which libjpeg passes over with a warning.
                if not self._find_marker(buffer):
                    return None
                continue
            if marker == 0xD9:
                return self._close()
            if marker == 0xD8:
                self.finished = False
                return self._at
            if marker == 0x01:
                self._at += 2
                continue
            length = (buffer[self._at + 2] << 8) | buffer[self._at + 3]
            self._at += 2 + max(length, 2)
            self._in_scan = marker == _START_OF_SCAN
            self.has_scan = self.has_scan or self._in_scan

    def _find_marker(self, buffer: bytearray) -> bool:
        """Goes to the next marker. If there is none yet, the next search begins where this one ended."""
        found = _MARKER.search(buffer, self._at)
        self._at = found.start() if found else max(self._at, len(buffer) - 1)
        self._in_scan = self._in_scan and found is None
        return found is not None

    def _close(self) -> int:
        return self._at + 2


def whole_jpeg(data: bytes) -> bytes:
    """The one image in `data`, without what follows it, and with an end marker if it lacks one.

    USB cameras return whole buffers with padding after the image. Data without an image comes back unchanged.
    """
    if data[:2] != _SOI:
        return data
    walk = _Walk()
    end = walk.end(bytearray(data))
    if end is None:
        return data.rstrip(b"\0") + _EOI
    return data[:end] if walk.finished else data[:end] + _EOI


def _cut_boundary(image: bytes) -> bytes:
    """The image without the last boundary and what follows it. Looks only at the last few lines."""
    begin = max(2, len(image) - _HEAD_BYTES)
    newline = image.rfind(b"\n", begin)
    for _ in range(_HEAD_LINES):
        if newline < 0:
            break
        before = image.rfind(b"\n", begin, newline)
        end = newline - 1 if image[newline - 1 : newline] == b"\r" else newline
        at = image.find(b"--", max(before + 1, begin, end - _BOUNDARY_BYTES), end)
        if 0 <= at < end - 2:
            return image[:at].removesuffix(b"\n").removesuffix(b"\r")
        newline = before
    return image
