"""One sentence for each way in which FFmpeg can fail to open or read a source, and what to do about it.

Called by `container`. FFmpeg's own messages quote URLs, so none of them is passed on.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import av
import av.error

from elastic_inference.domain.errors import SourceError, SourceFatalError

# What to do about a codec without a decoder, for a camera and for a file.
SET_CODEC = "set it to H.264, H.265 or MJPEG."
UNKNOWN_NAME = "has an unknown host name."
ANOTHER_PATH = ": look for another path or channel of the camera."
NO_HTTP = "does not answer as HTTP does: check the port and the scheme of its URL."
CONVERT_FILE = "convert it to H.264, H.265 or MJPEG."
# (error class, what happened and what to do). The first match counts; a file's own table comes first.
_OF_FILES: tuple[tuple[type[Exception], str], ...] = (
    (av.error.DecoderNotFoundError, f"uses a codec that can't be decoded here: {CONVERT_FILE}"),
    (av.error.InvalidDataError, "is damaged, or not a video that FFmpeg knows: expected a video file."),
    (EOFError, "ends before its first frame: expected a video file."),
)
_SENTENCES: tuple[tuple[type[Exception], str], ...] = (
    (av.error.HTTPUnauthorizedError, "refuses the user name or password (401): check the login in its URL."),
    (av.error.HTTPForbiddenError, "forbids access (403): check the login and the camera's list of allowed clients."),
    (av.error.HTTPNotFoundError, "has no stream at this path (404): look up the path in the camera's manual."),
    (av.error.HTTPTooManyRequestsError, "has too many connections (429): close other viewers of it."),
    (av.error.HTTPClientError, "refuses the request (HTTP 4xx): check the URL."),
    (av.error.HTTPServerError, "reports an error of its own (HTTP 5xx): restart it if this continues."),
    (
        av.error.ProtocolNotFoundError,
        "needs a protocol that this FFmpeg does not support: use its RTSP, RTMP or HTTP address, or a media server that"
        " offers its stream as RTSP.",
    ),
    (av.error.DecoderNotFoundError, f"uses a codec that can't be decoded here: {SET_CODEC}"),
    (av.error.DemuxerNotFoundError, "uses a format that can't be read here."),
    (av.error.InvalidDataError, "sends data that is not a video stream that FFmpeg knows: check the URL."),
    (socket.gaierror, UNKNOWN_NAME),
    (ConnectionRefusedError, "refuses the connection: is the port right, and the service running?"),
    (ConnectionError, "closed the connection."),
    (av.error.ExitError, "did not answer in time: is it switched on and reachable from here?"),
    (TimeoutError, "did not answer in time: is it switched on and reachable from here?"),
    (PermissionError, "can't be read: permission denied."),
    (FileNotFoundError, "does not exist."),
    (EOFError, "ended the connection before sending any video."),
)


def source_error(what: str, error: Exception, is_file: bool = False) -> SourceError:
    """The SourceError that explains an error of FFmpeg; `what` names the source.

    It is a SourceFatalError for a file, or if trying again cannot help.
    """
    # A protocol is built into FFmpeg or not: trying again does not help.
    kind = SourceFatalError if is_file or isinstance(error, av.error.ProtocolNotFoundError) else SourceError
    for known, sentence in (*(_OF_FILES if is_file else ()), *_SENTENCES):
        if isinstance(error, known):
            return kind(f"{what} {sentence}")
    reason = getattr(error, "strerror", None) or type(error).__name__
    hint = "expected a video file." if is_file else "is the address right, and reachable from here?"
    return kind(f"{what} can't be read ({reason}): {hint}")


def no_video(what: str, found: Sequence[str], is_file: bool = False) -> SourceError:
    """The error for a source without video; `found` are the kinds of streams that it has instead."""
    kind = SourceFatalError if is_file else SourceError
    holds = f"only {' and '.join(found)}" if found else "no streams"
    return kind(f"{what} has no video: it holds {holds}{'.' if is_file else ANOTHER_PATH}")
