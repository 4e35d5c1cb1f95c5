"""Names of codecs that FFmpeg does not know, as the container or the camera writes them. Pure.

Called by `file` and `network`.
"""

from __future__ import annotations

import re

_EBML = b"\x1a\x45\xdf\xa3"
# Element CodecID (0x86) of a video track: its length in one byte, then the name (RFC 9559, section 5.1.4.1.21).
_CODEC_ID = re.compile(rb"\x86([\x83-\xbf])(V_[!-~]{1,61})")
# `a=rtpmap:<payload type> <encoding>/<clock rate>` (RFC 8866, section 6.6).
_RTPMAP = re.compile(r"a=rtpmap:(\d{1,3}) ([\w.+-]{1,40})/")

# `m=<media> <port> …` (RFC 8866, section 5.14).
_MEDIA = re.compile(r"(?m)^m=([a-z]{1,16}) ")


def matroska_codec(begin: bytes) -> str | None:
    """The first video codec named at the start of a Matroska or WebM file; None for any other file."""
    found = _CODEC_ID.search(begin) if begin.startswith(_EBML) else None
    return found[2][: found[1][0] & 0x7F].decode("ascii") if found else None


def sdp_codec(description: str) -> str | None:
    """The encoding of the first video stream in a session description; None if it has none with a name."""
    for media in re.split(r"(?m)^m=", description)[1:]:
        if media.startswith("video"):
            found = _RTPMAP.search(media)
            return found[2] if found else None
    return None


def sdp_media(description: str) -> list[str]:
    """The kinds of media in a session description, such as `audio`: each once, in alphabetical order."""
    return sorted(set(_MEDIA.findall(description)))
