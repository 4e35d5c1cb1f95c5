"""The event service's keys in the broker's Redis: results by partition, state, cursor and the outbox of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elastic_inference.base.late_names import late_names

if TYPE_CHECKING:
    from elastic_inference.adapters.event_store.entries import Entry, EntryId, read_entry
    from elastic_inference.adapters.event_store.event_store import Batch, Committed, EventStore, FencedError, Taken

__all__ = ["Batch", "Committed", "Entry", "EntryId", "EventStore", "FencedError", "Taken", "read_entry"]

__getattr__ = late_names(
    __name__,
    {
        **dict.fromkeys(("Entry", "EntryId", "read_entry"), ".entries"),
        **dict.fromkeys(("Batch", "Committed", "EventStore", "FencedError", "Taken"), ".event_store"),
    },
)
