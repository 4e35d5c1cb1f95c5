"""Turns results into events. Pure: no I/O and no clock of its own; each part handles one stream.

The event service calls `StreamAnalysis` with a stream's results in order. Sinks and the gateway need only `Event`.
"""
