"""Chooses the demo's ports. Two demos that start at the same time get different ones."""

from __future__ import annotations

import errno
import socket

from elastic_inference.commands.embedded_valkey import free_port
from elastic_inference.domain.errors import ElasticInferenceError


class PortChoice:
    """The ports of one demo. They are its own from the choice on, though its services open them some seconds later."""

    def __init__(self) -> None:
        self._marks: list[socket.socket] = []

    def choose(self, asked: int | None, usual: int, host: str, option: str) -> int:
        """`asked` if it is free; without it, the usual port or the next free one above it.

        Raises ElasticInferenceError if `asked` is in use or cannot be opened, or if this machine has no such address.
        """
        if asked is not None:
            if not self._take(asked, host):
                raise ElasticInferenceError(
                    f"Port {asked} is in use: choose another with {option}, or leave the option out to get a free one."
                )
            return asked
        for port in range(usual, usual + 50):
            if self._take(port, host):
                return port
        return free_port(host)

    def close(self) -> None:
        """Lets other demos choose these ports."""
        for mark in self._marks:
            mark.close()
        self._marks.clear()

    def _take(self, port: int, host: str) -> bool:
        return _is_free(port, host) and self._mark(port)

    def _mark(self, port: int) -> bool:
        """Takes a name that ends with this process. Returns whether no other demo has it."""
        mark = socket.socket(socket.AF_UNIX)
        try:
            # In Linux' abstract namespace, which leaves no file behind.
            mark.bind(f"\0elastic-inference-demo-{port}")
        except OSError:
            mark.close()
            return False
        self._marks.append(mark)
        return True


def _is_free(port: int, host: str) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            return False
        if number in (errno.EACCES, errno.EPERM):
            raise ElasticInferenceError(f"Port {port}: permission denied; choose a port above 1023.") from None
        raise ElasticInferenceError(
            f"--host {host[:100]}: expected an address of this machine, 127.0.0.1 or 0.0.0.0 "
            f"({getattr(error, 'strerror', None) or error})."
        ) from None
    return True
