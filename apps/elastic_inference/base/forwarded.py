"""What trusted proxies say about a request: the client's address, and the host, scheme and prefix that it asked for.

Pure. Used by the gateway and the websocket server. Anyone can send these headers, so they count only when the
connection comes from an address in `TRUSTED_PROXIES`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")
# The prefix is written into the page and into the cookie's path.
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+){1,16}")
_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
_NAMES = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix")
_MAX_ELEMENTS = 32
_PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;,\s"]*)\s*')

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
GetAll = Callable[[str], Sequence[str]]


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of `TRUSTED_PROXIES`: addresses and CIDRs. Raises ValueError for anything else."""
    return tuple(map(_parse_network, texts))


def _parse_network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is neither an address nor a network") from None


def check_prefix(text: str) -> str:
    """A path prefix without its last slash, such as `/ei`; `/` is the empty prefix. Raises ValueError."""
    prefix = text.rstrip("/")
    if prefix and (len(prefix) > 200 or not _PREFIX.fullmatch(prefix)):
        raise ValueError("expected a path such as /ei: letters, digits and . _ ~ -")
    return prefix


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent a request, and where to. `host`, `scheme` and `prefix` are empty unless a trusted proxy set them."""

    address: str
    host: str = ""
    scheme: str = ""
    prefix: str = ""
    # The request has forwarding headers, but does not come from a trusted proxy.
    from_stranger: bool = False


def client_of(peer: str, get_all: GetAll, trusted: Sequence[Network]) -> Client:
    """The client behind a connection from `peer`; `get_all` gives the values of a header.

    `Forwarded` counts only without any X-Forwarded header: a proxy that writes one kind may pass on what a client
    wrote in the other.
    """
    named = any(get_all(name) for name in _NAMES)
    standard = [] if named else _elements(get_all("Forwarded"))
    if not named and not standard:
        return Client(peer)
    if not is_trusted(read_address(peer), trusted):
        return Client(peer, from_stranger=True)
    if named:
        lists = {name: _values(get_all(name)) for name in _NAMES}
        address, hops = _walk(peer, lists["X-Forwarded-For"], trusted)
        host, scheme, prefix = (_at(lists[name], hops) for name in _NAMES[1:])
    else:
        address, hops = _walk(peer, [each.get("for", "") for each in standard], trusted)
        found = standard[max(0, len(standard) - hops)]
        host, scheme, prefix = found.get("host", ""), found.get("proto", ""), ""
    return Client(
        address,
        host if _HOST.fullmatch(host) else "",
        _SCHEMES.get(scheme.lower(), ""),
        _prefix_or_none(prefix),
    )


def _prefix_or_none(text: str) -> str:
    try:
        return check_prefix(text)
    except ValueError:
        return ""


def _walk(peer: str, chain: Sequence[str], trusted: Sequence[Network]) -> tuple[str, int]:
    """The newest address that is not a trusted proxy, and how many proxies' entries lead to it.

    Each proxy appends the address that it saw, so the entries before may be the client's inventions.
    """
    address, hops = peer, 0
    for text in reversed(chain):
        hops += 1
        found = read_address(text)
        if found is None:
            break
        address = str(found)
        if not is_trusted(found, trusted):
            break
    return address, max(1, hops)


def _at(values: Sequence[str], hops: int) -> str:
    return values[max(0, len(values) - hops)] if values else ""


def _values(lines: Iterable[str]) -> list[str]:
    return [part.strip() for line in lines for part in line.split(",") if part.strip()][-_MAX_ELEMENTS:]


def _elements(lines: Iterable[str]) -> list[dict[str, str]]:
    """The elements of `Forwarded` headers (RFC 7239); a malformed element ends its line."""
    elements: list[dict[str, str]] = []
    for line in lines:
        element: dict[str, str] = {}
        position = 0
        while pair := _PAIR.match(line, position):
            value = pair[2]
            quoted = value.startswith('"')
            element.setdefault(pair[1].lower(), re.sub(r"\\(.)", r"\1", value[1:-1]) if quoted else value)
            position = pair.end() + 1
            if line[pair.end() : position] == ",":
                elements.append(element)
                element = {}
        if element:
            elements.append(element)
    return elements[-_MAX_ELEMENTS:]


def read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`; None for a name."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def is_trusted(address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, trusted: Sequence[Network]) -> bool:
    """Whether an address is one of the trusted proxies."""
    return address is not None and any(address in network for network in trusted)
