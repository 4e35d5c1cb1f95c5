"""Bounds what the playlists of an HLS camera may be: FFmpeg keeps a record of about 150 bytes for each short entry.

Called by `hls_proxy`, for each answer.
"""

from __future__ import annotations

# A day of two-second segments has 3 MB.
MAX_PLAYLIST_BYTES = 4 << 20
# FFmpeg keeps 10 kB for each, and asks for all of them.
MAX_VERSIONS = 128
_VERSION_TAGS = (b"#EXT-X-STREAM-INF:", b"#EXT-X-MEDIA:")
# Neither MPEG-TS nor MP4 begins like this.
_FIRST_BYTE = b"#"


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
    """Inspects the body of one answer. `refusal` says why its connection must end."""

    def __init__(self, playlists: PlaylistBytes) -> None:
        self.refusal = ""
        self.is_playlist = False
        self._playlists = playlists
        self._begun = False

    def allows(self, data: bytes) -> bool:
        """Whether `data`, the next piece of at least one byte, may pass."""
        if not self._begun:
            self._begun, self.is_playlist = True, data.startswith(_FIRST_BYTE)
        if self.is_playlist:
            self._playlists.count += len(data)
            if self._playlists.count > MAX_PLAYLIST_BYTES:
                self.refusal = (
                    f"sends a playlist of more than {MAX_PLAYLIST_BYTES >> 20} MB: use one with fewer entries."
                )
        return not self.refusal
