"""The outbox as a sink sees it, and what Redis holds about sinks. Keys: `doc/redis.md`."""
