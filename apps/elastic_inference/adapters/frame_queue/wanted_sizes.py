"""The frame size that is needed: pods write it for their type and for events, producers read it between their pushes.

Called by the stream manager and by `consumer`. The reply to a push contains it anyway (`push.lua`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from redis.exceptions import ResponseError

from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.domain import keys
from elastic_inference.domain.image_size import UNKNOWN, WATCHED, ModelSize, read_size

# How often pods write it, and how long it lives: a few writes may fail.
WRITE_EVERY_S = 15.0
MODEL_LIFE_S = 60.0
# How long a stream's frames have full size after an event has asked for one: its image is chosen about a second later.
EVENT_LIFE_S = 5.0
_MAX_EVENTS = 256
# As many characters as the push script reads.
_READ_TO = 31


class _Asking(Protocol):
    connection: PipelineConnection

    @property
    def size_keys(self) -> tuple[str, str]: ...


def ask_sizes(producers: Sequence[_Asking]) -> list[int]:
    """The size that a push of each of these would return; all share a connection. Raises REDIS_ERRORS.

    UNKNOWN where Redis refuses: an older users.acl has no right to read it.
    """
    if not producers:
        return []
    commands = [("GETRANGE", key, 0, _READ_TO) for each in producers for key in each.size_keys]
    replies = producers[0].connection.exchange(commands)
    answers = []
    for watched, model in zip(replies[::2], replies[1::2], strict=True):
        size = read_size(model)
        if isinstance(watched, bytes) and watched:
            answers.append(WATCHED)
        else:
            answers.append(UNKNOWN if size is None else size.code)
    return answers


class ModelSizeWriter:
    """A pod's part: says for its type which size its model needs. For one thread."""

    def __init__(self, link: PipelineConnection, infer_type: str, size: ModelSize) -> None:
        self._link = link
        self._key = keys.model_size(infer_type)
        self._size = size
        self._due_s = 0.0

    def write(self, now_s: float) -> None:
        """Call it every second or so; it writes every 15 s. Raises REDIS_ERRORS."""
        if now_s < self._due_s:
            return
        self._due_s = now_s + WRITE_EVERY_S
        life = ("PX", int(MODEL_LIFE_S * 1000))
        (found,) = self._link.exchange([("SET", self._key, str(self._size), *life, "NX", "GET")])
        if found is None:
            return
        # A pod of another model may serve this type too, during an update. Its larger size stays as long as it renews
        # it; a foreign value, which is none or an error, is replaced.
        other = None if isinstance(found, ResponseError) else read_size(found)
        both = self._size if other is None else self._size.with_room_for(other)
        if other is None or both != other or other == self._size:
            self._link.exchange([("SET", self._key, str(both), *life)])


class EventMarks:
    """A pod's part: says which streams an event wants an image of, at full size. `note` is for any thread."""

    def __init__(self, link: PipelineConnection, infer_type: str) -> None:
        self._link = link
        self._type = infer_type
        self._noted: deque[str] = deque(maxlen=_MAX_EVENTS)

    def note(self, name: str) -> None:
        """An event wants an image of this stream."""
        self._noted.append(name)

    def write(self) -> None:
        """Call it between two pops. Raises REDIS_ERRORS."""
        names = {self._noted.popleft() for _ in range(len(self._noted))}
        if names:
            # NX: a viewer's mark lives longer.
            life = ("PX", int(EVENT_LIFE_S * 1000), "NX")
            self._link.exchange(
                [("SET", keys.size_wanted(self._type, name), keys.WATCHED_VALUE, *life) for name in names]
            )
