"""Counts invalid frames and logs them, at most once a minute for each stream and reason.

Called by `intake` for messages that cannot be unpacked, and by `workers` for frames that cannot be decoded or inferred.
"""

from __future__ import annotations

import logging

from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.domain.errors import InvalidFrameError

log = logging.getLogger(__name__)


class InvalidFrames:
    """Any thread; a race costs one log line too many."""

    def __init__(self, metrics: InferenceMetrics) -> None:
        self._metrics = metrics
        self._throttle = Throttle()

    def count(self, stream: str, error: InvalidFrameError) -> None:
        """Counts one frame; `stream` is empty where it is unknown."""
        self._metrics.invalid[error.reason].inc()
        if self._throttle.allow((stream, error.reason)):
            log.warning("stream %s: %s; skipped (logged once a minute)", stream or "(unknown)", error)
