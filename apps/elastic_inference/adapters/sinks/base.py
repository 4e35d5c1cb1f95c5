"""The interface of a sink, and its errors. Used by `flows/deliver`; independent of the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.domain.events.event import Event


@dataclass(frozen=True, slots=True)
class Item:
    """An event on its way. `document` is its JSON as it is in the outbox. `resent`: from the dead letters."""

    event: Event
    document: bytes
    resent: bool = False

    @property
    def key(self) -> str:
        """Items with the same key stay in order: the stream's id, or the camera's name for events about a camera."""
        return self.event.stream or self.event.camera

    @property
    def identity(self) -> str:
        """Identifies the revision, so that consumers recognise repeats."""
        return f"{self.event.id}/{self.event.rev}"


class DeliveryError(ElasticInferenceError):
    """Only the first `delivered` items were delivered. The message is for people and has no secrets."""

    def __init__(self, message: str, delivered: int = 0) -> None:
        super().__init__(message)
        self.delivered = delivered


class UnavailableError(DeliveryError):
    """The sink may accept it later; after `retry_after_s` if it said so."""

    def __init__(self, message: str, delivered: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(message, delivered)
        self.retry_after_s = retry_after_s


class LoginRefusedError(DeliveryError):
    """The sink does not accept us: somebody must change its login or its rights."""


class RefusedError(DeliveryError):
    """The sink will never accept the next item, or one of the next ones if `whole_batch`."""

    def __init__(self, message: str, delivered: int = 0, whole_batch: bool = False) -> None:
        super().__init__(message, delivered)
        self.whole_batch = whole_batch


class Sink(Protocol):
    """One connection to one sink; not thread-safe. It connects when it first delivers, and again after an error."""

    max_batch: int

    def deliver(self, items: Sequence[Item]) -> None:
        """Returns once the sink has confirmed all items, in their order. Raises DeliveryError."""
        ...

    def idle(self) -> None:
        """Called about once a second while there is nothing to deliver. Raises DeliveryError."""
        ...

    def recall(self, event: Event) -> None:
        """Called before the first delivery, oldest first, with events delivered before this process had the sink."""
        ...

    def close(self) -> None:
        """Closes the connection."""
        ...


class PlainSink:
    """Base of sinks that do nothing without events, and remember nothing."""

    def idle(self) -> None:
        """Nothing to do."""

    def recall(self, event: Event) -> None:
        """Nothing to remember."""

    def close(self) -> None:
        """Nothing to close."""
