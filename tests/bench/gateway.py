"""The gateway's tunnel compared with a direct connection: saturated, paced, and with a slow viewer.

Run it alone: `python -m tests.bench.gateway [--rounds N] [--seconds S] [--json FILE]`. Three processes: a bare
websocket server, the gateway, and this one, which reads with as little work as it can. Rounds with and without the
gateway alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.bench.processes import listening
from tests.bench.record import Context, Figure, cpu_s, median_figure, percentile
from tests.support.ports import free_port

FRAME_BYTES = 50_000
VIEWERS = 10
FPS = 30
STREAM = "bench:people:inferred"
_STAMP = struct.Struct(">d")
_HEAD = b"\x82\x7e" + struct.pack(">H", FRAME_BYTES)
_MESSAGE_BYTES = len(_HEAD) + FRAME_BYTES
_HANDSHAKE = (
    "GET /{stream}?{query} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def serve(port: int) -> None:
    """The websocket server of the comparison: `?fps=N` paces, `?fps=0` sends as fast as the viewer reads.

    Like the relay, it keeps one pending frame per viewer and little unsent in the kernel, and skips the rest.
    """
    from websockets.asyncio.server import ServerConnection
    from websockets.asyncio.server import serve as serve_websockets

    payload = bytearray(os.urandom(FRAME_BYTES))

    async def handle(viewer: ServerConnection) -> None:
        assert viewer.request is not None
        fps = float(viewer.request.path.rpartition("=")[2])
        viewer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, 25, 64 * 1024)
        viewer.transport.set_write_buffer_limits(high=FRAME_BYTES // 2)
        next_s = time.monotonic()
        with suppress(Exception):
            while True:
                if fps:
                    next_s += 1 / fps
                    await asyncio.sleep(max(0.0, next_s - time.monotonic()))
                    if time.monotonic() - next_s > 1 / fps:
                        next_s = time.monotonic()  # the viewer was slow: skip what it missed
                _STAMP.pack_into(payload, 0, time.monotonic())
                await viewer.send(bytes(payload))

    async with serve_websockets(handle, "127.0.0.1", port, compression=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()


class Reader:
    """One viewer: a socket whose messages all have the same size."""

    def __init__(self, port: int, fps: float) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        head = _HANDSHAKE.format(stream=STREAM, query=f"fps={fps}", host=f"127.0.0.1:{port}")
        self.socket.sendall(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = self.socket.recv(1)
            if not part:
                raise ConnectionError(f"no websocket on port {port}: {answer!r}")
            answer += part
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise ConnectionError(answer.decode(errors="replace"))
        self.socket.setblocking(False)
        self._buffer = bytearray(_MESSAGE_BYTES)
        self._filled = 0
        self.messages = 0
        self.ages_s: list[float] = []

    def read(self, once: bool = False) -> None:
        """Reads what has arrived; at most one message if `once`."""
        view = memoryview(self._buffer)
        while True:
            try:
                count = self.socket.recv_into(view[self._filled :])
            except BlockingIOError:
                return
            if not count:
                raise ConnectionError("the viewer was disconnected")
            self._filled += count
            if self._filled == _MESSAGE_BYTES:
                assert self._buffer[: len(_HEAD)] == _HEAD, "the bytes arrived out of order"
                self._filled = 0
                self.messages += 1
                self.ages_s.append(time.monotonic() - _STAMP.unpack_from(self._buffer, len(_HEAD))[0])
                if once:
                    return


def watch(port: int, viewers: int, fps: float, seconds: float) -> tuple[float, list[float]]:
    """(messages per second of all viewers, the messages' ages in seconds)."""
    readers = [Reader(port, fps) for _ in range(viewers)]
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader.socket, selectors.EVENT_READ, reader)

        def until(end: float) -> None:
            while (left := end - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    key.data.read()

        until(time.monotonic() + 0.5)
        for reader in readers:
            reader.messages, reader.ages_s = 0, []
        started = time.monotonic()
        until(started + seconds)
        elapsed = time.monotonic() - started
    for reader in readers:
        reader.socket.close()
    return sum(reader.messages for reader in readers) / elapsed, [age for reader in readers for age in reader.ages_s]


def watch_slowly(port: int, fps: float, reads_fps: float, seconds: float) -> list[float]:
    """Ages in seconds of the frames that a viewer gets if it reads `reads_fps` of `fps`; second half of the run."""
    reader = Reader(port, fps)
    end = time.monotonic() + seconds
    next_s = time.monotonic()
    while time.monotonic() < end:
        next_s += 1 / reads_fps
        time.sleep(max(0.0, next_s - time.monotonic()))
        before = reader.messages
        while reader.messages == before:
            reader.read(once=True)
            if reader.messages == before:
                time.sleep(0.001)
    reader.socket.close()
    return reader.ages_s[len(reader.ages_s) // 2 :]


@contextmanager
def running() -> Iterator[tuple[int, int, int]]:
    """(port of the websocket server, port of the gateway, process id of the gateway)."""
    upstream, gateway, metrics = free_port(), free_port(), free_port()
    with EmbeddedValkey() as valkey:
        children = [
            subprocess.Popen([sys.executable, "-m", "tests.bench.gateway", "--serve", str(upstream)]),
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "import sys; from elastic_inference.commands.services import gateway; sys.exit(gateway())",
                ],
                env={
                    **os.environ,
                    "QUEUE_URL": valkey.url,
                    "GATEWAY_HOST": "127.0.0.1",
                    "GATEWAY_PORT": str(gateway),
                    "METRICS_PORT": str(metrics),
                    "WEBSOCKET_SERVER_URL": f"ws://127.0.0.1:{upstream}",
                    "LOG_LEVEL": "WARNING",
                },
            ),
        ]
        with listening(children, (upstream, gateway)):
            yield upstream, gateway, children[1].pid


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """All figures; times in milliseconds, CPU in percent of a core."""
    ratios, delivered, added, used, idle = [], [], [], [], []
    with running() as (direct, tunnel, pid):
        time.sleep(1)
        for turn in range(rounds):
            order = (direct, tunnel) if turn % 2 else (tunnel, direct)
            saturated = {port: watch(port, VIEWERS, 0, seconds)[0] for port in order}
            ratios.append(saturated[tunnel] / saturated[direct])
            p99 = {}
            for port in order:
                before, began = cpu_s(pid), time.monotonic()
                rate, ages = watch(port, VIEWERS, FPS, seconds)
                p99[port] = percentile(ages, 0.99) * 1000
                if port == tunnel:
                    used.append((cpu_s(pid) - before) / (time.monotonic() - began) * 100)
                    delivered.append(rate / (VIEWERS * FPS))
            added.append(p99[tunnel] - p99[direct])
        slow = {port: watch_slowly(port, FPS, 10, max(10.0, seconds)) for port in (direct, tunnel)}
        before, began = cpu_s(pid), time.monotonic()
        time.sleep(5)
        idle.append((cpu_s(pid) - before) / (time.monotonic() - began) * 100)

    return {
        "saturated_over_direct": ratios,
        "delivered_share": delivered,
        "p99_over_direct_ms": added,
        "cpu_percent": used,
        "idle_cpu_percent": idle,
        "slow_viewer_age_ms_direct": percentile(slow[direct], 0.95) * 1000,
        "slow_viewer_age_ms_tunnel": percentile(slow[tunnel], 0.95) * 1000,
    }


