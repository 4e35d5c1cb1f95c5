"""A Valkey behind a proxy: it can be out of reach, or fail over to a replica that lacks its newest writes."""

from __future__ import annotations

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.half_open_proxy import HalfOpenProxy

# Otherwise the first replica waits 5 s for others.
_OPTIONS = ("--repl-diskless-sync-delay", "0")


class FailingRedis:
    """Clients connect to `port`, whichever server is behind it. Ends its servers with the `with` block."""

    def __init__(self) -> None:
        self._server = EmbeddedValkey(options=_OPTIONS).start()
        self._replica: EmbeddedValkey | None = None
        self._proxy = HalfOpenProxy(self._server.port)
        self.reachable = True

    @property
    def port(self) -> int:
        """Where clients connect to."""
        return self._proxy.port

    def __enter__(self) -> FailingRedis:
        self._proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.__exit__()
        for server in (self._server, self._replica):
            if server is not None:
                server.close()

    def lose(self) -> None:
        """From now on nobody reaches it. It keeps its data."""
        self.reachable = False
        self._proxy.target_port = 0
        self._proxy.cut()

    def restore(self) -> None:
        """Ends `lose`."""
        self._proxy.target_port = self._server.port
        self.reachable = True

    def add_replica(self) -> None:
        """Starts a server that follows this one; `replicates` says when it has all data."""
        self._replica = EmbeddedValkey(options=_OPTIONS).start()
        with redis.Redis(port=self._replica.port) as client:
            client.replicaof("127.0.0.1", str(self._server.port))

    @property
    def replicates(self) -> bool:
        """Whether the replica follows."""
        assert self._replica is not None
        with redis.Redis(port=self._replica.port) as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def part(self) -> None:
        """The replica no longer follows: what is written from now on is lost at the failover."""
        assert self._replica is not None
        with redis.Redis(port=self._replica.port) as client:
            client.replicaof("NO", "ONE")

    def fail_over(self) -> None:
        """The replica takes the server's place, and the server ends."""
        assert self._replica is not None
        former, self._server, self._replica = self._server, self._replica, None
        self._proxy.target_port = self._server.port
        self._proxy.cut()
        former.kill()
        former.close()
