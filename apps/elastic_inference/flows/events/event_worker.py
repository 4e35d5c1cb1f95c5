"""The event worker: reads the results of the partitions that it holds, and writes the resulting events.

Called by `event_service`, in one thread. It writes nothing for a partition that another worker has taken: the script of
each batch checks the lease's epoch. So a worker that was frozen for a while does no harm when it continues.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from redis.exceptions import RedisError

from elastic_inference.adapters.event_store import Batch, EventStore, FencedError
from elastic_inference.adapters.event_store.source_reports import SourceReports
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import EventMetrics
from elastic_inference.base.zone_counters import LineRow, ZoneRow
from elastic_inference.flows.events.camera_check import CameraCheck
from elastic_inference.flows.events.camera_rules import RulesReader
from elastic_inference.flows.events.counter_rows import add_counts
from elastic_inference.flows.events.image_keeper import ImageKeeper
from elastic_inference.flows.events.live_tracks import LiveTracks
from elastic_inference.flows.events.partition import Partition
from elastic_inference.flows.events.partition_leases import PartitionLeases

log = logging.getLogger(__name__)

# Entries of a partition in one read, and the longest wait for one.
READ_COUNT = 256
BLOCK_S = 0.25
# Entries that arrive within this time are read together.
GATHER_S = 0.02
BEAT_S = 30.0
_CLOCK_EVERY_S = 5.0
_SHOW_EVERY_S = 1.0
_CONTACT = (RedisError, OSError)


class EventWorker:
    """Runs until the lifecycle stops."""

    def __init__(
        self,
        store: EventStore,
        leases: PartitionLeases,
        rules: RulesReader,
        *,
        window_s: float,
        metrics: EventMetrics,
        lifecycle: Lifecycle,
        explain: Callable[[Exception], str],
        images: ImageKeeper | None = None,
        reports: SourceReports | None = None,
        camera_lost_s: float = 10.0,
    ) -> None:
        """`window_s` is how long a result waits for its predecessor. Without `images` events get none.

        Without `reports` no camera is lost; with them, one that gives nothing for `camera_lost_s` is.
        """
        self._store = store
        self._leases = leases
        self._rules = rules
        self._window_s = window_s
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._explain = explain
        self._images = images
        self.partitions: dict[int, Partition] = {}
        # The partitions with a valid lease, and its epoch.
        self._held: dict[int, int] = {}
        self._camera_lost_s = camera_lost_s
        self._cameras = CameraCheck(reports, rules, camera_lost_s) if reports is not None else None
        self._live = LiveTracks(store)
        self._throttle = Throttle()
        self._backoff = Backoff()
        self._shown_at_s = float("-inf")
        self._offset_ms: float | None = None
        self._clock_at_s = float("-inf")
        lifecycle.declare("broker", "no answer from Redis yet")

    def run(self) -> None:
        """Runs rounds until the stop, then writes all changes."""
        while not self._lifecycle.stopping:
            self._lifecycle.beat("events", BEAT_S)
            began = time.monotonic()
            try:
                self._round(began)
            except _CONTACT as error:
                self._failed(error)
            else:
                self._lifecycle.set_ready("broker")
                self._backoff.reset()
                self._lifecycle.wait_stop(max(0.0, began + GATHER_S - time.monotonic()))
        for number, partition in list(self.partitions.items()):
            try:
                if partition.unconfirmed is not None:
                    self._write(partition)
                if number in self.partitions:
                    self._write(partition, whole=True)
            except _CONTACT as error:
                log.warning("the last changes were not written, the next worker reads them again: %s", error)
                break
        self._lifecycle.end_beat("events")

    def _round(self, now_s: float) -> None:
        self._read_clock(now_s)
        self._follow_leases(now_s)
        self._rules.refresh((name for each in self.partitions.values() for name in each.names()), now_s)
        mine = self._resume()
        if not mine:
            self._lifecycle.wait_stop(BLOCK_S)
            return
        found = self._store.read(
            {number: each.cursor for number, each in mine.items()}, READ_COUNT, self._block_ms(mine.values(), now_s)
        )
        now_s = time.monotonic()
        server_ms = self._server_ms(now_s)
        lag_s, late = 0.0, []
        self._learn_images()
        for number, partition in mine.items():
            entries = found.get(number, [])
            partition.feed(entries, now_s)
            now_ms = server_ms
            if len(entries) >= READ_COUNT:
                # The worker lags: results that it has not read yet must not count as missing.
                now_ms = min(now_ms, float(entries[-1].id[0]))
                lag_s = max(lag_s, (server_ms - now_ms) / 1000)
                late.append(number)
            partition.tick(now_s, now_ms)
        if self._cameras is not None:
            self._cameras.look(mine.values(), late, server_ms, now_s)
        for partition in mine.values():
            if self._images is not None and partition.images:
                self._images.ask(partition.images)
                partition.images = []
            self._write(partition)
        self._live.publish([each for number, each in mine.items() if number in self.partitions], now_s)
        self._count(lag_s)

    def _learn_images(self) -> None:
        for image, reason in self._images.outcomes() if self._images is not None else ():
            stream = image.partition("/")[0]
            for partition in self.partitions.values():
                known = partition.streams.get(stream)
                if known is not None and known.images is not None:
                    known.images.learn(image, reason)

    def _resume(self) -> dict[int, Partition]:
        """The partitions that it may work on. Batches that were unconfirmed when a lease ended are sent again first."""
        for number in self._held:
            if (partition := self.partitions.get(number)) is not None and partition.unconfirmed is not None:
                self._write(partition)
        return {number: each for number, each in self.partitions.items() if number in self._held}

    def _block_ms(self, partitions: Iterable[Partition], now_s: float) -> int:
        due = [due for each in partitions if (due := each.deadline_s()) is not None]
        return int(1000 * max(0.001, min([BLOCK_S, *(each - now_s for each in due)])))

    def _follow_leases(self, now_s: float) -> None:
        self._held, known = self._leases.claims(now_s)
        for number, partition in list(self.partitions.items()):
            # After its lease has ended, a partition waits for Redis' answer.
            if known.get(number) != partition.epoch:
                self._leave(number, "its lease has ended")
        for number, epoch in self._held.items():
            if number not in self.partitions:
                self._take(number, epoch, now_s)
        self._metrics.partitions.set(len(self.partitions.keys() & self._held.keys()))

    def _take(self, number: int, epoch: int, now_s: float) -> None:
        try:
            taken = self._store.take(number, epoch)
        except FencedError:
            return  # the next round of the leases says so
        if taken.state_lost:
            log.error("partition %d: its state was larger than any of ours, and was removed", number)
        self._rules.load(stream.partition(":")[0] for stream in taken.states)
        choice = self._images.choice if self._images is not None else None
        partition = Partition(
            number,
            epoch,
            taken,
            window_s=self._window_s,
            rules_of=self._rules.of,
            now_s=now_s,
            choice=choice,
            camera_lost_s=self._camera_lost_s,
        )
        newest = self._store.newest([number]).get(number)
        if newest is not None and newest < partition.cursor:
            log.warning("partition %d: its results began anew, since Redis has lost them", number)
            partition.rewind()
        self.partitions[number] = partition
        # An empty one concerns nobody, and there are sixteen at the start.
        level = logging.INFO if partition.streams else logging.DEBUG
        log.log(level, "partition %d: taken with epoch %d, %d streams", number, epoch, len(partition.streams))

    def _leave(self, number: int, why: str) -> None:
        del self.partitions[number]
        log.info("partition %d: left, %s", number, why)

    def _write(self, partition: Partition, whole: bool = False) -> None:
        # A batch that Redis may have written already is sent again as it was.
        batch = partition.unconfirmed or partition.batch(time.monotonic(), whole)
        if batch is None:
            return
        partition.unconfirmed = batch
        try:
            self._commit(partition, batch)
        except FencedError:
            self._metrics.fenced.inc()
            self._leave(partition.number, "another worker has taken it")

    def _commit(self, partition: Partition, batch: Batch) -> None:
        """Retries the batch until Redis has answered or the lease has ended; a repeated batch is written once."""
        backoff = Backoff()
        while True:
            try:
                done = self._store.commit(partition.number, partition.epoch, batch)
            except _CONTACT as error:
                self._lifecycle.beat("events", BEAT_S)
                self._lifecycle.set_missing("broker", self._explain(error))
                self._restart_watches()
                self._held, _ = self._leases.claims(time.monotonic())
                if self._held.get(partition.number) != partition.epoch:
                    return
                if self._lifecycle.stopping:
                    raise
                if note := self._throttle.note(str(error)[:40]):
                    log.warning("%s; events are kept and sent again %s", self._explain(error), note)
                self._lifecycle.wait_stop(backoff.next_s())
                continue
            gone = partition.committed(batch, done, time.monotonic())
            self._metrics.left_out.inc(done.left_out)
            self._metrics.lost.inc(done.lost + gone)
            self._metrics.outbox.labels(partition=str(partition.number)).set(done.length)
            if done.lost and (note := self._throttle.note("lost")):
                log.error(
                    "partition %d: the outbox is full: %d events were removed before every sink had confirmed them %s",
                    *(partition.number, done.lost, note),
                )
            if gone:
                log.error(
                    "partition %d: Redis has lost its data, and with it %d events that not every sink had confirmed",
                    *(partition.number, gone),
                )
            return

    def _count(self, lag_s: float) -> None:
        self._metrics.lag.set(lag_s)
        self._show_counters()
        self._metrics.state_bytes.set(sum(each.state_bytes for each in self.partitions.values()))
        for partition in self.partitions.values():
            account = partition.account
            self._metrics.results.inc(account.results)
            self._metrics.late.inc(account.late)
            self._metrics.invalid.inc(account.invalid)
            self._metrics.refused.inc(account.refused)
            if account.invalid and (note := self._throttle.note("invalid")):
                log.warning("partition %d: an entry was skipped: %s %s", partition.number, partition.problem, note)
            if account.refused and (note := self._throttle.note("refused")):
                log.warning("partition %d has more streams than can be followed %s", partition.number, note)
            if partition.counts.refused and (note := self._throttle.note("counts")):
                log.warning(
                    "partition %d: counters of its cameras are too large to be saved %s", partition.number, note
                )
            partition.counts.refused = 0
            for (kind, phase), number in account.events.items():
                self._metrics.events.labels(kind=kind, phase=phase).inc(number)
            partition.account = type(account)()

    def _show_counters(self) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_at_s < _SHOW_EVERY_S:
            return
        self._shown_at_s = now_s
        self._read_cursors()
        zones: list[ZoneRow] = []
        lines: list[LineRow] = []
        for partition in self.partitions.values():
            for name, stream in partition.streams.items():
                add_counts(name, stream.analysis.counts(), zones, lines)
        self._metrics.zones.show(zones, lines)

    def _read_cursors(self) -> None:
        """Reads the sinks' cursors of partitions in which an event may still wait."""
        waiting = [number for number, each in self.partitions.items() if each.undelivered.count]
        for number, cursors in self._store.cursors(waiting).items() if waiting else ():
            self.partitions[number].undelivered.confirmed(cursors)

    def _read_clock(self, now_s: float) -> None:
        if self._offset_ms is None or now_s - self._clock_at_s >= _CLOCK_EVERY_S:
            server_ms = self._store.server_ms()
            self._clock_at_s = time.monotonic()
            self._offset_ms = server_ms - self._clock_at_s * 1000
            self._rewind_what_began_anew()

    def _rewind_what_began_anew(self) -> None:
        """A Redis that has lost its data and whose clock was set back gives out lower ids than those already read."""
        for number, newest in self._store.newest(list(self.partitions)).items() if self.partitions else ():
            if newest < self.partitions[number].cursor:
                log.warning("partition %d: its results began anew, since Redis has lost them", number)
                self.partitions[number].rewind()

    def _server_ms(self, now_s: float) -> float:
        return now_s * 1000 + (self._offset_ms or 0.0)

    def _restart_watches(self) -> None:
        """What did not come while Redis was unavailable says nothing of the cameras."""
        for partition in self.partitions.values():
            partition.cameras.restart(time.monotonic())

    def _failed(self, error: Exception) -> None:
        text = self._explain(error)
        self._lifecycle.set_missing("broker", text)
        self._offset_ms = None
        self._restart_watches()
        if note := self._throttle.note(type(error)):
            log.warning("%s %s", text, note)
        self._lifecycle.wait_stop(self._backoff.next_s())
