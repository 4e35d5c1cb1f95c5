"""Shows and changes sinks for the API. Called by the handlers of `/api/sinks`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from elastic_inference.adapters.outbox.sink_records import ids_of
from elastic_inference.adapters.outbox.sink_store import SinkStore, revision_of
from elastic_inference.domain.sink_documents import (
    DeadLetter,
    DeadLetters,
    DeadRemoved,
    Resent,
    SinkCondition,
    SinkOrigin,
    Sinks,
    SinkState,
    SinkTest,
    SinkView,
)
from elastic_inference.domain.sink_spec import MAX_SINKS, SinkError, SinkSpec, read_sink, rest_refusal

# Longer than a sink's own limits, which are at most a minute.
ANSWER_LIMIT_S = 65.0
CHANGED = "Somebody has changed the sink in the meantime: read it again."
NO_WORKER = "No event worker answers: is the event service running?"
_STATE: TypeAdapter[SinkState] = TypeAdapter(SinkState)


class SinkRefusal(Exception):
    """A request about sinks that is refused, with an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class GatewaySinks:
    """The sinks; one object per gateway. Raises SinkRefusal, and what `SinkStore` raises."""

    def __init__(self, store: SinkStore) -> None:
        self._store = store

    async def sinks(self) -> Sinks:
        """All sinks."""
        file, rest, problem, states = await self._store.read()
        specs = rest | file
        names = sorted(specs)
        counts = await self._store.dead_counts(names)
        views = tuple(
            SinkView(
                specs[name],
                SinkOrigin.FILE if name in file else SinkOrigin.REST,
                _state(specs[name], states.get(name)),
                count,
                revision_of(specs[name]),
            )
            for name, count in zip(names, counts, strict=True)
        )
        return Sinks(views, NO_WORKER if problem is None else problem or None)

    async def sink(self, name: str) -> SinkView:
        """One of them."""
        for each in (await self.sinks()).sinks:
            if each.spec.name == name:
                return each
        raise SinkRefusal(404, f"There is no sink {name[:200]!r}.")

    async def put(self, name: str, document: dict[str, Any], revision: str | None = None) -> SinkView:
        """Adds or replaces a sink; with `revision`, only replaces it while it is still that one."""
        try:
            spec = read_sink({"name": name} | document)
        except SinkError as error:
            raise SinkRefusal(400, f"{error}.") from None
        if spec.name != name:
            raise SinkRefusal(400, "name: expected the name in the path, or none.")
        refusal = rest_refusal(spec)
        if refusal is not None:
            raise SinkRefusal(400, f"{refusal}.")
        file, rest, _, _ = await self._store.read()
        _check_origin(name, file)
        if name not in rest and len(rest) + len(file) >= MAX_SINKS:
            raise SinkRefusal(409, f"There are {MAX_SINKS} sinks, which is the maximum: remove one first.")
        if revision is None:
            await self._store.write(spec)
        elif not await self._store.change(name, revision, spec):
            raise SinkRefusal(412, CHANGED)
        return await self.sink(name)

    async def delete(self, name: str, revision: str | None = None) -> None:
        """Removes a sink; with `revision`, only while it is still that one."""
        await self.sink(name)
        file, _, _, _ = await self._store.read()
        _check_origin(name, file)
        if revision is None:
            await self._store.remove(name)
        elif not await self._store.change(name, revision, None):
            raise SinkRefusal(412, CHANGED)

    async def test(self, name: str) -> SinkTest:
        """Has an event worker send a test event."""
        await self.sink(name)
        answer = await self._ask("test", name)
        return SinkTest(bool(answer.get("delivered")), str(answer.get("message", ""))[:1000])

    async def dead_letters(self, name: str) -> DeadLetters:
        """The oldest dead letters of a sink."""
        view = await self.sink(name)
        found = [
            DeadLetter(entry_id, _number(fields), fields.get(b"reason", b"").decode("utf-8", "replace"), _event(fields))
            for entry_id, fields in await self._store.dead_letters(name)
        ]
        return DeadLetters(view.dead_letters, tuple(found))

    async def resend(self, name: str, document: dict[str, Any]) -> Resent:
        """Has an event worker send dead letters again: those of `ids`, or the oldest hundred."""
        await self.sink(name)
        answer = await self._ask("resend", name, ids=ids_of(document.get("ids")))
        return Resent(int(answer.get("sent", 0)), str(answer.get("message", ""))[:1000])

    async def remove_dead(self, name: str, ids: Sequence[str] | None) -> DeadRemoved:
        """Has an event worker delete dead letters: those of `ids`, or all."""
        await self.sink(name)
        answer = await self._ask("remove", name, ids=ids)
        if not isinstance(removed := answer.get("removed"), int):
            raise SinkRefusal(503, "The event worker that answered is of an older version: update the event service.")
        return DeadRemoved(removed)

    async def _ask(self, what: str, name: str, **more: Any) -> dict[str, Any]:
        if (await self._store.read())[2] is None:
            raise SinkRefusal(503, NO_WORKER)  # at once, since nobody would answer
        answer = await self._store.ask(what, name, ANSWER_LIMIT_S, **more)
        if answer is None:
            raise SinkRefusal(503, NO_WORKER)
        status = answer.get("status")
        if isinstance(status, int) and status >= 400:
            raise SinkRefusal(status, str(answer.get("message", ""))[:1000])
        return answer


def _check_origin(name: str, file: dict[str, SinkSpec]) -> None:
    if name in file:
        raise SinkRefusal(409, f"The sink {name} is in SINKS_FILE: change it there.")


def _state(spec: SinkSpec, found: dict[str, Any] | None) -> SinkState:
    if not spec.enabled:
        return SinkState(SinkCondition.DISABLED)
    try:
        return _STATE.validate_python({name: value for name, value in (found or {}).items() if name != "at_ms"})
    except ValidationError:
        return SinkState(SinkCondition.UNASSIGNED)


def _number(fields: dict[bytes, bytes]) -> float:
    text = fields.get(b"at_ms", b"0")
    return float(text) if text.isdigit() and len(text) < 16 else 0.0


def _event(fields: dict[bytes, bytes]) -> JsonValue:
    raw = fields.get(b"json", b"")
    try:
        found: JsonValue = json.loads(raw)
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "replace")
    return found
