"""Delivers events from the outbox to sinks. Started by the event service."""
