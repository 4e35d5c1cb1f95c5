"""Names in the Redis of `redis_logins`."""

from __future__ import annotations

from elastic_inference.domain import keys

# The users that doc/security_sites.md proposes for a site: with a type of its own, and with names of its own.
SITE, YARD = "site-7", "yard"
TYPE, NAME, OTHER, SITE_TYPE = "people", "gate-1", "gate-2", "site7-people"
STREAM = keys.stream_id(NAME, TYPE)
FRAME = keys.frame(TYPE, NAME, "x")
RESULTS = keys.results(TYPE)
CHANNELS = (STREAM, keys.tombstones(STREAM), keys.tracks(STREAM))
LEGACY = keys.legacy_queue(TYPE)
