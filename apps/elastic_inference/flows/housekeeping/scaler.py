"""KEDA's external push scaler: says whether a type needs pods, and how many, and pushes the first frame's arrival.

Called by `housekeeping_service`, if SCALER_PORT is set. `domain.scaler_messages` has the protocol's messages. Every
replica answers the same, since all it says is read from Redis. While Redis is unavailable, calls end with an error, and
KEDA keeps the pool as it is.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from redis.exceptions import RedisError

from elastic_inference.adapters.grpc_server import CallError, GrpcStatus, Method
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import ScalerMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.scaler_messages import (
    SERVICE,
    ScaledObjectRef,
    ScalerMessageError,
    is_active_message,
    metric_message,
    parse_metrics_request,
    parse_scaled_object,
)
from elastic_inference.flows.housekeeping.pool_demand import PoolDemand

log = logging.getLogger(__name__)

METRIC = "ei_scale_ratio"
# How often the queues of the types are read that have a stream: the maximum delay of a push, nearly.
LOOK_EVERY_S = 0.25
MAX_STREAMS = 1024
MAX_TARGET = 100.0
_CONTACT = (RedisError, OSError, TimeoutError)
Message = TypeVar("Message")


class Watched:
    """One type that streams watch: `active` is None while it is unknown."""

    def __init__(self) -> None:
        self.active: bool | None = None
        self.streams = 0
        self.changed = asyncio.Condition()


class Scaler:
    """The methods of the protocol. One event loop; `run` is the loop that watches types."""

    def __init__(
        self,
        demand: PoolDemand,
        metrics: ScalerMetrics,
        stop: asyncio.Event,
        explain: Callable[[Exception], str],
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """`explain` says in a line what a Redis error means."""
        self._demand, self._metrics, self._stop, self._explain = demand, metrics, stop, explain
        self._look_every_s = look_every_s
        self._watched: dict[str, Watched] = {}
        self._streams = 0
        self._throttle = Throttle()

    @property
    def methods(self) -> dict[str, Method]:
        """Each method by its path."""
        found = {
            "IsActive": self._is_active,
            "StreamIsActive": self._stream_is_active,
            "GetMetricSpec": self._get_metric_spec,
            "GetMetrics": self._get_metrics,
        }
        return {f"/{SERVICE}/{name}": method for name, method in found.items()}

    async def run(self) -> None:
        """Watches the types that have streams, until the stop; then the streams end. A bug in a look is logged."""
        while not self._stop.is_set():
            try:
                await self._look()
            except Exception as error:
                if note := self._throttle.note(type(error)):
                    log.exception("looking at the queues failed %s", note)
            try:
                async with asyncio.timeout(self._look_every_s):
                    await self._stop.wait()
            except TimeoutError:
                continue
        for each in list(self._watched.values()):
            async with each.changed:
                each.changed.notify_all()

    async def _is_active(self, message: bytes) -> AsyncGenerator[bytes]:
        infer_type = infer_type_of(_read(parse_scaled_object, message))
        try:
            (waiting,) = await self._demand.waiting([infer_type])
            active = waiting > 0 or (await self._pods(infer_type)) > 0
        except _CONTACT as error:
            raise self._unavailable(error) from None
        yield is_active_message(active)

    async def _get_metric_spec(self, message: bytes) -> AsyncGenerator[bytes]:
        reference = _read(parse_scaled_object, message)
        infer_type_of(reference)
        yield metric_message(METRIC, target_of(reference))

    async def _get_metrics(self, message: bytes) -> AsyncGenerator[bytes]:
        reference, metric = _read(parse_metrics_request, message)
        infer_type = infer_type_of(reference)
        if metric != METRIC:
            raise CallError(GrpcStatus.INVALID_ARGUMENT, f"expected the metric {METRIC}, got {metric[:100]!r}")
        try:
            pods = await self._pods(infer_type)
        except _CONTACT as error:
            raise self._unavailable(error) from None
        yield metric_message(METRIC, pods)

    async def _stream_is_active(self, message: bytes) -> AsyncGenerator[bytes]:
        """Sends the state at once, and each change of it."""
        infer_type = infer_type_of(_read(parse_scaled_object, message))
        with self._watch(infer_type) as watched:
            last: bool | None = None
            while not self._stop.is_set():
                async with watched.changed:
                    while watched.active == last and not self._stop.is_set():
                        await watched.changed.wait()
                    last = watched.active
                if last is not None and not self._stop.is_set():
                    yield is_active_message(last)

    @contextmanager
    def _watch(self, infer_type: str) -> Iterator[Watched]:
        watched = self._watched.get(infer_type)
        if self._streams >= MAX_STREAMS:
            raise CallError(GrpcStatus.RESOURCE_EXHAUSTED, f"expected at most {MAX_STREAMS} streams")
        if watched is None:
            watched = self._watched[infer_type] = Watched()
        watched.streams += 1
        self._streams += 1
        self._metrics.streams.set(self._streams)
        try:
            yield watched
        finally:
            watched.streams -= 1
            self._streams -= 1
            self._metrics.streams.set(self._streams)
            if not watched.streams:
                del self._watched[infer_type]

    async def _look(self) -> None:
        """Reads the state of each watched type."""
        names = list(self._watched)
        if not names:
            return
        try:
            waiting = await self._demand.waiting(names)
            states: dict[str, bool | None] = {}
            for name, count in zip(names, waiting, strict=True):
                states[name] = True if count else await self._has_demand(name)
        except _CONTACT as error:
            if note := self._throttle.note("contact"):
                log.warning("the scaler cannot tell KEDA which types need pods: %s %s", self._explain(error), note)
            states = dict.fromkeys(names)
        for name, active in states.items():
            watched = self._watched.get(name)
            if watched is not None and watched.active != active:
                watched.active = active
                async with watched.changed:
                    watched.changed.notify_all()

    async def _has_demand(self, infer_type: str) -> bool | None:
        pods = await self._demand.pods(infer_type)
        return None if pods is None else pods > 0

    async def _pods(self, infer_type: str) -> float:
        pods = await self._demand.pods(infer_type)
        if pods is None:
            raise CallError(GrpcStatus.UNAVAILABLE, f"not all pods of the type {infer_type} have reported yet")
        return pods

    def _unavailable(self, error: Exception) -> CallError:
        text = self._explain(error)
        if note := self._throttle.note("contact"):
            log.warning("the scaler cannot answer KEDA: %s %s", text, note)
        return CallError(GrpcStatus.UNAVAILABLE, text)


def _read(parse: Callable[[bytes], Message], message: bytes) -> Message:
    try:
        return parse(message)
    except ScalerMessageError as error:
        raise CallError(GrpcStatus.INVALID_ARGUMENT, f"the request cannot be read: {error}") from None


def infer_type_of(reference: ScaledObjectRef) -> str:
    """The inference type in a trigger's metadata. Raises CallError."""
    name = reference.metadata.get("inferType", "")
    if not keys.is_name(name):
        text = f"expected metadata inferType of the trigger: {keys.NAME_RULE}; got {name[:100]!r}"
        raise CallError(GrpcStatus.INVALID_ARGUMENT, text)
    return name


def target_of(reference: ScaledObjectRef) -> float:
    """The target in a trigger's metadata. Raises CallError."""
    text = reference.metadata.get("target", "")
    try:
        target = float(text)
    except ValueError:
        target = math.nan
    if not 0 < target <= MAX_TARGET:
        wanted = f"expected metadata target of the trigger: a number above 0, at most {MAX_TARGET:.0f}"
        raise CallError(GrpcStatus.INVALID_ARGUMENT, f"{wanted}, such as 0.8; got {text[:100]!r}")
    return target
