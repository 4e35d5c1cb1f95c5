"""Limits the addresses of the pool's cameras to allowed networks, and their files to the folder of videos.

Called before a camera is opened that a user of the API has named. A name is resolved once, and only the address that
was checked is used: it does no harm if the name resolves to another address a moment later.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from elastic_inference.base.forwarded import Network, parse_networks
from elastic_inference.domain.errors import SourceError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str], Sequence[str]]
# Private networks.
DEFAULT_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
# Loopback, link-local, multicast, and the services that give out a cloud's credentials: allowed only by a network
# within one of these, never by a larger one such as 0.0.0.0/0.
_SPECIAL = parse_networks(
    (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
        *("::/128", "::1/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128"),
        # They hold an IPv4 address.
        *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"),
    )
)
_MAX_ADDRESSES = 16


class AddressRules:
    """Checks against `CAMERA_NETWORKS` and `VIDEO_DIR`. Raises SourceError for what they do not allow."""

    def __init__(
        self,
        networks: Sequence[str],
        video_dir: Path | None,
        resolve: Resolver | None = None,
        *,
        setting: str = "CAMERA_NETWORKS",
        what: str = "camera",
    ) -> None:
        """`networks` are addresses and CIDRs. `resolve` returns a name's addresses, or raises OSError.

        `setting` and `what` are for the errors' words.
        """
        self._setting, self._what = setting, what
        self._networks = parse_networks(networks)
        self._special = {special: tuple(filter(_within(special), self._networks)) for special in _SPECIAL}
        self._video_dir = video_dir
        self._resolve = resolve or _addresses

    def allows(self, address: Address) -> bool:
        """Whether a camera may have this address."""
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or ipaddress.IPv6Address(int(address))  # without a zone
        allowed: Sequence[Network] = self._networks
        for special, within in self._special.items():
            if address in special:
                allowed = within
        return any(address in network for network in allowed)

    def resolve(self, host: str) -> str:
        """The address to connect to for a host: the first that is allowed. Raises SourceError."""
        try:
            found = self._resolve(host)[:_MAX_ADDRESSES]
        except (OSError, UnicodeError):
            raise SourceError(f"The {self._what}'s host name {host[:100]} is unknown.") from None
        for text in found:
            if self.allows(ipaddress.ip_address(text)):
                return text
        at = "" if host in found else f" of {host[:100]}"
        raise SourceError(
            f"The {self._what}'s address{at} is {', '.join(found)[:200]}, where no {self._what} may be: expected one "
            f"in {self._setting}."
        )

    def file(self, url: str) -> Path:
        """The path of a `file:` URL, without links. Raises SourceError unless it lies below VIDEO_DIR."""
        if self._video_dir is None:
            raise SourceError("A camera can't be a file here: VIDEO_DIR, the folder of videos, is not set.")
        try:
            folder = self._video_dir.resolve(strict=True)
            path = Path(unquote(urlsplit(url).path)).resolve(strict=True)
            inside = path.is_relative_to(folder)
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not inside:
            # The message says no more, so that nobody learns which files exist.
            raise SourceError(f"There is no such video below {self._video_dir} (VIDEO_DIR).")
        return path


def _addresses(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _within(special: Network) -> Callable[[Network], bool]:
    def lies_within(network: Network) -> bool:
        return network.version == special.version and network.subnet_of(special)  # type: ignore[arg-type]

    return lies_within
