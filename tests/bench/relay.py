"""Speed of the relay: frames delivered to viewers, over a bare `websockets.broadcast` loop.

`python -m tests.bench --only relay` runs it; alone: `python -m tests.bench.relay -h`.

Three processes run beside Valkey: the websocket server as a user runs it, fed through Redis; the bare loop, which has
its frame in memory; and this one, which publishes and reads (`relay_traffic`). Viewers connect to one server at a time,
in turns. Publishing follows what the fastest viewer has received, so the server is never idle and never flooded.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import redis
from websockets.asyncio.server import ServerConnection, broadcast, serve

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.bench.processes import listening
from tests.bench.record import Context, Figure, cpu_s, rss_mb, spread_of
from tests.bench.relay_traffic import FRAME_BYTES, STREAM, Publisher, Viewers, measure
from tests.support.ports import free_port


def serve_bare(port: int) -> None:
    """The comparison: sends a frame to all viewers, and the next one when every socket has accepted it."""

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
                    "import sys; from elastic_inference.commands.services import websocket; sys.exit(websocket())",
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
    with running() as (relay, bare, valkey, pid):
        records = [_idle(pid)]

        def ours(count: int, stalled: int = 0) -> float:
            viewers = Viewers(relay, f"/{STREAM}?format=frame", count, stalled)
            with closing(viewers), closing(Publisher(valkey)) as publisher:
                return measure(viewers, publisher, seconds)

        def theirs(count: int) -> float:
            with closing(Viewers(bare, "/", count)) as viewers:
                return measure(viewers, None, seconds)

        for count in viewer_counts:
            few = rounds if count >= 100 else max(2, rounds // 2)
            pairs = _alternate(lambda count=count: ours(count), lambda count=count: theirs(count), few)
            records.append(_record(f"relay, {count} viewers", pairs, pid))
        pairs = _alternate(lambda: ours(99, stalled=1), lambda: ours(99), rounds)
        records.append(_record("relay, 100 viewers, one stalled", pairs, pid))
    return records


def _idle(pid: int) -> dict[str, Any]:
    time.sleep(1)
    before, began = cpu_s(pid), time.monotonic()
    time.sleep(5)
    idle = (cpu_s(pid) - before) / (time.monotonic() - began) * 100
    return {"name": "relay, idle", "cpu_percent": round(idle, 2), "rss_mb": round(rss_mb(pid), 1)}


def _alternate(one: Callable[[], float], other: Callable[[], float], rounds: int) -> list[tuple[float, float]]:
    """Results of both; rounds begin with each in turn."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            second, first = other(), one()
        else:
            first, second = one(), other()
        pairs.append((first, second))
    return pairs


def _record(name: str, pairs: list[tuple[float, float]], pid: int) -> dict[str, Any]:
    ratios = [mine / raw for mine, raw in pairs]
    return {
        "name": name,
        "ratio": round(statistics.median(ratios), 3),
        "spread": round(spread_of(ratios), 3),
        "rounds": [round(each, 3) for each in ratios],
        "fps": round(statistics.median(mine for mine, _ in pairs)),
        "raw_fps": round(statistics.median(raw for _, raw in pairs)),
        "rss_mb": round(rss_mb(pid), 1),
    }


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
