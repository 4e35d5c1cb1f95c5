"""The Prometheus metrics of models that pods change to. Only inference imports this: its words come with Pydantic."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from elastic_inference.domain.model_wish import Figures, ModelFailure


class ModelMetrics:
    """Which model a pod runs, which one it tries beside it, and what came of the switches."""

    def __init__(self, registry: CollectorRegistry, infer_type: str) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, ("infer_type",), registry=registry).labels(infer_type=infer_type)

        def figure(name: str, text: str) -> Gauge:
            return Gauge(name, text, ("infer_type", "model", "role"), registry=registry)

        self._type = infer_type
        self._info = Gauge(
            "ei_model_info",
            "1 for the model that the pod runs, and for its canary.",
            ("infer_type", "model", "precision", "role"),
            registry=registry,
        )
        self._running: tuple[str, str] | None = None
        self._canary: tuple[str, str] | None = None
        self.switches = counter("ei_model_switches", "How often the pod changed to another model.")
        failures = Counter(
            "ei_model_failures", "Models that were not taken, by reason.", ("infer_type", "reason"), registry=registry
        )
        self.failures = {reason: failures.labels(infer_type=infer_type, reason=reason.value) for reason in ModelFailure}
        self.frames = counter("ei_canary_frames", "Frames that the canary has inferred too.")
        self.skipped = counter("ei_canary_frames_skipped", "Sampled frames that the canary had no time for.")
        self._agreement = Gauge(
            "ei_canary_agreement",
            "Share of detections that canary and running model both have, 0..1.",
            ("infer_type", "model"),
            registry=registry,
        )
        self._confidence = figure("ei_canary_confidence", "Mean confidence of detections.")
        self._frame_s = figure("ei_canary_frame_seconds", "CPU time for a frame.")

    def run(self, model: str, precision: str) -> None:
        """Shows which model runs."""
        self._running = self._replace(self._running, (model, precision), "running")

    def try_model(self, model: str, precision: str) -> None:
        """Shows which canary runs."""
        self._canary = self._replace(self._canary, (model, precision), "canary")

    def end_canary(self) -> None:
        """Removes what is shown of a canary."""
        self._canary = self._replace(self._canary, None, "canary")
        for each in (self._agreement, self._confidence, self._frame_s):
            each.clear()

    def show(self, figures: Figures) -> None:
        """Shows the figures of the canary."""
        if self._canary is None or self._running is None:
            return
        canary, running = self._canary[0], self._running[0]
        if figures.agreement is not None:
            self._agreement.labels(self._type, canary).set(figures.agreement)
        for gauge, model, role, value in (
            (self._confidence, running, "running", figures.confidence),
            (self._confidence, canary, "canary", figures.canary_confidence),
            (self._frame_s, running, "running", figures.frame_s),
            (self._frame_s, canary, "canary", figures.canary_frame_s),
        ):
            if value is not None:
                gauge.labels(self._type, model, role).set(value)

    def _replace(
        self, before: tuple[str, str] | None, after: tuple[str, str] | None, role: str
    ) -> tuple[str, str] | None:
        if before is not None and before != after:
            self._info.remove(self._type, *before, role)
        if after is not None:
            self._info.labels(self._type, *after, role).set(1)
        return after
