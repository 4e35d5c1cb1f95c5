"""Bounds what the playlists of an HLS camera may be: FFmpeg keeps a record of about 150 bytes for each short entry.

Called by `hls_proxy`, for each answer.
"""

from __future__ import annotations

import re

from elastic_inference.adapters.source.input_errors import NO_HTTP

# A day of two-second segments has 3 MB.
MAX_PLAYLIST_BYTES = 4 << 20
# FFmpeg keeps 10 kB for each, and asks for all of them.
MAX_VERSIONS = 128
_VERSION_TAGS = (b"#EXT-X-STREAM-INF:", b"#EXT-X-MEDIA:")
_MAX_HEAD_BYTES = 32768
_ENCODED = re.compile(rb"(?im)^content-encoding[ \t]*:[ \t]*(?!identity[ \t]*\r?$)\S")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding[ \t]*:")
_CHUNK_HEAD = re.compile(rb"\s{0,4}[0-9a-fA-F]{1,16}[^\r\n]{0,200}\r?\n")
_LONGEST_CHUNK_HEAD = 256


class PlaylistBytes:
    """How much of playlists has come, over all connections of a camera: bytes since the last complete frame, versions
    of the stream since the begin."""

    def __init__(self) -> None:
        self.count = 0
        self._versions = 0

    def add_versions(self, playlist: bytes) -> str:
        """Counts the versions that a whole playlist names. Returns why it is refused, after the camera's name."""
        self._versions += sum(playlist.count(tag) for tag in _VERSION_TAGS)
        if self._versions <= MAX_VERSIONS:
            return ""
        return f"names more than {MAX_VERSIONS} versions of its stream: use the address of one of them."


class PlaylistGuard:
    """Inspects one answer. `refusal` says why its connection must end."""

    def __init__(self, playlists: PlaylistBytes) -> None:
        self.refusal = ""
        self._playlists = playlists
        self._begin: bytes | None = b""  # until it is known what the answer holds
        self._is_playlist = False

    @property
    def is_playlist(self) -> bool:
        """Whether what has come shows that the answer is a playlist."""
        return self._is_playlist

    def allows(self, data: bytes) -> bool:
        """Whether `data`, the next piece, may pass."""
        if self._begin is not None:
            self._begin += data
            self._look(self._begin)
        if self._is_playlist:
            self._playlists.count += len(data)
            if self._playlists.count > MAX_PLAYLIST_BYTES:
                self.refusal = (
                    f"sends a playlist of more than {MAX_PLAYLIST_BYTES >> 20} MB: use one with fewer entries."
                )
        return not self.refusal

    def _look(self, begin: bytes) -> None:
        head, end, body = begin.partition(b"\r\n\r\n")
        if not end:
            if len(begin) > _MAX_HEAD_BYTES:
                self.refusal = NO_HTTP
            return
        if _ENCODED.search(head):
            # A few megabytes could become gigabytes.
            self.refusal = "compresses what it sends although nobody asked for that: turn compression off."
            return
        if _CHUNKED.search(head):
            size = _CHUNK_HEAD.match(body)
            if size is None and len(body) < _LONGEST_CHUNK_HEAD:
                return
            body = body[size.end() :] if size is not None else body
        if body:
            # Neither MPEG-TS nor MP4 begins like this.
            self._is_playlist, self._begin = body[:1] == b"#", None
