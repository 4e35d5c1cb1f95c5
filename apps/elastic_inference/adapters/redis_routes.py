"""Which server of a Redis Cluster a command of the stream broker goes to, and how answers of several are joined. Pure.

Called by `redis_spread` and `redis_spread_async`. Channels are those of sharded messages (`SPUBLISH`), which only the
server of the channel's slot carries; `PUBLISH` would go through all servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from elastic_inference.adapters.redis_cluster import Address, SlotTable, slot_of
from elastic_inference.domain import keys

Command = tuple[Any, ...]
Part = tuple[Address, Command]
# The server of this key also answers what belongs to no key, so that all programs read one clock.
_HOME = keys.STREAMS
_KEYLESS = frozenset({"TIME", "PING", "INFO", "CLIENT", "CONFIG", "ACL"})
_NUMSUB = ("PUBSUB", "NUMSUB")


class Routed:
    """Commands of one call, sorted by server."""

    def __init__(self, commands: Sequence[Command], table: SlotTable) -> None:
        self._commands = commands
        # What each server gets, each with the position among `commands` of the one that it is a part of.
        self.by_server: dict[Address, list[tuple[Command, int]]] = {}
        # For each command, where its answers will be.
        self._spots: list[list[tuple[Address, int]]] = []
        for position, command in enumerate(commands):
            spots = []
            for address, part in parts(command, table):
                own = self.by_server.setdefault(address, [])
                spots.append((address, len(own)))
                own.append((part, position))
            self._spots.append(spots)

    def fill(
        self, pipeline: Callable[[Address], Any], commands: Sequence[tuple[Command, Mapping[str, Any]]]
    ) -> dict[Address, Any]:
        """A pipeline for each server, with what it gets of the commands and their options."""
        pipes = {address: pipeline(address) for address in self.by_server}
        for address, own in self.by_server.items():
            for part, position in own:
                pipes[address].execute_command(*part, **commands[position][1])
        return pipes

    def join(self, replies: Mapping[Address, Sequence[Any]]) -> list[Any]:
        """The answer to each command, from the servers' replies."""
        return [
            join(command, [replies[address][at] for address, at in spots])
            for command, spots in zip(self._commands, self._spots, strict=True)
        ]


def raise_first(replies: Iterable[Any], kinds: type[Exception] | tuple[type[Exception], ...] = Exception) -> None:
    """Raises the first of the replies that is an exception of these kinds."""
    for reply in replies:
        if isinstance(reply, kinds):
            raise reply


def refuse_transaction(transaction: bool) -> None:
    """Raises ValueError for a pipeline that is a transaction."""
    if transaction:
        raise ValueError("expected transaction=False: the keys of the broker lie in several slots of a cluster")


def parts(command: Command, table: SlotTable) -> list[Part]:
    """The commands that do this on a cluster, each with its server: one, or several whose answers `join` takes."""
    words = tuple(str(command[0]).upper().split(" "))
    if words[0] == "PUBLISH":
        return [(table.owner(slot_of(command[1])), ("SPUBLISH", *command[1:]))]
    if words[0] == "SCRIPT":
        return [(address, command) for address in table.addresses]
    if _is_numsub(command):
        channels: dict[Address, list[Any]] = {}
        for channel in command[2:]:
            channels.setdefault(table.owner(slot_of(channel)), []).append(channel)
        return [(address, ("PUBSUB", "SHARDNUMSUB", *own)) for address, own in channels.items()]
    return [(table.owner(slot_of(_key(words, command))), command)]


def join(command: Command, replies: Sequence[Any]) -> Any:
    """One answer from those to the `parts` of a command. An error counts before the others."""
    for reply in replies:
        if isinstance(reply, Exception):
            return reply
    if not _is_numsub(command):
        return replies[0]
    counts: dict[bytes, Any] = {}
    for reply in replies:
        pairs = zip(reply[::2], reply[1::2], strict=False) if isinstance(reply, list) else ()
        counts |= {name: count for name, count in pairs if type(name) is bytes}
    names = [each if isinstance(each, bytes) else str(each).encode() for each in command[2:]]
    return [part for name in names for part in (name, counts.get(name, 0))]


def _is_numsub(command: Command) -> bool:
    return command[:2] == _NUMSUB


def _key(words: tuple[str, ...], command: Command) -> str | bytes:
    name = words[0]
    found: Any = _HOME
    if name in ("EVALSHA", "EVAL"):
        found = command[3]
    elif name == "XREAD":
        found = command[1 + next(at for at, word in enumerate(command) if word in ("STREAMS", b"STREAMS"))]
    elif name == "MEMORY":
        found = command[2 if len(words) == 1 else 1]
    elif name not in _KEYLESS and len(command) > 1:
        found = command[1]
    return found if isinstance(found, bytes) else str(found)
