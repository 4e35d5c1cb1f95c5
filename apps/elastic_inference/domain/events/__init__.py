"""From results to events. Pure: no input, no output, no clock of its own; every part sees one stream.

The event service calls `StreamAnalysis` with a stream's results in order. Sinks and the gateway need only `Event`.
"""
