"""Targets that read what Redis returns: the reply's bytes, its values, and the hashes of the registry."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import re
from typing import Any, cast

import hiredis

from elastic_inference.adapters.frame_queue.queue_reader import _source
from elastic_inference.adapters.redis_input import (
    MAX_TEXT,
    DropClaims,
    read_count,
    read_fields,
    read_name,
    read_number,
    read_text,
)
from elastic_inference.adapters.redis_routes import join
from elastic_inference.adapters.stream_broker.publisher import _subscribers
from elastic_inference.adapters.stream_broker.records import parse_stream, parse_worker
from elastic_inference.domain import keys
from elastic_inference.domain.model_wish import (
    CanaryChoice,
    Failure,
    Figures,
    ModelChoice,
    ModelFailure,
    ModelWish,
    PodModel,
    read_failure,
    read_pod_model,
    read_wish,
    record_json,
)
from elastic_inference.flows.relay.broker_feed import FeedProtocol
from elastic_inference.flows.relay.sharded_feed import NodeProtocol
from tests.fuzz.target import Reader, Target

_STREAM_FIELDS = (b"model", b"precision", b"device", b"pod", b"width", b"height", b"fps", b"latency_ms", b"seen_ms")
_WORKER_FIELDS = (b"infer_fps", b"drop_fps", b"scale_ratio", b"capacity_fps", b"device", b"model", b"precision")


# hiredis makes a list of the length that a server announces, before it has come. Only the server itself announces it.
_LONG_LIST = re.compile(rb"[*%~>|][^\r]{5,}")


def _replies(data: bytes) -> list[Any]:
    """The values that a client of ours gets for these bytes of a server."""
    if _LONG_LIST.search(data):
        return []
    reader = hiredis.Reader()
    reader.feed(data)
    found: list[Any] = []
    try:
        while (reply := reader.gets()) is not False:
            found.append(reply)
    except (hiredis.HiredisError, TypeError):
        pass  # no protocol of Redis: the connection ends
    return found


def _values(data: bytes) -> None:
    for reply in _replies(data):
        for value in reply if isinstance(reply, list) else (reply,):
            name = read_name(value)
            assert name is None or keys.is_name(name)
            assert len(read_text(value)) <= MAX_TEXT
            assert 0 <= read_count(value, 1000) <= 1000
            assert 0 <= read_number(value, 1000.0) <= 1000
            read_fields(value)
        dropped = DropClaims().read(reply)
        assert all(count > 0 for count in dropped.values())
        if isinstance(reply, list) and len(reply) >= 6:
            source = _source("people", reply[:6])
            assert source is None or json.dumps([source.fps, source.last_seen], allow_nan=False)


def _value_seeds() -> list[bytes]:
    drops = b"*4\r\n$10\r\nqueue_full\r\n$2\r\n12\r\n$5\r\nstale\r\n:7\r\n"
    source = b"*6\r\n$6\r\ngate-1\r\n$13\r\n1790000000000\r\n$4\r\nlive\r\n$5\r\n15.00\r\n$1\r\n0\r\n$1\r\n3\r\n"
    return [drops, source, b"*2\r\n*-1\r\n$-1\r\n", b"-WRONGTYPE no\r\n:5\r\n+OK\r\n$3\r\n1e3\r\n"]


def _hashes(data: bytes) -> None:
    lines = data.split(b"\n")
    score_ms = read_number(lines[0], math.inf) if lines[0] != b"inf" else math.inf
    stream = parse_stream("gate-1:people:inferred", dict(zip(_STREAM_FIELDS, lines[1:], strict=False)), score_ms)
    if stream is not None:
        json.dumps([stream.fps, stream.latency_ms, stream.last_seen], allow_nan=False)
        assert stream.width >= 1
        assert stream.height >= 1
        assert stream.fps >= 0
    worker = parse_worker("people:pod-1", dict(zip(_WORKER_FIELDS, lines[1:], strict=False)), score_ms)
    if worker is not None:
        numbers = [worker.infer_fps, worker.drop_fps, worker.scale_ratio, worker.capacity_fps or 0.0]
        json.dumps([*numbers, worker.last_seen], allow_nan=False)
        assert min(numbers) >= 0
    parse_worker(lines[0].decode("utf-8", "replace"), {b"x": b"y"}, 0.0)


def _hash_seeds() -> list[bytes]:
    return [
        b"1790000000000\nm\nINT8\nCPU\npod-1\n640\n480\n15.00\n12.50\n1790000000000",
        b"inf\n10.000\n2.000\n1.2000\nCPU\nm\nINT8",
    ]


def _models(data: bytes) -> None:
    wish = read_wish(data)
    for model in (wish.choice, wish.canary) if wish is not None else ():
        assert model is None or keys.is_name(model.model)
    assert wish is None or wish.former is None or keys.is_name(wish.former)
    for record in (wish, read_failure(data), read_pod_model(data)):
        if record is not None:
            json.dumps(json.loads(record_json(record)), allow_nan=False)


def _model_seeds() -> list[bytes]:
    canary = CanaryChoice(model="a_INT8", share=0.5)
    return [
        record_json(
            ModelWish(id="0" * 16, choice=ModelChoice(model="a"), former="b", canary_id="1" * 16, canary=canary)
        ),
        record_json(Failure(id="0" * 16, reason=ModelFailure.SLOW, message="Slow.", pod="pod-1")),
        record_json(PodModel(wish="0" * 16, canary="a_INT8", figures=Figures(frames=7, agreement=0.5, frame_s=0.01))),
    ]


class _Listener:
    def on_message(self, channel: bytes, message: bytes) -> None:
        pass

    def on_read(self, *, drained: bool) -> None:
        pass


class _Transport:
    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        pass


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for all inputs: a new one for each would take most of the time."""
    return asyncio.new_event_loop()


async def _feed(data: bytes) -> None:
    reader = Reader(data)
    step = 1 + reader.byte()
    transport = cast(asyncio.Transport, _Transport())
    sharded = reader.byte() & 1
    protocol = NodeProtocol(transport, _Listener(), set()) if sharded else FeedProtocol(transport, _Listener())
    body = reader.rest()
    for at in range(0, len(body), step):
        protocol.data_received(body[at : at + step])
        if protocol.lost.done():
            assert isinstance(protocol.lost.result(), Exception)
            return


def _subscriptions(data: bytes) -> None:
    if _LONG_LIST.search(data):
        return
    _loop().run_until_complete(_feed(data))
    for reply in _replies(data[2:]):
        _subscribers(reply)
        _subscribers(join(("PUBSUB", "NUMSUB", "c"), [reply, reply]))


def _subscription_seeds() -> list[bytes]:
    message = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\nabc\r\n"
    return [
        b"\x40\x00" + message * 2,
        b"\x40\x01" + message.replace(b"$7\r\nm", b"$8\r\nsm"),
        b"\x01\x00*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
        b"\x40\x01*3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:1\r\n",
        b"\x10\x00-NOPERM no\r\n",
        b"\x10\x00+PONG\r\n",
    ]


TARGETS = (
    Target("values of Redis", _values, (), _value_seeds),
    Target("hashes of the registry", _hashes, (), _hash_seeds),
    Target("records of models", _models, (), _model_seeds),
    Target("messages of the broker", _subscriptions, (), _subscription_seeds),
)
