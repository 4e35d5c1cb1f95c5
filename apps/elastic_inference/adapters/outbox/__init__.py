"""A sink's view of the outbox, and the sinks' records in Redis. Keys: `doc/redis.md`."""
