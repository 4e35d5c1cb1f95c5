"""Runs a download command: an error is one line, and Ctrl-C shows no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from elastic_inference.domain.errors import ElasticInferenceError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def run(work: Callable[[], None]) -> int:
    """Runs `work` and returns the exit code: 0, 1 after a printed error, 130 after Ctrl-C."""
    try:
        work()
    except ElasticInferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("\ninterrupted; the next run resumes here", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
