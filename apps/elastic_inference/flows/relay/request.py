"""Reads stream and format from a request's target. Pure.

Called by `server`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

# A stream id has at most 2 x 128 + 10 characters, each of which may be written as %XX.
MAX_TARGET = 1024
SNAPSHOT = "/snapshot.jpg"


class BadRequestError(Exception):
    """The request's target is invalid; the message is for the viewer."""


class Format(StrEnum):
    """What a viewer asked for with `?format=`; `DRAWN` is a JPEG with boxes."""

    DRAWN = ""
    FRAME = "frame"
    JSON = "json"


class ViewerRequest(NamedTuple):
    """Stream and format. `stream_id` is as requested: such a stream need not exist."""

    stream_id: str
    format: Format


def snapshot_stream(target: str) -> str | None:
    """The stream id of `/<stream id>/snapshot.jpg`, None for any other target."""
    path = target.partition("?")[0]
    if len(target) > MAX_TARGET or not path.endswith(SNAPSHOT):
        return None
    return unquote(path.removeprefix("/").removesuffix(SNAPSHOT), errors="replace")


def parse_target(target: str) -> ViewerRequest:
    """Reads `/<stream id>?format=…` and ignores other parameters. Raises BadRequestError."""
    if len(target) > MAX_TARGET:
        raise BadRequestError(f"the path has {len(target)} characters, at most {MAX_TARGET} are accepted")
    path, _, query = target.partition("?")
    try:
        stream_id = unquote(path.removeprefix("/"), errors="strict")
        formats = parse_qs(query, max_num_fields=16).get("format", [""])
    except ValueError:
        raise BadRequestError("the path or its query is not valid") from None
    try:
        wanted = Format(formats[-1])
    except ValueError:
        raise BadRequestError(
            f"format={formats[-1][:40]!r} is unknown: expected frame, json, or none for images with boxes"
        ) from None
    return ViewerRequest(stream_id, wanted)
