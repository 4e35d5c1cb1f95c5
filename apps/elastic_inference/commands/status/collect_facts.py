"""Checks Redis, the websocket server and the gateway of a running system, each within a time limit."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import redis
import redis.asyncio as aioredis
from pydantic import TypeAdapter
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest
from tornado.websocket import WebSocketClosedError, websocket_connect

from elastic_inference.adapters.event_store.condition import EventCondition, read_condition
from elastic_inference.adapters.frame_queue import QueueReader
from elastic_inference.adapters.redis_connection import connect_async
from elastic_inference.adapters.redis_server_check import ask_problem
from elastic_inference.adapters.stream_broker import StreamRegistry
from elastic_inference.base.config import RedisTarget
from elastic_inference.base.redis_url import parse_redis_url
from elastic_inference.commands.status.findings import EventState, IdleSink, Observations, PoolCamera, ProducerState
from elastic_inference.domain.camera import CameraState
from elastic_inference.domain.camera_documents import Cameras
from elastic_inference.domain.leases import LEASE_S, ROUND_S
from elastic_inference.domain.sink_documents import SinkCondition, Sinks

LIMIT_S = 5.0
# A new type is found within a second. Then two of the janitor's rounds.
JANITOR_LIMIT_S = 3.5
# After the death of an event worker, others take its partitions within this time.
TAKEOVER_LIMIT_S = LEASE_S + 3 * ROUND_S
# As the alert SinkLags.
SINK_LAG_S = 60.0
# More than REDIS_ERRORS: the server may not be Redis, and its keys may be of any kind.
_FAILURES = (redis.RedisError, OSError)
_LOGIN_ERRORS = (redis.AuthenticationError, redis.exceptions.NoPermissionError)


async def collect_facts(
    queue: RedisTarget,
    broker: RedisTarget,
    *,
    relay_url: str = "",
    gateway_url: str = "",
    token: str = "",
) -> Observations:
    """Observations of the system at these addresses; empty addresses are skipped."""
    facts = Observations(queue_address=str(queue), relay_address=relay_url, gateway_address=gateway_url)
    await _queue(queue, facts)
    if facts.queue_error and not facts.queue_login_refused:
        facts.queue_is_http = await _answers_http(queue)
    await _broker(broker, facts, separate=broker != queue)
    if relay_url:
        parts = urlsplit(relay_url)
        facts.relay_error = await _connects(parts.hostname or "", parts.port or 80)
    if gateway_url:
        facts.gateway_error = await _gateway(gateway_url)
        if not facts.gateway_error:
            facts.idle_cameras = await _idle_cameras(gateway_url, token)
        if not facts.gateway_error and facts.events:
            facts.idle_sinks, facts.sinks_problem = await _idle_sinks(gateway_url, token)
        if not facts.gateway_error and facts.inferred:
            facts.video_stream = min(facts.inferred)
            facts.video_error = await _video(gateway_url, facts.video_stream, token)
    return facts


async def _queue(target: RedisTarget, facts: Observations) -> None:
    try:
        reader = QueueReader(target, "ei-status")
        try:
            async with asyncio.timeout(LIMIT_S):
                for kind in await reader.types():
                    facts.waiting[kind] = await reader.length(kind)
                    facts.producers += [
                        ProducerState(each.name, kind, each.state) for each in await reader.sources(kind)
                    ]
                if facts.waiting:
                    facts.janitor_runs = await _janitor_runs(reader, min(facts.waiting))
                facts.queue_problem = await ask_problem(reader.clients.of(""))
        finally:
            await reader.close()
    except _FAILURES as error:
        facts.queue_error = _in_words(error)
        facts.queue_login_refused = isinstance(error, _LOGIN_ERRORS)


async def _janitor_runs(reader: QueueReader, infer_type: str) -> bool:
    """Whether some replica takes the lock of a type: each holds it for most of a second."""
    until = time.monotonic() + JANITOR_LIMIT_S
    while not (found := await reader.janitor_runs(infer_type)) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    return found


async def _answers_http(target: RedisTarget) -> bool:
    """Whether a web server answers instead of Redis, which refuses such a GET."""
    try:
        url = parse_redis_url(target.url.get_secret_value())
        if url.scheme != "redis":
            return False
        async with asyncio.timeout(LIMIT_S):
            reader, writer = await asyncio.open_connection(*url.hosts[0])
            try:
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                return await reader.readexactly(5) == b"HTTP/"
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError, ValueError):
        return False


async def _broker(target: RedisTarget, facts: Observations, *, separate: bool) -> None:
    try:
        client = connect_async(target, name="ei-status")
        try:
            async with asyncio.timeout(LIMIT_S):
                registry = StreamRegistry(client)
                if separate and (problem := await ask_problem(client)):
                    facts.broker_problem = f"{target} {problem}"
                for worker in await registry.workers():
                    facts.workers[worker.type] = facts.workers.get(worker.type, 0) + 1
                streams = await registry.streams()
                facts.inferred = {stream.id: stream.type for stream in streams}
            await _events(client, {stream.name: stream.last_seen for stream in streams}, facts)
        finally:
            await client.aclose()
    except _FAILURES as error:
        facts.broker_error = f"{target}: {_in_words(error)}"


async def _events(client: aioredis.Redis, seen: dict[str, float], facts: Observations) -> None:
    try:
        async with asyncio.timeout(LIMIT_S + TAKEOVER_LIMIT_S):
            found = await _settled_condition(client, seen)
    except redis.exceptions.NoPermissionError:
        facts.events_hidden = True
        return
    if found is not None:
        facts.events = EventState(found.partitions, found.workers, found.unowned, found.lag_s)


async def _settled_condition(client: aioredis.Redis, seen: dict[str, float]) -> EventCondition | None:
    """Retries for a while if a partition has no worker: another worker may be about to take it."""
    until = time.monotonic() + TAKEOVER_LIMIT_S
    while (found := await read_condition(client, seen)) is not None and found.unowned and time.monotonic() < until:
        await asyncio.sleep(0.25)
    return found


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {LIMIT_S:.0f} s"
    if isinstance(error, _LOGIN_ERRORS):
        return f"login refused ({error})"
    return " ".join(str(error).split())[:200] or type(error).__name__


async def _connects(host: str, port: int) -> str | None:
    try:
        async with asyncio.timeout(LIMIT_S):
            _reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {LIMIT_S:.0f} s"
    except OSError as error:
        return str(error)
    writer.close()
    return None


async def _gateway(url: str) -> str | None:
    try:
        answer = await AsyncHTTPClient().fetch(
            HTTPRequest(
                url + "/api/session",
                connect_timeout=LIMIT_S,
                request_timeout=LIMIT_S,
                validate_cert=not _is_loopback(url),
            ),
            raise_error=False,
        )
    except (OSError, HTTPError, ValueError) as error:
        return str(error)
    if answer.code == 403:
        return "it refuses requests for this host name: use its IP address, or add the name to ALLOWED_HOSTS"
    return None if answer.code == 200 else f"answers /api/session with {answer.code}: not the gateway"


async def _idle_cameras(url: str, token: str) -> list[PoolCamera]:
    """Cameras of the pool that no worker runs. Empty if the gateway shows none: no pool, or a token is needed."""
    try:
        cameras = TypeAdapter(Cameras).validate_json(await _document(url + "/api/cameras", token)).cameras
    except (OSError, HTTPError, ValueError):
        return []
    return [
        PoolCamera(camera.name, camera.status.state.value, camera.status.reason or "")
        for camera in cameras
        if camera.status.state in (CameraState.UNASSIGNED, CameraState.QUARANTINED)
    ]


async def _idle_sinks(url: str, token: str) -> tuple[list[IdleSink], str]:
    """Sinks that do not get their events, and what is wrong with their file; none if the gateway does not show them."""
    try:
        sinks = TypeAdapter(Sinks).validate_json(await _document(url + "/api/sinks", token))
    except (OSError, HTTPError, ValueError):
        return [], ""
    found = []
    for each in sinks.sinks:
        state = each.state
        if state.condition in (SinkCondition.FAILING, SinkCondition.PAUSED, SinkCondition.UNASSIGNED):
            found.append(IdleSink(each.spec.name, f"is {state.condition.value}", state.reason or ""))
        elif state.condition is not SinkCondition.DISABLED and state.lag_s >= SINK_LAG_S:
            found.append(IdleSink(each.spec.name, f"lags {state.lag_s:.0f} s"))
    return found, sinks.problem or ""


async def _document(url: str, token: str) -> bytes:
    answer = await AsyncHTTPClient().fetch(
        HTTPRequest(
            url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            connect_timeout=LIMIT_S,
            request_timeout=LIMIT_S,
            validate_cert=not _is_loopback(url),
        )
    )
    return answer.body


def _is_loopback(url: str) -> bool:
    """Inside the gateway's own pod the certificate names a different host from the address used."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


async def _video(gateway_url: str, stream_id: str, token: str) -> str | None:
    url = gateway_url.replace("http", "ws", 1) + f"/{stream_id}?format=json"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with asyncio.timeout(LIMIT_S):
            socket = await websocket_connect(
                HTTPRequest(url, headers=headers, connect_timeout=LIMIT_S, validate_cert=not _is_loopback(gateway_url))
            )
            message = await socket.read_message()
            code = socket.close_code
            socket.close()
    except TimeoutError:
        return f"no frame within {LIMIT_S:.0f} s"
    except HTTPError as error:
        if error.code == 401:
            return "it needs the token: set GATEWAY_TOKEN or GATEWAY_TOKEN_FILE"
        return f"the gateway answers {error.code}"
    except (OSError, WebSocketClosedError) as error:
        return str(error)
    return None if message is not None else f"the websocket was closed with code {code}"
