"""Delivery in one event worker: finds all sinks, leases some of them, and runs a thread for each leased one.

Started by the event service. Workers share the sinks by leases, so that one worker delivers to a sink at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import RedisError

from elastic_inference.adapters.leases import Claim, Holding, LeaseClient
from elastic_inference.adapters.outbox.sink_records import SinkRecords
from elastic_inference.adapters.sinks import LoginRefusedError, Sink, SinkAccess, open_sink
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import DeliveryMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.leases import ROUND_S
from elastic_inference.domain.sink_spec import SinkSpec, rest_refusal
from elastic_inference.flows.deliver.account import SinkAccount
from elastic_inference.flows.deliver.requests import Requests
from elastic_inference.flows.deliver.runner import SinkRunner
from elastic_inference.flows.deliver.sinks_file import SinksFile

log = logging.getLogger(__name__)

_COST, _CAPACITY = 0.01, 1024.0
REQUESTS_EVERY_S = 0.25
FILE_EVERY_S = 10.0
# A sink without a configuration loses its cursors after this long: longer than files take to reach all workers.
FORGET_S = 120.0
# How long a worker waits for others to restore the sinks of REST after Redis has lost them.
RESTORE_S = 5.0
END_LIMIT_S = 9.0


class Delivery:
    """Runs from `start` until `close`."""

    def __init__(
        self,
        connect: Callable[[], redis.Redis],
        *,
        file: Path | None,
        secrets: Path | None,
        networks: tuple[str, ...],
        partitions: Callable[[], int],
        worker: str,
        lifecycle: Lifecycle,
        metrics: DeliveryMetrics,
        explain: Callable[[Exception], str],
    ) -> None:
        """`connect` makes a client of the broker; `partitions` may return 0 while their number is not known."""
        self._connect = connect
        self._file = SinksFile(file)
        self._secrets = secrets
        self._rules = AddressRules(networks, None, setting="SINK_NETWORKS", what="sink")
        self._partitions = partitions
        self._worker = worker
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._explain = explain
        self._throttle = Throttle()
        self._client = connect()
        self._records = SinkRecords(self._client)
        self._leases = LeaseClient(self._client, keys.SINK_GROUP, worker)
        self._requests = Requests(connect, lambda spec: self._open(spec, "-test"), metrics.dead_removed.inc)
        self._rest: dict[str, SinkSpec] | None = None
        self._runners: dict[str, SinkRunner] = {}
        self._ending: list[SinkRunner] = []
        self._claims: Mapping[str, Claim] = {}
        self._seen: set[str] = set()
        self._absent: dict[str, float] = {}
        self._file_shown_at = self._swept_at = float("-inf")
        self._began_at = time.monotonic()
        self._end = threading.Event()
        self._thread = lifecycle.thread("delivery", self._run, may_end=True)
        self._thread.daemon = True

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Finishes what is in flight, and releases the sinks to other workers."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join(END_LIMIT_S)
        self._client.close()

    def specs(self) -> dict[str, SinkSpec]:
        """All sinks by name; those of the file come first."""
        return (self._rest or {}) | self._file.specs

    def _run(self) -> None:
        round_at = float("-inf")
        while not self._end.is_set():
            try:
                if time.monotonic() - round_at >= ROUND_S:
                    round_at = time.monotonic()
                    self._round(round_at)
                if request := self._records.next_request():
                    self._requests.take(self._records, request, self.specs())
                    continue
            except (RedisError, OSError) as error:
                self._redis_failed(error)
            self._end.wait(REQUESTS_EVERY_S)
        self._finish()

    def _redis_failed(self, error: Exception) -> None:
        if note := self._throttle.note("unavailable"):
            log.warning("delivery waits: %s %s", self._explain(error), note)
        self._lifecycle.set_degraded("delivery", self._explain(error))

    def _round(self, now_s: float) -> None:
        self._file.refresh()
        self._lifecycle.set_degraded("sinks file", self._file.problem or None)
        self._read_rest(now_s)
        specs = self.specs()
        wanted = {name for name, spec in specs.items() if spec.enabled}
        if now_s - self._file_shown_at >= FILE_EVERY_S:
            self._file_shown_at = now_s
            self._records.write_file(self._file.specs, self._file.problem)
        self._records.want(wanted)
        # A lease is kept until the thread has ended, so that nobody delivers beside it.
        mine = {each.spec.name for each in (*self._runners.values(), *self._ending) if each.alive}
        held = {name: Holding(claim.epoch, _COST) for name, claim in self._claims.items() if name in mine}
        found = self._leases.renew(held, _CAPACITY, draining=self._lifecycle.stopping)
        self._claims = dict(found.held)
        self._follow({name: specs[name] for name in wanted & self._claims.keys()})
        self._records.write_states({name: each.account.state() for name, each in self._runners.items()})
        self._sweep(now_s, specs)
        self._lifecycle.set_degraded("delivery", None)
        for name, runner in self._runners.items():
            state = runner.account.state()
            self._lifecycle.set_degraded(f"sink {name}", state["reason"])

    def _read_rest(self, now_s: float) -> None:
        found = self._records.specs()
        if found is not None:
            self._rest = found
        elif self._rest is not None or now_s - self._began_at > RESTORE_S:
            self._rest = self._rest or {}
            self._records.write_specs(self._rest)

    def _follow(self, specs: Mapping[str, SinkSpec]) -> None:
        """Starts and stops threads so that there is one for each of these sinks."""
        partitions = self._partitions()
        self._ending = [each for each in self._ending if each.alive]
        for name, runner in list(self._runners.items()):
            if runner.started:
                self._seen.add(name)
            if specs.get(name) != runner.spec or runner.partitions != partitions or not runner.alive:
                runner.stop()
                self._ending.append(self._runners.pop(name))
                self._lifecycle.set_degraded(f"sink {name}", None)
        busy = {each.spec.name for each in self._ending if each.alive}
        for name, spec in specs.items():
            if partitions and name not in self._runners and name not in busy:
                runner = self._runners[name] = self._runner(spec, partitions)
                runner.start()

    def _runner(self, spec: SinkSpec, partitions: int) -> SinkRunner:
        return SinkRunner(
            spec,
            connect=self._connect,
            open_sink=lambda: self._open(spec, ""),
            partitions=partitions,
            known=spec.name in self._seen,
            held=lambda: self._holds(spec.name),
            epoch=lambda: claim.epoch if (claim := self._claims.get(spec.name)) else 0,
            account=SinkAccount(spec.name, self._metrics, self._worker),
            explain=self._explain,
            handed_over=lambda client: SinkRecords(client).is_handed_over(spec.name),
        )

    def _holds(self, name: str) -> bool:
        claim = self._claims.get(name)
        return claim is not None and claim.until_monotonic > time.monotonic()

    def _open(self, spec: SinkSpec, worker: str) -> Sink:
        if spec.name in self._file.specs:
            return open_sink(spec, SinkAccess(self._secrets, None), worker)
        refusal = rest_refusal(spec)
        if refusal is not None:
            return _Refused(refusal)
        return open_sink(spec, SinkAccess(self._secrets, self._rules), worker)

    def _sweep(self, now_s: float, specs: Mapping[str, SinkSpec]) -> None:
        """Forgets sinks that no longer exist, which would otherwise hold events in the outbox."""
        partitions = self._partitions()
        if now_s - self._swept_at < FILE_EVERY_S or self._file.problem or self._rest is None or not partitions:
            return
        self._swept_at = now_s
        gone = self._records.cursors_of(partitions) - specs.keys()
        self._absent = {name: self._absent.get(name, now_s) for name in gone}
        for name, since_s in list(self._absent.items()):
            if now_s - since_s >= FORGET_S:
                self._records.forget(name, partitions)
                self._seen.discard(name)
                log.info("sink %s: it is no longer configured; its cursors have been removed", name)

    def _finish(self) -> None:
        threads = [*self._runners.values(), *self._ending]
        for each in threads:
            each.stop()
        deadline = time.monotonic() + END_LIMIT_S - 2
        for each in threads:
            each.join(max(0.1, deadline - time.monotonic()))
        if not any(each.alive for each in threads):
            try:
                self._leases.release()
            except (RedisError, OSError) as error:
                log.info("the sinks could not be released, their leases will expire: %s", error)
        self._leases.close()


class _Refused:
    """Stands in for a sink that REST may not add, if Redis contains one all the same."""

    max_batch = 1

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def deliver(self, items: Any) -> None:
        """Refuses."""
        raise LoginRefusedError(self._reason)

    def idle(self) -> None:
        """Refuses."""
        raise LoginRefusedError(self._reason)

    def recall(self, event: Any) -> None:
        """Nothing to remember."""

    def close(self) -> None:
        """Nothing to close."""
