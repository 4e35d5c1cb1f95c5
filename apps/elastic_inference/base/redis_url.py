"""Parses Redis URLs: one server, a socket, sentinels or a cluster. Pure.

Called by the settings, by the connections and by the manifests. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from elastic_inference.base.url import check_encoded, check_host, in_brackets, url_credentials

REDIS_PORT = 6379
SENTINEL_PORT = 26379
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")


@dataclass(frozen=True)
class RedisUrl:
    """A parsed URL.

    `hosts` are the one server, the sentinels, or seeds of a cluster, each with its port. `path` is a socket's path.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    master: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.startswith("rediss")

    @property
    def is_socket(self) -> bool:
        """Whether it is a Unix socket."""
        return self.scheme == "unix"

    @property
    def is_sentinel(self) -> bool:
        """Whether the hosts are sentinels that know where `master` is."""
        return self.scheme.endswith("+sentinel")

    @property
    def is_cluster(self) -> bool:
        """Whether the hosts are seeds of a Redis Cluster."""
        return self.scheme.endswith("+cluster")

    @property
    def addresses(self) -> list[str]:
        """`host:port` of each host, IPv6 addresses in brackets."""
        return [f"{in_brackets(host)}:{port}" for host, port in self.hosts]


def check_scheme(url: str) -> str:
    """`url`. Raises ValueError if it is of no known kind, or its password is not percent-encoded."""
    scheme, _, rest = url.partition("://")
    if scheme not in REDIS_SCHEMES or not rest:
        raise ValueError(f"expected a URL that starts with one of {', '.join(s + '://' for s in REDIS_SCHEMES)}")
    check_encoded(url)
    return url


def parse_redis_url(url: str) -> RedisUrl:
    """The parts of `url`. Raises ValueError that says what is expected; it never shows the password."""
    check_scheme(url)
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    options = dict(parse_qsl(query))
    if unknown := sorted(set(options) - {"db"}):
        raise ValueError(f"expected no option other than db in it, found {unknown[0][:40]!r}")
    authority, slash, path = rest.partition("/")
    username, password = url_credentials(url)
    if scheme == "unix":
        if not (path := unquote(slash + path)):
            raise ValueError("expected unix:///path/of/the/socket")
        database = _database(options.get("db", ""))
        return RedisUrl(scheme, path=path, database=database, username=username, password=password)
    hosts = _hosts(scheme, authority.rpartition("@")[2])
    master, path = "", path.strip("/")
    if scheme.endswith("+sentinel"):
        master, _, path = path.partition("/")
        if not master:
            raise ValueError("expected the master's name after the sentinels: redis+sentinel://h:p,h:p/<name>/<db>")
    database = _database(path or options.get("db", ""))
    if scheme.endswith("+cluster") and database:
        raise ValueError("expected no database: a cluster has only number 0")
    return RedisUrl(scheme, hosts, "", master, database, username, password)


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text) <= 1_000_000):
        raise ValueError("expected the number of a database, 0 by default")
    return int(text or 0)


def _hosts(scheme: str, text: str) -> tuple[tuple[str, int], ...]:
    default_port = SENTINEL_PORT if scheme.endswith("+sentinel") else REDIS_PORT
    try:
        hosts = tuple(_host_port(part, default_port) for part in text.split(",") if part)
    except ValueError:
        raise ValueError("expected host:port, a host name or an IP address and a port from 1 to 65535") from None
    if not hosts or (len(hosts) > 1 and "+" not in scheme):
        raise ValueError("expected one host (several only with redis+sentinel:// and redis+cluster://)")
    return hosts


def _host_port(text: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or rest[:1] not in ("", ":"):
            raise ValueError(text)
        port_text = rest.removeprefix(":")
    else:
        host, _, port_text = text.partition(":")
    port = int(port_text or default_port)
    if not 1 <= port <= 65535:
        raise ValueError(text)
    return check_host(host), port
