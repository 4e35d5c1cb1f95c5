"""Shows and changes which model the pods of a type run or try. Called by the handlers of `/api/types`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from elastic_inference.adapters.stream_broker.model_wishes import CANARY, SWITCH, Asked, WishStore
from elastic_inference.adapters.stream_broker.records import WorkerInfo
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.domain import keys
from elastic_inference.domain.model_views import PodModelView, TypeModel
from elastic_inference.domain.model_wish import CanaryChoice, ModelChoice, ModelWish

_CHOICE = TypeAdapter(ModelChoice)
_CANARY = TypeAdapter(CanaryChoice)
T = TypeVar("T")


class ModelRefusal(Exception):
    """A request about models that is refused, with an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


CHANGED = "Somebody has changed the model or the canary since: read them again, then ask again."
# Without a revision, the change is made to what is there: each try starts with reading it.
_TRIES = 8


class GatewayModels:
    """The models of all types; one object per gateway. Raises ModelRefusal, RedisError and OSError.

    With a `revision`, a change is made only if nobody has changed the type's model or canary since. Changes without one
    are made one after the other, so the last one wins.
    """

    def __init__(self, store: WishStore, registry: StreamRegistry) -> None:
        self._store, self._registry = store, registry

    async def model(self, infer_type: str) -> tuple[TypeModel, str]:
        """What was asked for, what came of it, and what each pod runs; with the revision."""
        asked, pods = await self._read(infer_type)
        return _document(infer_type, asked, pods), asked.revision

    async def choose(self, infer_type: str, body: bytes, revision: str | None = None) -> tuple[TypeModel, str]:
        """All pods of the type change to a model."""
        choice = _parsed(_CHOICE, body)
        return await self._change(infer_type, revision, lambda asked: _switched(asked, choice))

    async def reset(self, infer_type: str, revision: str | None = None) -> tuple[TypeModel, str]:
        """All pods of the type change to the model of their settings."""
        return await self._change(infer_type, revision, lambda asked: _switched(asked, None))

    async def try_canary(self, infer_type: str, body: bytes, revision: str | None = None) -> tuple[TypeModel, str]:
        """All pods of the type try a model beside the running one."""
        choice = _parsed(_CANARY, body)

        def tried(asked: Asked) -> ModelWish:
            kept = asked.wish or ModelWish(id=_new_id())
            return ModelWish(id=kept.id, choice=kept.choice, former=kept.former, canary_id=_new_id(), canary=choice)

        return await self._change(infer_type, revision, tried)

    async def drop(self, infer_type: str, revision: str | None = None) -> tuple[TypeModel, str]:
        """Ends the canary."""

        def dropped(asked: Asked) -> ModelWish:
            wish, _ = _with_canary(infer_type, asked)
            return ModelWish(id=wish.id, choice=wish.choice, former=wish.former)

        return await self._change(infer_type, revision, dropped)

    async def promote(self, infer_type: str, revision: str | None = None) -> tuple[TypeModel, str]:
        """All pods change to the canary's model, and the canary ends."""

        def promoted(asked: Asked) -> ModelWish:
            wish, canary = _with_canary(infer_type, asked)
            if (failure := asked.failures.get(CANARY)) is not None and failure.id == wish.canary_id:
                raise ModelRefusal(409, f"The canary has failed: {failure.message}")
            choice = ModelChoice(
                model=canary.model, max_time_factor=canary.max_time_factor, min_agreement=canary.min_agreement
            )
            return _switched(asked, choice)

        return await self._change(infer_type, revision, promoted)

    async def _change(
        self, infer_type: str, revision: str | None, make: Callable[[Asked], ModelWish]
    ) -> tuple[TypeModel, str]:
        for _ in range(_TRIES):
            asked, _ = await self._read(infer_type)
            if revision is not None and revision != asked.revision:
                break
            if await self._store.change(infer_type, asked, make(asked)):
                return await self.model(infer_type)
        raise ModelRefusal(412, CHANGED)

    async def _read(self, infer_type: str) -> tuple[Asked, list[WorkerInfo]]:
        if not keys.is_name(infer_type):
            raise ModelRefusal(404, f"{infer_type[:200]!r} is not the name of an inference type.")
        asked = await self._store.read(infer_type)
        pods = [each for each in await self._registry.workers() if each.type == infer_type]
        if asked.wish is None and not pods:
            raise ModelRefusal(404, f"No pod of the type {infer_type} reports.")
        return asked, pods


def _switched(asked: Asked, choice: ModelChoice | None) -> ModelWish:
    """The wish for another model. A canary compares with the model that runs, so it ends with it."""
    former, wish = None, asked.wish
    if wish is not None:
        failed = asked.failures.get(SWITCH)
        back = failed is not None and failed.id == wish.id
        former = wish.former if back else wish.choice.model if wish.choice else None
    return ModelWish(id=_new_id(), choice=choice, former=former)


def _with_canary(infer_type: str, asked: Asked) -> tuple[ModelWish, CanaryChoice]:
    if asked.wish is None or asked.wish.canary is None:
        raise ModelRefusal(409, f"The type {infer_type} has no canary.")
    return asked.wish, asked.wish.canary


def _document(infer_type: str, asked: Asked, pods: Iterable[WorkerInfo]) -> TypeModel:
    views, wish, failures = tuple(_view(each) for each in pods), asked.wish, asked.failures
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
