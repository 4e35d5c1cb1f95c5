"""What tells a playlist from video, in pieces of any size."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.source.playlist_guard import MAX_PLAYLIST_BYTES, PlaylistBytes, PlaylistGuard


def taken(body: bytes, piece: int) -> tuple[bool, int]:
    """(whether it was allowed, bytes of playlists)."""
    playlists = PlaylistBytes()
    guard = PlaylistGuard(playlists)
    allowed = all(guard.allows(body[at : at + piece]) for at in range(0, len(body), piece))
    return allowed, playlists.count


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_playlist_is_counted_and_video_is_not(piece: int) -> None:
    playlist = b"#EXTM3U\n" + b"#EXTINF:1,\na.ts\n" * 50
    assert taken(playlist, piece) == (True, len(playlist))
    assert taken(b"G" + playlist, piece) == (True, 0)


def test_too_much_of_several_playlists_is_refused() -> None:
    playlists = PlaylistBytes()
    guards = [PlaylistGuard(playlists), PlaylistGuard(playlists)]
    for guard in guards:
        assert guard.allows(b"#" + b"x" * (MAX_PLAYLIST_BYTES // 2 - 100))
    assert not guards[0].allows(b"x" * 300)
    assert "playlist of more than 4 MB" in guards[0].refusal
