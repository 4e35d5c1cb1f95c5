"""Shows and changes which model the pods of a type run or try. Called by the handlers of `/api/types`."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from elastic_inference.adapters.stream_broker.model_wishes import CANARY, SWITCH, Failures, WishStore
from elastic_inference.adapters.stream_broker.records import WorkerInfo
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.domain import keys
from elastic_inference.domain.model_wish import CanaryChoice, ModelChoice, ModelWish, PodModelView, TypeModel

_CHOICE = TypeAdapter(ModelChoice)
_CANARY = TypeAdapter(CanaryChoice)
T = TypeVar("T")


class ModelRefusal(Exception):
    """A request about models that is refused, with an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class GatewayModels:
    """The models of all types; one object per gateway. Raises ModelRefusal, RedisError and OSError."""

    def __init__(self, store: WishStore, registry: StreamRegistry) -> None:
        self._store, self._registry = store, registry

    async def model(self, infer_type: str) -> TypeModel:
        """What was asked for, what came of it, and what each pod runs."""
        wish, failures, pods = await self._read(infer_type)
        return _document(infer_type, wish, failures, pods)

    async def choose(self, infer_type: str, body: bytes) -> TypeModel:
        """All pods of the type change to a model."""
        choice = _parsed(_CHOICE, body)
        return await self._change(infer_type, choice)

    async def reset(self, infer_type: str) -> TypeModel:
        """All pods of the type change to the model of their settings."""
        return await self._change(infer_type, None)

    async def try_canary(self, infer_type: str, body: bytes) -> TypeModel:
        """All pods of the type try a model beside the running one."""
        choice = _parsed(_CANARY, body)
        wish, _, _ = await self._read(infer_type)
        kept = wish or ModelWish(id=_new_id())
        return await self._write(
            infer_type,
            ModelWish(id=kept.id, choice=kept.choice, former=kept.former, canary_id=_new_id(), canary=choice),
        )

    async def drop(self, infer_type: str) -> TypeModel:
        """Ends the canary."""
        wish = await self._with_canary(infer_type)
        return await self._write(infer_type, ModelWish(id=wish.id, choice=wish.choice, former=wish.former))

    async def promote(self, infer_type: str) -> TypeModel:
        """All pods change to the canary's model, and the canary ends."""
        wish = await self._with_canary(infer_type)
        canary = wish.canary
        assert canary is not None  # noqa: S101  checked by _with_canary
        _, failures, _ = await self._read(infer_type)
        if (failure := failures.get(CANARY)) is not None and failure.id == wish.canary_id:
            raise ModelRefusal(409, f"The canary has failed: {failure.message}")
        choice = ModelChoice(
            model=canary.model, max_time_factor=canary.max_time_factor, min_agreement=canary.min_agreement
        )
        return await self._change(infer_type, choice)

    async def _change(self, infer_type: str, choice: ModelChoice | None) -> TypeModel:
        wish, failures, _ = await self._read(infer_type)
        former = None
        if wish is not None:
            failed = failures.get(SWITCH)
            back = failed is not None and failed.id == wish.id
            former = wish.former if back else wish.choice.model if wish.choice else None
        # A canary compares with the model that runs, so it ends with it.
        return await self._write(infer_type, ModelWish(id=_new_id(), choice=choice, former=former))

    async def _write(self, infer_type: str, wish: ModelWish) -> TypeModel:
        await self._store.write(infer_type, wish)
        return await self.model(infer_type)

    async def _with_canary(self, infer_type: str) -> ModelWish:
        wish, _, _ = await self._read(infer_type)
        if wish is None or wish.canary is None:
            raise ModelRefusal(409, f"The type {infer_type} has no canary.")
        return wish

    async def _read(self, infer_type: str) -> tuple[ModelWish | None, Failures, list[WorkerInfo]]:
        if not keys.is_name(infer_type):
            raise ModelRefusal(404, f"{infer_type[:200]!r} is not the name of an inference type.")
        wish, failures = await self._store.read(infer_type)
        pods = [each for each in await self._registry.workers() if each.type == infer_type]
        if wish is None and not pods:
            raise ModelRefusal(404, f"No pod of the type {infer_type} reports.")
        return wish, failures, pods


def _document(infer_type: str, wish: ModelWish | None, failures: Failures, pods: Iterable[WorkerInfo]) -> TypeModel:
    views = tuple(_view(each) for each in pods)
    if wish is None:
        return TypeModel(type=infer_type, pods=views)
    failed, canary_failed = failures.get(SWITCH), failures.get(CANARY)
    return TypeModel(
        type=infer_type,
        choice=wish.choice,
        failure=failed if failed is not None and failed.id == wish.id else None,
        canary=wish.canary,
        canary_failure=canary_failed if canary_failed is not None and canary_failed.id == wish.canary_id else None,
        pods=views,
    )


def _view(pod: WorkerInfo) -> PodModelView:
    state = pod.model_state
    return PodModelView(
        pod=pod.pod,
        model=pod.model,
        precision=pod.precision,
        stage=state.stage if state else None,
        canary=state.canary if state else None,
        figures=state.figures if state else None,
    )


def _parsed(adapter: TypeAdapter[T], body: bytes) -> T:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, wrong["loc"]))[:100]
        raise ModelRefusal(400, f"The request is wrong{f' at {where}' if where else ''}: {wrong['msg']}.") from None


def _new_id() -> str:
    return secrets.token_hex(8)
