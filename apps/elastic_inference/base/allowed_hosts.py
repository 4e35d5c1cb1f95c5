"""Decides by the `Host` header whether a request may be answered. Pure; used by gateway and websocket server.

A foreign site can make its own name point to this server's address. The browser then treats the server as a part of
that site and lets its pages read everything that needs no login (DNS rebinding). But the browser still sends the
site's name as `Host`. An IP address or a local name can't belong to a foreign site.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

ANY_HOST = "*"
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_MAX_NAME = 253


def check_host_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of `ALLOWED_HOSTS`. Raises ValueError for one that no request could have."""
    for name in names:
        if name != ANY_HOST and (len(name) > _MAX_NAME or not _NAME.fullmatch(name.lower().rstrip("."))):
            raise ValueError(
                "expected host names without port and scheme, such as video.example.org or *.example.org, "
                "comma-separated; * allows every name"
            )
    return names


class AllowedHosts:
    """Addresses, `localhost`, this machine's own name and the names that were given."""

    def __init__(self, names: Iterable[str], own_name: str) -> None:
        """`own_name` is this machine's host name, with or without its domain.

        A name such as `*.example.org` allows all names with that ending.
        """
        given = {name.lower().rstrip(".") for name in names}
        self._any = ANY_HOST in given
        own = own_name.lower().rstrip(".")
        short = own.partition(".")[0]
        # The last is its name by multicast DNS, which no server on the internet answers for.
        self._names = {"localhost", own, short, f"{short}.local", *given} - {"", ".local"}
        self._endings = tuple(name[1:] for name in given if name.startswith("*."))

    def allow(self, hosts: Sequence[str]) -> bool:
        """Whether requests with these `Host` headers are answered. Every browser sends one."""
        if self._any or not hosts:
            return True
        name = _name(hosts[0]) if len(hosts) == 1 else ""
        return bool(name) and (name in self._names or name.endswith(self._endings) or _is_address(name))


def host_refusal(hosts: Sequence[str]) -> str:
    """Why a request is refused and what to do, for the log and for people."""
    shown = ascii(", ".join(hosts)[:120])[1:-1] or "(none)"
    return (
        f"Requests for the host {shown} are refused: expected an IP address, localhost or this machine's name. "
        "Add other names to ALLOWED_HOSTS."
    )


def _name(host: str) -> str:
    """The name or address in a `Host` header, without the port."""
    text = host.strip().lower()
    name, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        name, port = text, ""
    if port and not port.isdecimal():
        return ""
    return name.rstrip(".")


def _is_address(name: str) -> bool:
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return False
    return True
