"""Speed of the relay: frames delivered to viewers, over a bare `websockets.broadcast` loop.

`python -m tests.bench --only relay` runs it; alone: `python -m tests.bench.relay -h`.

Three processes beside Valkey: the websocket server as a user runs it, fed through Redis; the bare loop, which has its
frame in memory; and this one, which publishes and reads with as little work as it can. Viewers connect to one of the
two at a time; A and B alternate. Publishing is paced by what the fastest viewer has received, so that the server is
never idle and never buried.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey, free_port
from elastic_inference.domain import keys
from elastic_inference.domain.result import Result, join_message, result_json
from tests.bench.processes import listening
from tests.bench.record import Context, Figure, cpu_s, rss_mb, spread_of

FRAME_BYTES = 50_000
STREAM = "bench:people:inferred"
# Frames under way between publisher and viewers.
_WINDOW = 3
# The relay watches new viewers more closely for a second.
_WARM_UP_S = 1.3
_ORDER = 1_000_000_000
_READ = bytearray(1 << 20)
_READ_VIEW = memoryview(_READ)
_PING, _PING_BYTES = 0x89, 10


def serve_bare(port: int) -> None:
    """The comparison: every frame to all, then on when all sockets have taken it."""
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    async def main() -> None:
        async def handle(connection: ServerConnection) -> None:
            await connection.wait_closed()

        payload = os.urandom(FRAME_BYTES)
        async with serve(handle, "127.0.0.1", port, compression=None, ping_interval=None, backlog=1024) as server:
            while True:
                connections = server.connections
                if not connections:
                    await asyncio.sleep(0.01)
                broadcast(connections, payload)
                for connection in connections:
                    with suppress(OSError):
                        await connection.drain()
                await asyncio.sleep(0)

    with suppress(KeyboardInterrupt):
        asyncio.run(main())


class Viewers:
    """N open websockets whose frames are counted, not looked at."""

    def __init__(self, port: int, target: str, count: int, stalled: int = 0) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets = [self._open(port, target) for _ in range(count + stalled)]
        self.received = [0] * count
        # Of each viewer: bytes until the next frame begins, and the start of a ping that was cut in two.
        self._left, self._heads = [0] * count, [b""] * count
        for number, each in enumerate(self._sockets[:count]):
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ, number)

    @staticmethod
    def _open(port: int, target: str) -> socket.socket:
        viewer = socket.create_connection(("127.0.0.1", port), 10)
        viewer.sendall(
            f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += viewer.recv(1)
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise ConnectionError(answer.decode(errors="replace"))
        return viewer

    def read(self, timeout_s: float) -> int:
        """Reads what is there and answers pings; the most bytes of frames that any viewer has so far."""
        best = 0
        for key, _ in self._selector.select(timeout_s):
            number = key.data
            head = self._heads[number]
            start = len(head)
            _READ[:start] = head
            count = key.fileobj.recv_into(_READ_VIEW[start:])  # type: ignore[union-attr]
            if not count:
                raise ConnectionError("a viewer was disconnected")
            count += start
            at, pings = self._left[number], 0
            while at < count:
                if _READ[at] != _PING:
                    at += FRAME_BYTES + 4
                elif count - at >= _PING_BYTES:
                    # An answer, masked with zeros.
                    key.fileobj.send(b"\x8a\x88\0\0\0\0" + _READ[at + 2 : at + _PING_BYTES])  # type: ignore[union-attr]
                    at += _PING_BYTES
                    pings += _PING_BYTES
                else:
                    break
            self._heads[number] = bytes(_READ[at:count])
            self._left[number] = max(at - count, 0)
            total = self.received[number] = self.received[number] + min(at, count) - start - pings
            best = max(best, total)
        return best

    def close(self) -> None:
        self._selector.close()
        for each in self._sockets:
            each.close()


class Publisher:
    """Publishes results of FRAME_BYTES with a rising order on a bare socket."""

    def __init__(self, port: int) -> None:
        result = Result(
            **{"stream": STREAM, "type": "people", "model": "bench", "precision": "FP32", "device": "CPU"},
            **{"order": _ORDER, "seq": 1, "ts": 1.0, "width": 768, "height": 432, "pod": "bench"},
            **{"age_ms": 1.0, "queue_ms": 1.0, "infer_ms": 1.0, "detections": ()},
        )
        document = result_json(result)
        jpeg = b"\xff\xd8" + os.urandom(FRAME_BYTES - len(document) - 6)
        message = join_message(document, jpeg)
        assert len(message) == FRAME_BYTES
        head = f"*3\r\n$7\r\nPUBLISH\r\n${len(STREAM)}\r\n{STREAM}\r\n${len(message)}\r\n".encode()
        self._before, _, self._after = (head + message + b"\r\n").partition(str(_ORDER).encode())
        self._socket = socket.create_connection(("127.0.0.1", port), 5)
        self._order = _ORDER

    def publish(self) -> None:
        self._order += 1
        self._socket.sendall(b"%b%d%b" % (self._before, self._order, self._after))
        with suppress(BlockingIOError):
            self._socket.recv(65536, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


def measure(viewers: Viewers, publisher: Publisher | None, seconds: float) -> float:
    """Frames a second that all viewers got together."""
    size = FRAME_BYTES + 4
    published, newest, warm_from, last_s = 0, 0, [0], 0.0
    started = time.monotonic()
    began, until = 0.0, started + 60
    while (now_s := time.monotonic()) < until:
        if publisher is not None and (published - newest < _WINDOW or now_s - last_s > 0.2):
            if published - newest >= _WINDOW:
                published = newest  # the frames on their way were skipped, or nobody is subscribed yet
            publisher.publish()
            published += 1
            last_s = now_s
        newest = max(newest, viewers.read(0.02) // size)
        if not began and now_s - started > _WARM_UP_S and min(viewers.received) > 3 * size:
            began, warm_from = time.monotonic(), list(viewers.received)
            until = began + seconds
    if not began:
        raise TimeoutError("the viewers got nothing")
    elapsed = time.monotonic() - began
    return sum(now - then for now, then in zip(viewers.received, warm_from, strict=True)) / size / elapsed


@contextmanager
def running() -> Iterator[tuple[int, int, int, int]]:
    """(port of the relay, port of the bare loop, port of Valkey, process id of the relay)."""
    relay, bare, metrics = free_port(), free_port(), free_port()
    with EmbeddedValkey() as valkey:
        environ = {
            **os.environ,
            **{"QUEUE_URL": valkey.url, "WEBSOCKET_HOST": "127.0.0.1", "WEBSOCKET_PORT": str(relay)},
            **{"METRICS_PORT": str(metrics), "LOG_LEVEL": "WARNING", "MAX_VIEWERS": "2000"},
        }
        children = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "import sys; from elastic_inference.flows.relay.websocket_service import main; sys.exit(main())",
                ],
                env=environ,
            ),
            subprocess.Popen([sys.executable, "-m", "tests.bench.relay", "--serve-bare", str(bare)]),
        ]
        with listening(children, (relay, bare)):
            with redis.Redis(port=valkey.port) as client:
                client.hset(keys.stream_info(STREAM), "type", "people")
            yield relay, bare, valkey.port, children[0].pid


def run(
    rounds: int = 8, seconds: float = 1.5, viewer_counts: tuple[int, ...] = (1, 10, 100, 500)
) -> list[dict[str, Any]]:
    """Records {name, ratio, spread, fps, raw_fps}, and of the idle server {name, cpu_percent, rss_mb}.

    `ratio` and `spread` (quartile distance) are of alternating rounds; `fps` counts frames of all viewers together.
    With a stalled viewer, `raw_fps` is the relay's own figure without it.
    """
    records = []
    with running() as (relay, bare, valkey, pid):
        time.sleep(1)
        before, began = cpu_s(pid), time.monotonic()
        time.sleep(5)
        idle = (cpu_s(pid) - before) / (time.monotonic() - began) * 100
        records.append({"name": "relay, idle", "cpu_percent": round(idle, 2), "rss_mb": round(rss_mb(pid), 1)})

        def ours(count: int, stalled: int = 0) -> float:
            viewers, publisher = Viewers(relay, f"/{STREAM}?format=frame", count, stalled), Publisher(valkey)
            try:
                return measure(viewers, publisher, seconds)
            finally:
                viewers.close()
                publisher.close()

        def theirs(count: int) -> float:
            viewers = Viewers(bare, "/", count)
            try:
                return measure(viewers, None, seconds)
            finally:
                viewers.close()

        def compare(name: str, one: Any, other: Any, rounds: int) -> None:
            pairs = []
            for number in range(rounds):
                if number % 2:
                    second, first = other(), one()
                else:
                    first, second = one(), other()
                pairs.append((first, second))
            ratios = [mine / plain for mine, plain in pairs]
            records.append(
                {
                    "name": name,
                    "ratio": round(statistics.median(ratios), 3),
                    "spread": round(spread_of(ratios), 3),
                    "rounds": [round(each, 3) for each in ratios],
                    "fps": round(statistics.median(mine for mine, _ in pairs)),
                    "raw_fps": round(statistics.median(plain for _, plain in pairs)),
                    "rss_mb": round(rss_mb(pid), 1),
                }
            )

        for count in viewer_counts:
            few = rounds if count >= 100 else max(2, rounds // 2)
            compare(f"relay, {count} viewers", lambda count=count: ours(count), lambda count=count: theirs(count), few)
        compare("relay, 100 viewers, one stalled", lambda: ours(99, stalled=1), lambda: ours(99), rounds)
    return records


def figures(context: Context) -> Iterator[Figure]:
    """The table's lines."""
    for each in run(context.rounds(8), context.seconds(0.8)):
        if "ratio" not in each:
            continue
        bars = {"relay, 100 viewers": 1.0, "relay, 500 viewers": 1.0, "relay, 100 viewers, one stalled": 0.95}
        stalled = "stalled" in each["name"]
        yield Figure(
            "relay",
            each["name"].removeprefix("relay, ") + (" over none stalled" if stalled else " over a bare broadcast loop"),
            each["ratio"],
            spread=each["spread"],
            minimum=bars.get(each["name"]),
            rounds=tuple(each["rounds"]),
            details={name: each[name] for name in ("fps", "raw_fps", "rss_mb")},
        )


def main() -> int:
    """Prints the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--viewers", type=int, nargs="*", default=(1, 10, 100, 500))
    parser.add_argument("--serve-bare", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_bare:
        serve_bare(options.serve_bare)
        return 0
    for record in run(options.rounds, options.seconds, tuple(options.viewers)):
        print(record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
