"""What tells a playlist from video, in pieces of any size."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.source.playlist_guard import MAX_PLAYLIST_BYTES, PlaylistBytes, PlaylistGuard

OK = b"HTTP/1.1 200 OK\r\n"


def taken(answer: bytes, piece: int) -> tuple[bool, int]:
    """(whether it was allowed, bytes of playlists)."""
    playlists = PlaylistBytes()
    guard = PlaylistGuard(playlists)
    allowed = all(guard.allows(answer[at : at + piece]) for at in range(0, len(answer), piece))
    return allowed, playlists.count


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_a_playlist_is_counted_and_video_is_not(piece: int) -> None:
    playlist = b"#EXTM3U\n" + b"#EXTINF:1,\na.ts\n" * 50
    for head in (b"\r\n", b"Content-Encoding: identity\r\n\r\n"):
        allowed, count = taken(OK + head + playlist, piece)
        assert allowed
        assert count >= len(playlist) - 1
    chunks = b"Transfer-Encoding: chunked\r\n\r\n1\r\n#\r\n" + b"%x;a=b\r\n" % (len(playlist) - 1) + playlist[1:]
    assert taken(OK + chunks, piece)[1] >= len(playlist) - 1
    assert taken(OK + b"Content-Type: video/mp2t\r\n\r\nG" + playlist, piece) == (True, 0)
    assert taken(OK + b"Content-Encoding: gzip\r\n\r\n", piece) == (False, 0)


def test_too_much_of_several_playlists_or_of_a_head_is_refused() -> None:
    playlists = PlaylistBytes()
    guards = [PlaylistGuard(playlists), PlaylistGuard(playlists)]
    for guard in guards:
        assert guard.allows(OK + b"\r\n#" + b"x" * (MAX_PLAYLIST_BYTES // 2 - 100))
    assert not guards[0].allows(b"x" * 300)
    assert "playlist of more than 4 MB" in guards[0].refusal
    assert not taken(OK + b"X: " + b"x" * 100_000, 1000)[0]
