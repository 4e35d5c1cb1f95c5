"""The message of `tracks:<stream id>`: tracks of some frames, for the relay, which joins them to the frames.

Written by the event service, read by the relay. Uses no Redis client. Tracks are written without the stream's id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.tracks import FrameTracks, TrackedObject

VERSION = 1
# Frames of one message, objects of one frame, and zones of one object.
MAX_FRAMES = 32
MAX_OBJECTS = 1000
MAX_OBJECT_ZONES = 32
_MAX_BYTES = 1024 * 1024
_MAX_ORDER = 2**62
_MAX_ZONE = 64
_TRACK = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


def tracks_message(stream_id: str, frames: Iterable[FrameTracks]) -> bytes:
    """One message with the newest frames: `{"v":1,"tracks":[[order, [[index, track, [zone, …]], …]], …]}`."""
    start = len(stream_id) + 1
    rows = [
        [each.order, [[one.index, one.track[start:], *([one.zones] if one.zones else [])] for one in each.objects]]
        for each in list(frames)[-MAX_FRAMES:]
    ]
    return json.dumps({"v": VERSION, "tracks": rows}, separators=(",", ":"), ensure_ascii=False).encode()


def parse_tracks(stream_id: str, message: bytes) -> list[FrameTracks]:
    """The frames of one message. Raises InvalidResultError."""
    if len(message) > _MAX_BYTES:
        raise InvalidResultError(f"tracks of {len(message)} bytes, at most {_MAX_BYTES} are read")
    try:
        fields: Any = json.loads(message)
        if fields["v"] != VERSION:
            raise InvalidResultError(f"tracks of a version other than {VERSION}")
        return [_frame(stream_id, *row) for row in fields["tracks"][:MAX_FRAMES]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        # Only the error's kind: its text may contain the whole message.
        raise InvalidResultError(f"tracks that cannot be read ({type(error).__name__})") from None


def _frame(stream_id: str, order: Any, rows: Any) -> FrameTracks:
    if type(order) is not int or not 0 <= order <= _MAX_ORDER or type(rows) is not list or len(rows) > MAX_OBJECTS:
        raise ValueError
    return FrameTracks(order, tuple(_object(stream_id, *row) for row in rows))


def _object(stream_id: str, index: Any, track: Any, zones: Any = ()) -> TrackedObject:
    if type(index) is not int or not 0 <= index < 1 << 31 or type(track) is not str or not _TRACK.fullmatch(track):
        raise ValueError
    if len(zones) > MAX_OBJECT_ZONES or not all(type(each) is str and len(each) <= _MAX_ZONE for each in zones):
        raise ValueError
    # A browser closes a websocket on text that is not UTF-8; JSON can hold lone surrogates.
    return TrackedObject(index, f"{stream_id}/{track}", tuple(each.encode().decode() for each in zones))
