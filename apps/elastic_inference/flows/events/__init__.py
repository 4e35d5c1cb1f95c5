"""The event service: puts the results of leased partitions in order, and writes the resulting events."""
