"""Connections to Redis that read no answers or finish no command."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from elastic_inference.commands.embedded_valkey import EmbeddedValkey


def command(*words: object) -> bytes:
    """A command as clients send it."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def connection(stack: ExitStack, server: EmbeddedValkey, user: str = "", password: str = "") -> socket.socket:
    """A connection, logged in if there is a user."""
    found = stack.enter_context(socket.create_connection((server.host, server.port)))
    found.settimeout(5)
    if user:
        found.sendall(command("AUTH", user, password))
        assert found.recv(100) == b"+OK\r\n"
    return found


def send(connection: socket.socket, *parts: bytes) -> None:
    """Sends until the server closes the connection."""
    try:
        for part in parts:
            connection.sendall(part)
    except OSError:
        return
