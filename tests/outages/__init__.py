"""Sinks, event workers and the broker's Redis fail in turn under a steady load: `python -m tests.outages`."""
