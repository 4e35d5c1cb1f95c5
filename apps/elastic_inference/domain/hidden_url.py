"""Hides what is secret in a camera's address besides its login. Pure; used wherever an address is shown."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

HIDDEN = "***"
# Some cameras take the login in the path: rtsp://host/user=admin_password=secret_channel=1_stream=0.sdp
_END = r"[/&;,]|_[a-z]+=|$"
_IN_PATH = re.compile(rf"((?:password|passwd|pass|pwd|psw)=)(?!{_END}).+?(?={_END})", re.IGNORECASE)


def hide_in_path(path: str) -> str:
    """A path, or an address without query, with each `password=` in it hidden."""
    return _IN_PATH.sub(rf"\g<1>{HIDDEN}", path)


def hides_path(url: str) -> bool:
    """Whether an address has a hidden value in its path."""
    return f"={HIDDEN}" in urlsplit(url).path


def hide_values(url: str) -> str:
    """The address with each value of its query, and each password in its path, hidden; the names stay."""
    parts = urlsplit(url)
    parts = parts._replace(path=hide_in_path(parts.path))
    if "?" in url:
        # Undecoded: a decoded name could contain a space.
        pairs = (pair.partition("=")[0] for pair in parts.query.split("&") if pair)
        parts = parts._replace(query="&".join(f"{name}={HIDDEN}" for name in pairs))
        return parts.geturl()
    return parts.geturl() if HIDDEN in parts.path else url
