"""One connection to Redis for pipelines that carry frames, with as little copying as the protocol allows.

Called by the frame queue and the stream broker. redis-py opens the connection (login, TLS, Sentinel, cluster). Its
own pipeline is bypassed: it needs more time per frame than the server (`tests/bench/frame_queue.py`). Uses no keys.
"""

from __future__ import annotations

import builtins
import select
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from typing import Any

import hiredis
import redis
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

# Larger arguments are sent without a copy; smaller ones are cheaper to copy.
_COPY_LIMIT_BYTES = 8192
_READ_BYTES = 256 * 1024
# Linux accepts 1024 pieces per call (IOV_MAX).
_MAX_PIECES = 1000
# After this much silence Redis may have closed the connection (`timeout`): check before it is used.
IDLE_S = 5.0
_ERRORS: dict[str, type[Exception]] = {
    "ASK": AskError,
    "CLUSTERDOWN": ClusterDownError,
    "LOADING": BusyLoadingError,
    "MASTERDOWN": MasterDownError,
    "MOVED": MovedError,
    "NOAUTH": AuthenticationError,
    "NOPERM": NoPermissionError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
}
# These mean that the server cannot serve any command now: they are raised, and the next call connects again.
_UNAVAILABLE = (ConnectionError, AskError, ClusterDownError, ReadOnlyError, TryAgainError)


