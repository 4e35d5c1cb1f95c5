"""Hundreds of cameras in one process: MJPEG over HTTP on loopback, one and the same image at a fixed rate.

`ManyCameras` starts it as a process of its own. Each path is a camera; `/count` tells of them all as JSON. One whose
name begins with `silent` accepts and never answers; `rubbish` sends noise without end, `noise` after a good head.
Both also to a client that speaks RTSP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.support.mjpeg_server import BOUNDARY, make_jpeg, part

SIZE = (320, 240)
_HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary={BOUNDARY}\r\n\r\n".encode()


@dataclass
class Count:
    """What one camera has seen: how often it was opened, and how many frames it has sent."""

    opened: int = 0
    sent: int = 0


class ManyCameras:
    """The process; it ends with the `with` block."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> ManyCameras:
        command = [sys.executable, "-m", "tests.support.many_cameras", str(self._fps)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def url(self, name: str, scheme: str = "http") -> str:
        """The address of one camera."""
        return f"{scheme}://127.0.0.1:{self.port}/{name}"

    def counts(self) -> dict[str, Count]:
        """Of each camera that was ever opened."""
        with urllib.request.urlopen(self.url("count"), timeout=20) as answer:
            return {name: Count(**each) for name, each in json.load(answer).items()}


async def _serve(fps: float) -> None:
    image = part(make_jpeg(90, *SIZE))
    noise = random.Random(1).randbytes(4096)  # noqa: S311  the same in each run
    counts: dict[str, Count] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            name = urlsplit(target).path.lstrip("/")
            if name.startswith("silent"):
                counts.setdefault(name, Count()).opened += 1
                await reader.read()
            elif name.startswith(("rubbish", "noise")):
                head = _HEAD if name.startswith("noise") else b""
                await _stream(writer, noise, 10 * fps, counts.setdefault(name, Count()), head)
            elif name == "count":
                body = json.dumps({each: vars(count) for each, count in counts.items()}).encode()
                writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            else:
                await _stream(writer, image, fps, counts.setdefault(name, Count()))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Its parent's end closes this.
    await asyncio.to_thread(sys.stdin.read)


async def _stream(writer: asyncio.StreamWriter, image: bytes, fps: float, count: Count, head: bytes = _HEAD) -> None:
    count.opened += 1
    writer.write(head)
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        writer.write(image)
        await writer.drain()
        count.sent += 1
        due += 1 / fps
        await asyncio.sleep(max(0.0, due - loop.time()))


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
