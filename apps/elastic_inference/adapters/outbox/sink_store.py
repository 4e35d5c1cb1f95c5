"""The gateway's access to sinks: those added by the API, states, dead letters, requests to event workers. asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import NoScriptError

from elastic_inference.adapters.outbox.sink_records import KNOWN, MAX_SPEC_BYTES
from elastic_inference.domain import keys
from elastic_inference.domain.sink_spec import MAX_SINKS, SinkError, SinkSpec, read_sink, sink_document

MAX_REQUESTS = 32
MAX_LISTED = 100
_POLL_S = 0.1


class SinkStore:
    """Every method raises RedisError or OSError when Redis is unavailable."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._client = client

    async def read(self) -> tuple[dict[str, SinkSpec], dict[str, SinkSpec], str | None, dict[str, dict[str, Any]]]:
        """(the file's sinks, the API's sinks, what is wrong with the file, states by name).

        The file's problem is None while no event worker runs.
        """
        pipe = self._client.pipeline(transaction=False)
        pipe.get(keys.SINK_FILE)
        pipe.hgetall(keys.SINK_SPECS)
        pipe.hgetall(keys.SINK_STATES)
        file, rest, states = await pipe.execute()
        document = _object(file)
        listed = document.get("sinks", [])
        from_file = [_spec(each) for each in listed[:MAX_SINKS]] if isinstance(listed, list) else []
        from_rest = [_spec(_object(raw)) for name, raw in rest.items() if name != KNOWN.encode()][:MAX_SINKS]
        return (
            {spec.name: spec for spec in from_file if spec},
            {spec.name: spec for spec in from_rest if spec},
            str(document.get("problem", "")) if file is not None else None,
            {name.decode("utf-8", "replace"): _object(raw) for name, raw in states.items()},
        )

    async def write(self, spec: SinkSpec) -> None:
        """Adds or replaces a sink of the API."""
        await self._await(self._client.hset(keys.SINK_SPECS, spec.name, json.dumps(sink_document(spec))))

    async def remove(self, name: str) -> None:
        """Removes a sink of the API."""
        await self._await(self._client.hdel(keys.SINK_SPECS, name))

    async def change(self, name: str, revision: str, spec: SinkSpec | None) -> bool:
        """Replaces a sink of the API, or removes it (None), if its revision is still this one. False if it is not."""
        before: bytes | None = await self._await(self._client.hget(keys.SINK_SPECS, name))
        known = _spec(_object(before))
        if before is None or known is None or revision_of(known) != revision:
            return False
        after = "" if spec is None else json.dumps(sink_document(spec))
        sha, text = _change_script()
        try:
            done = await self._await(self._client.evalsha(sha, 1, keys.SINK_SPECS, name, before, after))
        except NoScriptError:
            await self._client.script_load(text)
            done = await self._await(self._client.evalsha(sha, 1, keys.SINK_SPECS, name, before, after))
        return bool(done)

    async def dead_counts(self, names: list[str]) -> list[int]:
        """How many dead letters each sink has."""
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.xlen(keys.dead_letters(name))
        return [int(each) for each in await pipe.execute()] if names else []

    async def dead_letters(self, name: str) -> list[tuple[str, dict[bytes, bytes]]]:
        """The oldest dead letters of a sink."""
        page: Any = await self._client.xrange(keys.dead_letters(name), count=MAX_LISTED)
        return [(entry_id.decode(), fields) for entry_id, fields in page]

    async def ask(self, what: str, sink: str, limit_s: float, **more: Any) -> dict[str, Any] | None:
        """Sends a request to the event workers. None if no answer arrives in time."""
        identity = secrets.token_hex(8)
        waiting: Any = await self._await(self._client.llen(keys.SINK_REQUESTS))
        if waiting >= MAX_REQUESTS:
            return None
        request = json.dumps({"id": identity, "what": what, "sink": sink, **more})
        pipe = self._client.pipeline(transaction=False)
        pipe.rpush(keys.SINK_REQUESTS, request)
        pipe.pexpire(keys.SINK_REQUESTS, int(limit_s * 1000))
        await pipe.execute()
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            answer: Any = await self._client.get(keys.sink_reply(identity))
            if answer is not None:
                return _object(answer)
            await asyncio.sleep(_POLL_S)
        return None

    async def _await(self, waiting: Any) -> Any:
        return await waiting


def revision_of(spec: SinkSpec) -> str:
    """A text that changes with the specification."""
    document = json.dumps(sink_document(spec), sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:16]


@functools.cache
def _change_script() -> tuple[str, str]:
    text = (Path(__file__).parent / "change_spec.lua").read_text()
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text


def _object(raw: bytes | None) -> dict[str, Any]:
    if raw is not None and len(raw) <= MAX_SPEC_BYTES * MAX_SINKS:
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(raw)
            if isinstance(found, dict):
                return found
    return {}


def _spec(document: Mapping[str, Any]) -> SinkSpec | None:
    try:
        return read_sink(document)
    except SinkError:
        return None
