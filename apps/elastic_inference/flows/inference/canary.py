"""A canary: a model that infers samples of the frames beside the running model. Run by the `model_keeper`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from redis.exceptions import RedisError

from elastic_inference.base.log import Throttle
from elastic_inference.base.model_metrics import ModelMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.model_wish import Figures
from elastic_inference.domain.result import Detection, Result
from elastic_inference.flows.inference.frame_samples import FrameSamples
from elastic_inference.flows.inference.model_exchange import ModelExchange
from elastic_inference.flows.inference.model_trial import Trial

log = logging.getLogger(__name__)

# How long it waits for a sample before it checks for the end.
_WAIT_S = 0.2


class CanaryPublisher(Protocol):
    """Publishes the canary's results for viewers; see `ResultPublisher`."""

    def publish(self, batch: Sequence[tuple[Result, bytes]]) -> object:
        """Sends results with their JPEGs."""

    def close(self) -> None:
        """Closes the connection."""


class CanaryView:
    """The results of canaries as streams of their own, `<name>:<type>.canary:inferred`, for the compare view."""

    def __init__(self, publisher: CanaryPublisher) -> None:
        self._publisher = publisher
        self._throttle = Throttle()

    def show(self, result: Result, jpeg: bytes, found: Sequence[Detection], model: str, precision: str) -> None:
        """Publishes the running model's result with the canary's detections instead."""
        name, kind = keys.split_stream_id(result.stream) or ("", "")
        shown = keys.canary_type(kind)
        if shown is None:
            return
        own = replace(
            result,
            stream=keys.stream_id(name, shown),
            type=shown,
            model=model,
            precision=precision,
            detections=tuple(found),
        )
        try:
            self._publisher.publish([(own, jpeg)])
        except (RedisError, OSError) as error:
            if note := self._throttle.note(type(error)):
                log.warning("results of the canary cannot be shown: %s %s", error, note)

    def close(self) -> None:
        """Closes the connection."""
        self._publisher.close()


class Canary:
    """One canary of one pod, for the models thread. `id` is that of its wish."""

    def __init__(
        self,
        identity: str,
        model: tuple[str, str, str],
        trial: Trial,
        *,
        samples: FrameSamples,
        metrics: ModelMetrics,
        view: CanaryView,
    ) -> None:
        """`model` is the name that was asked for, the model's own, and its precision."""
        self.id = identity
        self.model, self._name, self._precision = model
        self._view = view
        self.figures = Figures(frames=0)
        self._trial, self._samples, self._metrics = trial, samples, metrics
        self._skipped = 0

    def run(self, seconds: float, exchange: ModelExchange, ends: threading.Event) -> None:
        """Infers samples for so long. Raises ModelFailedError when the model has failed."""
        until_s = time.monotonic() + seconds
        trial, comparison = self._trial, self._trial.comparison
        while (left_s := until_s - time.monotonic()) > 0 and not ends.is_set():
            outgoing = self._samples.take(min(left_s, _WAIT_S))
            if outgoing is None:
                continue
            if (found := trial.add(*outgoing)) is not None:
                self._metrics.frames.inc()
                self._view.show(*outgoing, found, self._name, self._precision)
            comparison.check(trial.running_s(exchange.frame_s))
        skipped = self._samples.skipped
        self._metrics.skipped.inc(max(0, skipped - self._skipped))
        self._skipped = skipped
        self.figures = comparison.figures(trial.running_s(exchange.frame_s))
        self._metrics.show(self.figures)