class PipelineConnection:
    """A connection of `client`'s pool, for pipelines. Not thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        """Nothing is sent before the first exchange. One connection of the pool is kept until `close`."""
        self._pool = client.connection_pool
        self._connection: Any = None
        self._used_at = 0.0
        self._reader = _new_reader()
        self._buffer = bytearray(_READ_BYTES)

    def exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Sends all commands at once and returns one raw reply (bytes, int, list, None) for each.

        A command's own error is returned in its place as a ResponseError. Raises REDIS_ERRORS if the server is
        unavailable or silent for ANSWER_TIMEOUT_S; the next call connects again.
        """
        return self.exchange_packed(_pack(commands), len(commands))

    def exchange_packed(self, pieces: list[Any], count: int) -> list[Any]:
        """Like `exchange`, for `count` commands that are already in Redis' protocol, as a list of byte strings.

        `head` and `arguments` build them, so that constant parts are packed once. `pieces` is emptied.
        """
        try:
            return self._exchange(pieces, count)
        except BaseException as error:
            # Replies may be unread: this connection cannot be used again.
            self._drop_connection()
            if isinstance(error, OSError):
                raise _broken(error) from None
            raise

    @property
    def can_wait(self) -> bool:
        """Whether it is connected without TLS, so that `send` and `answers_within` work."""
        connection = self._connection
        if connection is None or connection._sock is None or isinstance(connection._sock, ssl.SSLSocket):
            return False
        return time.monotonic() - self._used_at < IDLE_S

    def send(self, pieces: list[Any], within_s: float) -> list[Any]:
        """Sends as much as possible within that time, if `can_wait`; returns the rest.

        Every `send` needs a `receive`, before which the connection must not be used. It may come from another thread.
        """
        try:
            return self._send_within(self._connection._sock, pieces, within_s)
        except BaseException as error:
            self._drop_connection()
            if isinstance(error, OSError):
                raise _broken(error) from None
            raise

    def answers_within(self, seconds: float) -> bool:
        """Whether the server begins to answer within that time."""
        try:
            poll = select.poll()
            poll.register(self._connection._sock, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        except (OSError, ValueError, TypeError, AttributeError):
            return True  # `receive` says what is wrong

    def receive(self, rest: list[Any], count: int) -> list[Any]:
        """Sends the rest, and returns the replies of `count` commands. Errors are as those of `exchange`."""
        try:
            if rest:
                _send(self._connection._sock, rest)
            return self._receive(self._connection._sock, count)
        except BaseException as error:
            self._drop_connection()
            if isinstance(error, OSError):
                raise _broken(error) from None
            raise

    def begin(self, commands: Sequence[tuple[Any, ...]]) -> None:
        """Sends all commands; a `receive` must follow. Call `ready` before. Errors are as those of `exchange`."""
        try:
            _send(self._connection._sock, _pack(commands))
        except BaseException as error:
            self._drop_connection()
            if isinstance(error, OSError):
                raise _broken(error) from None
            raise

    def ready(self) -> None:
        """Connects, unless it is connected."""
        connection = self._connection
        if (
            connection is None
            or connection._sock is None
            or (time.monotonic() - self._used_at >= IDLE_S and self._has_ended(connection._sock))
        ):
            self._connect()

    def close(self) -> None:
        """Closes the connection."""
        self._drop_connection()
        if self._connection is not None:
            self._pool.release(self._connection)
            self._connection = None

    def _exchange(self, pieces: list[Any], count: int) -> list[Any]:
        self.ready()
        sock = self._connection._sock
        _send(sock, pieces)
        return self._receive(sock, count)

    def _receive(self, sock: Any, count: int) -> list[Any]:
        reader, buffer = self._reader, self._buffer
        gets = reader.gets
        replies: list[Any] = []
        while len(replies) < count:
            try:
                reply = gets()
            except TypeError:  # hiredis: a map whose key is a map
                raise ConnectionError("the answer is not Redis' protocol") from None
            if reply is False:
                size = sock.recv_into(buffer)
                if size == 0:
                    raise ConnectionError("Redis closed the connection")
                reader.feed(buffer, 0, size)
            elif isinstance(reply, Exception) and isinstance(reply, _UNAVAILABLE):
                raise reply
            else:
                replies.append(reply)
        self._used_at = time.monotonic()
        return replies

    @staticmethod
    def _send_within(sock: Any, pieces: list[Any], within_s: float) -> list[Any]:
        deadline = time.monotonic() + within_s
        while pieces:
            try:
                pieces = _after(pieces, sock.sendmsg(pieces[:_MAX_PIECES], (), socket.MSG_DONTWAIT))
            except BlockingIOError:
                left_s = deadline - time.monotonic()
                poll = select.poll()
                poll.register(sock, select.POLLOUT)
                if left_s <= 0 or not poll.poll(left_s * 1000):
                    break
        return pieces

    def _has_ended(self, sock: Any) -> bool:
        """Whether Redis has closed a connection that was idle: nothing else makes one readable without a request."""
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        if not poll.poll(0):
            return False
        self._drop_connection()
        return True

    def _connect(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._pool.get_connection()
            if self._connection._sock is None:
                self._connection.connect()
        except UnicodeError as error:
            # A host such as `192.168..1.5` cannot even be looked up.
            raise ConnectionError(f"the host's name is invalid: {error}") from None
        sock = self._connection._sock
        limit_s = sock.gettimeout()
        if limit_s and not isinstance(sock, ssl.SSLSocket):
            # Time-outs by the kernel: Python's own would poll before every call.
            limit = struct.pack("@ll", int(limit_s), int(limit_s % 1 * 1e6))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            sock.settimeout(None)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
        self._reader = _new_reader()


def _broken(error: OSError) -> Exception:
    silent = isinstance(error, builtins.TimeoutError | BlockingIOError)
    return (TimeoutError if silent else ConnectionError)(f"the connection to Redis broke: {error}")


def _new_reader() -> Any:
    return hiredis.Reader(protocolError=ConnectionError, replyError=_reply_error)


def _reply_error(text: str) -> Exception:
    code, _, rest = text.partition(" ")
    kind = _ERRORS.get(code)
    if kind in (AskError, MovedError):
        return kind(rest)
    return kind(text) if kind else ResponseError(text)


def head(count: int) -> bytes:
    """The start of a command with `count` arguments, its name included."""
    return b"*%d\r\n" % count


def arguments(*values: str | int | bytes) -> bytes:
    """Arguments of a command, in Redis' protocol."""
    packed = (value if isinstance(value, bytes) else str(value).encode() for value in values)
    return b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in packed)


def _pack(commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The commands in Redis' protocol, as a list of byte strings; large arguments are not copied."""
    pieces: list[Any] = []
    small: list[bytes] = []
    for command in commands:
        large = [arg for arg in command if isinstance(arg, bytes) and len(arg) > _COPY_LIMIT_BYTES]
        if not large:
            small.append(hiredis.pack_command(command))
            continue
        small.append(b"*%d\r\n" % len(command))
        for arg in command:
            data = arg if isinstance(arg, bytes) else str(arg).encode()
            small.append(b"$%d\r\n" % len(data))
            if len(data) > _COPY_LIMIT_BYTES:
                pieces += (b"".join(small), data)
                small = [b"\r\n"]
            else:
                small += (data, b"\r\n")
    pieces.append(b"".join(small))
    return pieces


def _send(sock: Any, pieces: list[Any]) -> None:
    """Sends all pieces, with one system call if possible, so that the server wakes up once."""
    if len(pieces) == 1 or isinstance(sock, ssl.SSLSocket):
        sock.sendall(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return
    for start in range(0, len(pieces), _MAX_PIECES):
        part = pieces[start : start + _MAX_PIECES]
        while (sent := sock.sendmsg(part)) < sum(map(len, part)):
            part = _after(part, sent)


def _after(pieces: list[Any], sent: int) -> list[Any]:
    """The pieces that remain after `sent` bytes."""
    for at, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[at + 1 :]]
        sent -= len(piece)
    return []
