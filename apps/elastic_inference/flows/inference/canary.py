"""A canary: a model that infers samples of the frames beside the running model. Run by the `model_keeper`."""

from __future__ import annotations

import threading
import time

from elastic_inference.base.metrics import ModelMetrics
from elastic_inference.domain.model_wish import Figures
from elastic_inference.flows.inference.frame_samples import FrameSamples
from elastic_inference.flows.inference.model_exchange import ModelExchange
from elastic_inference.flows.inference.model_trial import Trial

# How long it waits for a sample before it checks for the end.
_WAIT_S = 0.2


class Canary:
    """One canary of one pod, for the models thread. `id` is that of its wish."""

    def __init__(self, identity: str, model: str, trial: Trial, samples: FrameSamples, metrics: ModelMetrics) -> None:
        self.id, self.model = identity, model
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
            if trial.add(*outgoing) is not None:
                self._metrics.frames.inc()
            comparison.check(trial.running_s(exchange.frame_s))
        skipped = self._samples.skipped
        self._metrics.skipped.inc(max(0, skipped - self._skipped))
        self._skipped = skipped
        self.figures = comparison.figures(trial.running_s(exchange.frame_s))
        self._metrics.show(self.figures)
