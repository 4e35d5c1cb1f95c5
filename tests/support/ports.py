"""TCP ports for the servers that tests start, and the connections to them."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Below the ports that Linux assigns to outgoing connections, so that no client of another test takes one in between.
_PORTS = range(10_000, 20_000)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free, and that no other test on this machine gets for the next thousands of calls.

    A server often opens its port a second after it was chosen. A file that all test processes share counts the ports.
    """
    with (Path(tempfile.gettempdir()) / f"ei-test-ports-{os.getuid()}").open("a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        count = int(counter.read() or 0)
        try:
            while not _is_free(host, port := _PORTS[count % len(_PORTS)]):
                count += 1
        finally:
            counter.truncate(0)
            counter.write(str(count + 1))
        return port


def accepted(server: socket.socket) -> Iterator[socket.socket]:
    """The connections to a listening socket, one after another, until it is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        yield connection


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def own_address(node: str) -> str:
    """The address with which this machine talks to `node`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node, 9))
        return str(probe.getsockname()[0])
