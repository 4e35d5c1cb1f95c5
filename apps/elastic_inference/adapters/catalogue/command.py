"""Ends a download command in order: errors as one line, Ctrl-C without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from elastic_inference.domain.errors import ElasticInferenceError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def run(work: Callable[[], None]) -> int:
    """The exit code of `work`: 0, 1 after an error that was printed, 130 after Ctrl-C."""
    try:
        work()
    except ElasticInferenceError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("\ninterrupted; the next run goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
