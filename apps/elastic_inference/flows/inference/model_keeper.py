"""Keeps the pod's model as it should be: follows wishes of the API and changes of the model's files.

Run by the `pipeline` in a thread of its own, the models thread. A new model is loaded beside the running one, warmed up
and compared on the frames of the last seconds; then `ModelExchange` changes over. Whatever fails, the running model
stays, and the failure is counted, logged and, for a wish, said to all pods of the type (ADR 28).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import replace

from redis.exceptions import NoPermissionError, RedisError

from elastic_inference.adapters.catalogue import ModelSpec
from elastic_inference.adapters.stream_broker.model_wishes import CANARY, SWITCH, Failures, ModelWishes
from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.base.log import Throttle
from elastic_inference.base.model_metrics import ModelMetrics
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.domain.model_wish import (
    MAX_MESSAGE,
    Failure,
    ModelFailure,
    ModelStage,
    ModelWish,
    PodModel,
    TrialLimits,
    record_json,
)
from elastic_inference.flows.inference.canary import Canary, CanaryView
from elastic_inference.flows.inference.comparison import ModelFailedError
from elastic_inference.flows.inference.engine import Engine, reason
from elastic_inference.flows.inference.frame_samples import FrameSamples
from elastic_inference.flows.inference.model_exchange import ModelExchange
from elastic_inference.flows.inference.model_loader import FileMark, ModelLoader, files_of, needed_bytes
from elastic_inference.flows.inference.model_trial import Trial
from elastic_inference.flows.inference.resizing import CpuFollower
from elastic_inference.flows.inference.side_work import SideWork
from elastic_inference.flows.inference.warm_up import infer_once

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
# New rights come with a new users.acl, for which Redis is set up again.
WITHOUT_RIGHTS_S = 30.0
# A file that has not changed for so long is complete.
SETTLE_S = 2.0
# A comparison takes this many frames, or those that come within this time.
COMPARE_FRAMES = 24
COMPARE_S = 10.0
# Without a frame for so long, nothing arrives.
QUIET_S = 2.0
# Model and canary of the wish are two ids; some more are for wishes that are read late.
MAX_FAILED = 16


class ModelKeeper:
    """`run` is the body of one thread; `close` ends it. `report` may be called from any thread."""

    def __init__(
        self,
        *,
        loader: ModelLoader,
        exchange: ModelExchange,
        wishes: ModelWishes,
        samples: FrameSamples,
        follower: CpuFollower,
        work: SideWork,
        metrics: ModelMetrics,
        pod: str,
        view: CanaryView,
    ) -> None:
        self._loader, self._exchange, self._wishes, self._samples = loader, exchange, wishes, samples
        self._follower, self._work, self._metrics, self._pod = follower, work, metrics, pod
        self._view = view
        self._wish: ModelWish | None = None
        self._failures: Failures = {}
        # Ids of the newest wishes that have failed here, also while Redis cannot be told.
        self._failed: deque[str] = deque(maxlen=MAX_FAILED)
        self._name: str | None = None
        # What failed last, and is not tried again: the wish, the model and its files.
        self._given_up: tuple[str | None, str | None, FileMark] | None = None
        # The wish of the model that was offered last; None for a changed file.
        self._offered: str | None = None
        self._files: FileMark = ()
        self._files_since_s = 0.0
        self._canary: Canary | None = None
        self._read_at_s = float("-inf")
        self._state = PodModel()
        self._reports = False
        self._throttle = Throttle()
        self._ends = threading.Event()

    def close(self) -> None:
        """Any thread: lets `run` return, at the latest when a model has been loaded."""
        self._ends.set()

    def report(self) -> dict[str, str | bytes]:
        """The pod's additional fields in the registry."""
        state = self._state
        self._reports = self._reports or state != PodModel()
        return {"model_state": record_json(state)} if self._reports else {}

    def run(self) -> None:
        """Looks once a second until `close`. Between the looks a canary infers samples."""
        self._work.begin()
        try:
            while not self._ends.is_set():
                try:
                    self._look(time.monotonic())
                    self._spend(LOOK_EVERY_S)
                except Exception as error:  # the running model must not suffer
                    if note := self._throttle.note(type(error)):
                        log.exception("the models of this pod cannot be looked after %s", note)
                    self._ends.wait(LOOK_EVERY_S)
            self._end_canary()
        finally:
            self._samples.turn(0.0)
            self._wishes.close()
            self._view.close()
            self._work.end()

    def _look(self, now_s: float) -> None:
        if now_s >= self._read_at_s:
            self._read(now_s)
        if (why := self._exchange.refusal()) is not None:
            self._given_up = (self._offered, self._name, files_of(self._exchange.running.spec))
            self._fail(SWITCH, self._offered, ModelFailure.FRAMES, why)
        if self._exchange.pending or self._exchange.probation:
            self._show(ModelStage.PROBATION)
            return
        if self._follower.compiling:
            return
        wish = self._wish
        wanted, limits = self._wanted(wish)
        if wanted != self._name:
            self._follow(wanted, limits, wish.id if wish is not None else None)
        elif self._settled(now_s):
            self._follow(self._name, TrialLimits(), None)
        else:
            self._look_after_canary(wish)
            failed = wish is not None and self._has_failed(SWITCH, wish.id)
            self._show(ModelStage.FAILED if failed or self._given_up else ModelStage.RUNS)

    def _read(self, now_s: float) -> None:
        self._read_at_s = now_s + LOOK_EVERY_S / 2
        try:
            self._wish, self._failures = self._wishes.read()
        except NoPermissionError as error:
            self._read_at_s = now_s + WITHOUT_RIGHTS_S
            if note := self._throttle.note("rights"):
                log.warning(
                    "the API cannot change the model of this pod: the Redis user worker may not read models:wanted:*; "
                    "render users.acl again (doc/security.md): %s %s",
                    *(error, note),
                )
        except (RedisError, OSError) as error:
            log.debug("no wish could be read: %s", error)  # the broker's health is reported elsewhere

    def _wanted(self, wish: ModelWish | None) -> tuple[str | None, TrialLimits | None]:
        """The model that should run, None for that of the settings; no limits on the way back from a failure."""
        if wish is None:
            return self._name, None  # nothing was asked, or Redis has lost it
        if self._has_failed(SWITCH, wish.id):
            return wish.former, None
        return (wish.choice.model, wish.choice) if wish.choice else (None, TrialLimits())

    def _has_failed(self, field: str, identity: str) -> bool:
        known = self._failures.get(field)
        return identity in self._failed or (known is not None and known.id == identity)

    def _settled(self, now_s: float) -> bool:
        """Whether the running model's files have changed, and not again for SETTLE_S."""
        running = self._exchange.running
        files = files_of(running.spec)
        if files != self._files:
            self._files, self._files_since_s = files, now_s
        changed = files not in (running.files, ()) and now_s - self._files_since_s >= SETTLE_S
        return changed and self._given_up != (None, self._name, files)

    def _follow(self, name: str | None, limits: TrialLimits | None, wish: str | None) -> None:
        """Changes to the model of this name; keeps the running one if that fails."""
        running = self._exchange.running
        files: FileMark = ()
        try:
            try:
                spec = self._loader.find(name)
            except ElasticInferenceError as error:
                raise ModelFailedError(ModelFailure.MISSING, str(error)) from None
            files = files_of(spec)
            if (spec.path, files) != (running.spec.path, running.files):
                if self._given_up == (wish, name, files):
                    return
                self._end_canary()
                self._offered = wish
                self._change(spec, files, limits)
        except ModelFailedError as error:
            self._fail(SWITCH, wish, error.reason, str(error))
            self._given_up = (wish, name, files)
        else:
            self._name, self._given_up = name, None

    def _change(self, spec: ModelSpec, files: FileMark, limits: TrialLimits | None) -> None:
        self._show(ModelStage.LOADING)
        allowance = self._follower.allowance
        running = self._exchange.running
        needed = self._make_room(spec, running.engine.streams)
        log.info("loading %s beside %s", spec.path, running.info.model)
        # With a single thread, the trial's engine is also the one that the pod then runs.
        single = running.engine.on_cpu and allowance.quota is not None and allowance.threads == 1
        engine = self._load(spec, allowance, trial=not single)
        engine.inline = engine.inline or single
        self._exchange.try_size(engine.size)
        self._samples.turn(1.0 if limits is not None else 0.0)
        try:
            trial = self._trial(engine, spec, limits or TrialLimits())
            if limits is not None:
                self._compare(trial)
            factor = trial.factor(self._exchange.frame_s)
        finally:
            self._samples.turn(0.0)
            self._exchange.try_size(None)
        del trial
        if single:
            engine.inline = False
        else:
            del engine
            engine = self._load(spec, allowance)
        model = self._loader.running(engine, spec, files, allowance, needed)
        try:
            detectors = list(model.make_detectors())
            infer_once(detectors)
        except Exception as error:
            log.debug("the first frame failed", exc_info=True)
            raise ModelFailedError(ModelFailure.LOAD, f"It cannot be run: {reason(error)}.") from None
        self._exchange.offer(model, detectors, factor)
        self._show(ModelStage.PROBATION)

    def _make_room(self, spec: ModelSpec, streams: int) -> int:
        """About how many bytes the model takes. Raises ModelFailedError if they are not there."""
        running = self._exchange.running
        needed, room = needed_bytes(spec, running.spec, running.model_bytes, streams), self._follower.room
        if needed > room:
            raise ModelFailedError(
                ModelFailure.MEMORY,
                f"Beside the running model it would take about {needed >> 20} MiB of memory, and {int(room) >> 20} MiB "
                "may be used: raise the pod's memory limit.",
            )
        return needed

    def _load(self, spec: ModelSpec, allowance: CpuAllowance, *, trial: bool = False) -> Engine:
        try:
            return self._loader.compile(spec, allowance, trial=trial)
        except ElasticInferenceError as error:
            raise ModelFailedError(ModelFailure.LOAD, str(error)) from None
        except Exception as error:
            log.debug("loading failed", exc_info=True)
            raise ModelFailedError(ModelFailure.LOAD, f"It cannot be loaded: {reason(error)}.") from None

    def _trial(self, engine: Engine, spec: ModelSpec, limits: TrialLimits) -> Trial:
        trial = Trial(engine, self._loader.threshold(spec), limits, self._loader.budget, self._loader.wait_s)
        trial.warm_up()
        return trial

    def _compare(self, trial: Trial) -> None:
        self._show(ModelStage.COMPARING)
        until_s = time.monotonic() + COMPARE_S
        comparison, frame_s = trial.comparison, self._exchange.frame_s
        while comparison.count < COMPARE_FRAMES and time.monotonic() < until_s and not self._ends.is_set():
            outgoing = self._samples.take(QUIET_S)
            if outgoing is None:
                break
            trial.add(*outgoing)
        comparison.check(trial.running_s(frame_s))
        found = comparison.figures(frame_s)
        log.info("compared on %d frames: agreement %s", found.frames, found.agreement)

    def _look_after_canary(self, wish: ModelWish | None) -> None:
        wanted = wish.canary_id if wish is not None and wish.canary is not None else None
        if wanted is not None and self._has_failed(CANARY, wanted):
            wanted = None
        running = self._canary.id if self._canary is not None else None
        if wanted == running:
            return
        self._end_canary()
        if wish is None or wish.canary is None or wanted is None:
            return
        choice = wish.canary
        try:
            try:
                spec = self._loader.find(choice.model)
            except ElasticInferenceError as error:
                raise ModelFailedError(ModelFailure.MISSING, str(error)) from None
            self._make_room(spec, 1)
            engine = self._load(spec, self._follower.allowance, trial=True)
            trial = self._trial(engine, spec, choice)
        except ModelFailedError as error:
            self._fail(CANARY, wanted, error.reason, str(error))
            return
        precision = engine.precision(spec.precision)
        self._canary = Canary(
            wanted,
            (choice.model, spec.name, precision),
            trial,
            samples=self._samples,
            metrics=self._metrics,
            view=self._view,
        )
        self._exchange.try_size(engine.size)
        self._metrics.try_model(spec.name, precision)
        self._samples.turn(choice.share)
        log.info("trying %s on %.3g of the frames", choice.model, choice.share)

    def _spend(self, seconds: float) -> None:
        """Lets the canary infer until the next look."""
        if self._canary is None:
            self._ends.wait(seconds)
            return
        try:
            self._canary.run(seconds, self._exchange, self._ends)
        except ModelFailedError as error:
            self._fail(CANARY, self._canary.id, error.reason, str(error))
            self._end_canary()

    def _end_canary(self) -> None:
        if self._canary is not None:
            log.info("%s is no longer tried", self._canary.model)
            self._canary = None
            self._exchange.try_size(None)
            self._samples.turn(0.0)
            self._metrics.end_canary()

    def _fail(self, field: str, identity: str | None, why: ModelFailure, message: str) -> None:
        """Counts, logs and, if it was a wish (with this id), tells all pods."""
        self._metrics.failures[why].inc()
        running = self._exchange.running
        log.warning("%s runs on, since a model failed (%s): %s", running.info.model, why.value, message)
        if identity is None or identity in self._failed:
            return
        self._failed.append(identity)
        failure = Failure(id=identity, reason=why, message=message[:MAX_MESSAGE], pod=self._pod)
        try:
            self._wishes.fail(field, failure)
        except (RedisError, OSError) as error:
            log.warning("the other pods of this type do not learn of the failure: %s", error)

    def _show(self, stage: ModelStage) -> None:
        wish, canary = self._wish, self._canary
        state = PodModel(wish=wish.id if wish else None, stage=stage)
        if canary is not None:
            state = replace(state, canary=canary.model, figures=canary.figures)
        self._state = state
