"""The event service's keys in the broker's Redis: results by partition, state, cursor and the outbox of events."""

from elastic_inference.adapters.event_store.entries import Entry, EntryId, read_entry
from elastic_inference.adapters.event_store.event_store import Batch, Committed, EventStore, FencedError, Taken

__all__ = ["Batch", "Committed", "Entry", "EntryId", "EventStore", "FencedError", "Taken", "read_entry"]
