"""Every client of Redis sets what the library would otherwise decide: how long to wait, and whether to send again.

redis-py stops waiting after 5 s, even for a command that waits longer by design. `Redis()` then sends the command
again, up to ten times, although Redis may have executed it. `Redis.from_url()` sends nothing again.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "apps").rglob("*.py"), *(ROOT / "doc" / "examples").glob("*.py")])
MAKERS = {"Redis", "StrictRedis", "from_url", "ConnectionPool", "Sentinel", "RedisCluster"}
NEEDED = {"retry", "socket_timeout"}


@functools.cache
def clients(path: Path) -> list[ast.Call]:
    """The calls in a file that make a client or a pool of connections."""
    text = path.read_text()
    if not any(f"{maker}(" in text for maker in MAKERS):
        return []
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in MAKERS]


def test_the_clients_are_found() -> None:
    assert sum(len(clients(path)) for path in FILES) >= 10


# One test, since parameters would read all files whenever pytest looks for tests.
def test_every_client_says_how_long_it_waits_and_whether_it_repeats() -> None:
    for path in FILES:
        for call in clients(path):
            given = {keyword.arg for keyword in call.keywords}
            # None stands for `**options`, those of `redis_connection` and `redis_cluster`
            assert given >= NEEDED or None in given, f"{path.name}:{call.lineno} leaves {NEEDED - given} to redis-py"