def figures(context: Context) -> Iterator[Figure]:
    """The lines of the table."""
    found = measure(context.rounds(5), context.seconds(2.0))
    for key, name, unit, bar in (
        ("saturated_over_direct", "10 viewers, saturated, over direct", "", {"minimum": 0.45}),
        ("delivered_share", "10 viewers at 30 fps, delivered", "", {"minimum": 0.99}),
        ("p99_over_direct_ms", "10 viewers at 30 fps, p99 over direct", "ms", {"maximum": 1.0}),
        ("cpu_percent", "10 viewers at 30 fps, CPU", "% of a core", {"maximum": 3.0}),
    ):
        yield median_figure("gateway", name, found[key], unit=unit, **bar)
    for key, words, most in (("direct", "directly", 1000), ("tunnel", "through the gateway", 1500)):
        yield Figure(
            "gateway",
            f"a viewer that reads 10 of 30 fps {words}, age p95",
            round(found[f"slow_viewer_age_ms_{key}"]),
            "ms",
            maximum=most,
        )


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve(options.serve))
        return 0
    figures = measure(options.rounds, options.seconds)
    for name, value in figures.items():
        shown = (
            f"{statistics.median(value):.2f} ({min(value):.2f} to {max(value):.2f})"
            if isinstance(value, list)
            else f"{value:.0f}"
        )
        print(f"{name:28} {shown}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
