"""Housekeeping: runs the janitor and exports queue lengths, `ei_workers` and `ei_redis_up`."""
