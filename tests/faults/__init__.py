"""Faults under load: `python -m tests.faults -h`. A short form runs in `make test` (tests/e2e/test_faults.py)."""
