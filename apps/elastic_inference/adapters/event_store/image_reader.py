"""Reads the images of events. asyncio; what Redis returns is input from outside."""

from __future__ import annotations

from collections.abc import Sequence

import redis.asyncio as aioredis

from elastic_inference.adapters.event_store.image_store import MAX_IMAGE_BYTES, PENDING
from elastic_inference.adapters.redis_input import read_count, read_text
from elastic_inference.domain import keys
from elastic_inference.domain.errors import InvalidFrameError
from elastic_inference.domain.events.missing import SENTENCES, Missing
from elastic_inference.domain.frame import jpeg_size

GONE = "The image is no longer kept: images go after EVENT_SNAPSHOT_S, or earlier if EVENT_SNAPSHOT_MB are full."


class NoImageError(Exception):
    """There is no such image, with the reason; `coming` if it is being fetched."""

    def __init__(self, text: str, *, coming: bool = False) -> None:
        super().__init__(text)
        self.coming = coming


class ImageReader:
    """Reads from one broker."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._client = client

    async def why_gone(self, images: Sequence[str]) -> list[str | None]:
        """For each image the reason why it is not there; None if it is there, or on its way. Raises as `read`."""
        async with self._client.pipeline(transaction=False) as pipe:
            for each in images:
                pipe.exists(keys.snapshot_image(each))
                pipe.get(keys.snapshot_state(each))
            found = await pipe.execute() if images else []
        words = [read_text(state) for state in found[1::2]]
        return [None if there or word == PENDING else _why(word) for there, word in zip(found[::2], words, strict=True)]

    async def read(self, image: str) -> bytes:
        """A JPEG. Raises NoImageError; REDIS_ERRORS when Redis is unavailable, else ResponseError."""
        key = keys.snapshot_image(image)
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.strlen(key)
            pipe.get(keys.snapshot_state(image))
            size, state = await pipe.execute()
        if read_count(size) > MAX_IMAGE_BYTES:
            raise NoImageError(SENTENCES[Missing.INVALID])
        found = await self._client.get(key) if size else None
        if not isinstance(found, bytes):
            word = read_text(state)
            if word == PENDING:
                raise NoImageError("The image is on its way: try again in a moment.", coming=True)
            raise NoImageError(_why(word))
        try:
            jpeg_size(found)
        except InvalidFrameError:
            raise NoImageError(SENTENCES[Missing.INVALID]) from None
        return found


def _why(word: str) -> str:
    return SENTENCES[Missing(word)] if word in set(Missing) else GONE
