"""A TCP proxy on loopback that can discard what passes, as a network that has lost one side does."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from tests.support.looped import Looped


@dataclass(eq=False)
class _Link:
    """One connection through the proxy. In a `deaf` direction nothing passes, not even the end of the connection."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    deaf_requests: bool = False
    deaf_replies: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class HalfOpenProxy(Looped):
    """Forwards connections to a port of this machine, in a thread of its own.

    `break_open` makes all open connections deaf forever. While `swallowing`, new ones are accepted but get no reply.
    `cut` closes all. `target_port` may be set at any time, for new connections; 0: they are closed at once.
    """

    def __init__(self, target_port: int) -> None:
        super().__init__()
        self.swallowing = False
        self.target_port = target_port
        self._links: set[_Link] = set()

    def break_open(self, *, requests: bool = True) -> None:
        """From now on nothing passes on the open connections; with `requests` false, only replies are lost."""

        def mark() -> None:
            for link in self._links:
                link.deaf_requests |= requests
                link.deaf_replies = True

        self._loop.call_soon_threadsafe(mark)

    def cut(self) -> None:
        """Closes all connections."""

        def close() -> None:
            for link in list(self._links):
                self._close(link)

        self._loop.call_soon_threadsafe(close)

    async def _serve(self) -> None:
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        await self._until_stopped(listener)
        tasks = [task for link in self._links for task in link.tasks]
        for link in list(self._links):
            self._close(link)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer, deaf_requests=self.swallowing, deaf_replies=self.swallowing)
        self._links.add(link)
        if self.swallowing:
            link.tasks.append(asyncio.create_task(self._forward(reader, link, request=True)))
            return
        try:
            server_reader, link.server = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            self._close(link)
            return
        link.tasks += [
            asyncio.create_task(self._forward(reader, link, request=True)),
            asyncio.create_task(self._forward(server_reader, link, request=False)),
        ]

    async def _forward(self, reader: asyncio.StreamReader, link: _Link, *, request: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                deaf = link.deaf_requests if request else link.deaf_replies
                writer = link.server if request else link.client
                if writer is not None and not deaf:
                    writer.write(data)
                    await writer.drain()
        if request or not link.deaf_replies:
            # A client that has given up is gone; the server's end of a deaf link is not passed on.
            self._close(link)

    def _close(self, link: _Link) -> None:
        self._links.discard(link)
        for writer in (link.client, link.server):
            if writer is not None:
                writer.close()
