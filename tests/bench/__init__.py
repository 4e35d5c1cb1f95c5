"""Figures of speed, each a ratio within one run; `python -m tests.bench -h`. Never a gate on absolute time."""
