"""Messages of tracks read back; anything else is refused."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.stream_broker.tracks import MAX_FRAMES, parse_tracks, tracks_message
from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.tracks import FrameTracks, TrackedObject

STREAM = "gate-1:people:inferred"
FRAME = FrameTracks(7, (TrackedObject(0, f"{STREAM}/1-2", ("yard", "Tür")), TrackedObject(3, f"{STREAM}/1-9")))


def test_tracks_survive_a_round_trip() -> None:
    frames = [FRAME, FrameTracks(8, ())]
    assert parse_tracks(STREAM, tracks_message(STREAM, frames)) == frames


def test_only_the_newest_frames_are_sent() -> None:
    frames = [FrameTracks(order, ()) for order in range(MAX_FRAMES + 5)]
    assert parse_tracks(STREAM, tracks_message(STREAM, frames)) == frames[5:]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[]",
        b'{"v":2,"tracks":[]}',
        b'{"v":1}',
        b'{"v":1,"tracks":1}',
        b'{"v":1,"tracks":[[1]]}',
        b'{"v":1,"tracks":[[true,[]]]}',
        b'{"v":1,"tracks":[[-1,[]]]}',
        b'{"v":1,"tracks":[[1,[[0,"other:people:inferred/1-2"]]]]}',
        b'{"v":1,"tracks":[[1,[["0","1-2"]]]]}',
        b'{"v":1,"tracks":[[1,[[0,"1-2",[1]]]]]}',
        b'{"v":1,"tracks":[[1,[[0,"1-2",["\\ud800"]]]]]}',
        b'{"v":1,"tracks":[[1,[[0,"1-2",[],0]]]]}',
        b"[" * 100_000,
        b" " * 2_000_000,
    ],
)
def test_refuses_what_it_cannot_read(message: bytes) -> None:
    with pytest.raises(InvalidResultError):
        parse_tracks(STREAM, message)
