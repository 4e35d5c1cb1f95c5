"""Groups of Redis commands, for tests of what each login may not do."""

from __future__ import annotations

from typing import Any

from elastic_inference.domain import keys
from tests.support.redis_names import CHANNELS, FRAME, RESULTS, STREAM, TYPE

Command = tuple[Any, ...]
# What only an admin may do.
SERVER: list[Command] = [
    *[("CONFIG", "GET", "*"), ("CONFIG", "SET", "maxmemory", "0"), ("ACL", "LIST"), ("ACL", "SETUSER", "x", "on")],
    *[("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("MONITOR",), ("SCRIPT", "FLUSH"), ("SCRIPT", "KILL")],
    *[("FLUSHALL",), ("FLUSHDB",), ("SHUTDOWN", "NOSAVE"), ("REPLICAOF", "127.0.0.1", 1), ("MODULE", "LIST")],
    *[("SAVE",), ("CLUSTER", "NODES"), ("SWAPDB", 0, 1), ("FAILOVER",), ("LATENCY", "RESET")],
]
LISTING: list[Command] = [("KEYS", "*"), ("SCAN", 0), ("RANDOMKEY",), ("DBSIZE",)]
SCRIPTS: list[Command] = [("EVAL", "return 1", 0), ("SCRIPT", "LOAD", "return 1"), ("FUNCTION", "LIST")]
SUBSCRIBING: list[Command] = [("SUBSCRIBE", STREAM), ("PSUBSCRIBE", "*"), ("SSUBSCRIBE", STREAM)]
PUBLISHING: list[Command] = [(verb, channel, "x") for channel in CHANNELS for verb in ("PUBLISH", "SPUBLISH")]
REGISTRY: list[Command] = [
    *[("ZADD", keys.STREAMS, 1, STREAM), ("HSET", keys.stream_info(STREAM), "fps", 1), ("DEL", keys.STREAMS)],
    *[("ZADD", keys.WORKERS, 1, "x"), ("HSET", keys.worker_info(TYPE, "pod-1"), "fps", 1)],
]
RESULT_WRITES: list[Command] = [
    *[
        ("XADD", RESULTS, "*", "json", "{}"),
        ("XDEL", RESULTS, "1-1"),
        ("XTRIM", RESULTS, "MAXLEN", 0),
        ("DEL", RESULTS),
    ],
    *[("XSETID", RESULTS, "9-9"), ("SET", RESULTS, "x"), ("RENAME", RESULTS, "x"), ("EXPIRE", RESULTS, 1)],
]
RESULT_READS: list[Command] = [("XRANGE", RESULTS, "-", "+"), ("XREAD", "STREAMS", RESULTS, 0), ("XLEN", RESULTS)]
FRAME_READS: list[Command] = [("GET", FRAME), ("GETDEL", FRAME), ("SET", FRAME, "y", "GET"), ("GETRANGE", FRAME, 0, -1)]
FRAME_READS += [
    ("DUMP", FRAME),
    ("COPY", FRAME, "queue_x"),
    ("RENAME", FRAME, "queue_x"),
    ("STRLEN", FRAME),
]  # the last: its size alone
IMAGE = keys.snapshot_image(f"{STREAM}/1-1")
IMAGE_READS: list[Command] = [("GET", IMAGE), ("GETRANGE", IMAGE, 0, -1), ("GETDEL", IMAGE), ("DUMP", IMAGE)]
IMAGE_WRITES: list[Command] = [
    *[("SET", IMAGE, "x"), ("UNLINK", IMAGE), ("PEXPIRE", IMAGE, 1), ("ZADD", keys.SNAPSHOT_INDEX, 1, "x")],
    *[("RPUSH", keys.snapshot_requests("pod-1"), "x"), ("RPUSH", keys.snapshot_answers("worker-1"), "x")],
    ("SET", keys.snapshot_state(f"{STREAM}/1-1"), "pod"),
]
# What a producer has no need of, whatever the name of its streams.
NOT_OF_A_PRODUCER = [*FRAME_READS, *RESULT_READS, *RESULT_WRITES, *REGISTRY, *SCRIPTS, *SUBSCRIBING]
# Everything of the broker.
BROKER = [*RESULT_READS, *RESULT_WRITES, *REGISTRY, *PUBLISHING]
