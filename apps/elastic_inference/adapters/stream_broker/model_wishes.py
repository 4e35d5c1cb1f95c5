"""Which model the pods of a type should run: the pods' side (threads) and the gateway's (asyncio) of Redis' records.

Both records are input from outside for their readers: what cannot be read counts as absent.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from elastic_inference.adapters.redis_input import is_wrong_type
from elastic_inference.adapters.redis_spread import open_link
from elastic_inference.domain import keys
from elastic_inference.domain.model_wish import Failure, ModelWish, read_failure, read_wish, record_json

if TYPE_CHECKING:
    import redis.asyncio as aioredis

# Fields of the failures.
SWITCH, CANARY = "switch", "canary"
Failures = dict[str, Failure]


class ModelWishes:
    """A pod's side. Not thread-safe. Methods raise REDIS_ERRORS when Redis is unavailable, else ResponseError."""

    def __init__(self, client: redis.Redis, infer_type: str) -> None:
        self._link = open_link(client)
        self._wish, self._failed = keys.model_wish(infer_type), keys.model_failures(infer_type)

    def read(self) -> tuple[ModelWish | None, Failures]:
        """The wish, and which of its models have failed."""
        wish, failed = self._link.exchange([("GET", self._wish), ("HGETALL", self._failed)])
        for reply in (wish, failed):
            if isinstance(reply, ResponseError) and not is_wrong_type(reply):
                raise reply
        pairs = failed if isinstance(failed, list) else []
        return read_wish(wish), _failures(dict(zip(pairs[::2], pairs[1::2], strict=False)))

    def fail(self, field: str, failure: Failure) -> None:
        """Says that the wished model, or the canary, has failed here."""
        command = ("HSET", self._failed, field, record_json(failure))
        (reply,) = self._link.exchange([command])
        if is_wrong_type(reply):
            _, reply = self._link.exchange([("UNLINK", self._failed), command])
        if isinstance(reply, ResponseError):
            raise reply

    def close(self) -> None:
        """Closes the connection."""
        self._link.close()


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for a type, as it was read: `raw` is the record, empty without one."""

    wish: ModelWish | None
    failures: Failures
    raw: bytes = b""

    @property
    def revision(self) -> str:
        """A text that changes with the wish, but not with what pods do about it."""
        return hashlib.sha256(self.raw).hexdigest()[:16]


class WishStore:
    """The gateway's side. Methods raise RedisError or OSError when Redis is unavailable, or refuses."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._client = client

    async def read(self, infer_type: str) -> Asked:
        """The wish, and which of its models have failed."""
        pipe = self._client.pipeline(transaction=False)
        pipe.get(keys.model_wish(infer_type))
        pipe.hmget(keys.model_failures(infer_type), [SWITCH, CANARY])
        wish, failed = await pipe.execute(raise_on_error=False)
        for reply in (wish, failed):
            if isinstance(reply, Exception) and not is_wrong_type(reply):
                raise reply
        wish = wish if isinstance(wish, bytes) else b""
        failed = failed if isinstance(failed, list) else [None, None]
        failures = _failures(dict(zip((SWITCH.encode(), CANARY.encode()), failed, strict=True)))
        return Asked(read_wish(wish), failures, wish)

    async def change(self, infer_type: str, asked: Asked, wish: ModelWish) -> bool:
        """Replaces the wish if it is still what was read. False if it is not."""
        sha, text = _change_script()
        arguments = (sha, 1, keys.model_wish(infer_type), asked.raw, record_json(wish))
        try:
            done: Any = await self._client.evalsha(*arguments)
        except NoScriptError:
            await self._client.script_load(text)
            done = await self._client.evalsha(*arguments)
        return bool(done)


@functools.cache
def _change_script() -> tuple[str, str]:
    text = (Path(__file__).parent / "change_wish.lua").read_text()
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text


def _failures(fields: dict[Any, Any]) -> Failures:
    found = {name: read_failure(fields.get(name.encode())) for name in (SWITCH, CANARY)}
    return {name: failure for name, failure in found.items() if failure is not None}
