"""The Prometheus metrics of the package: names, help, labels, buckets. Those of models are in `model_metrics`.

Each service builds the group it needs with its own registry, so each test starts from zero. `doc/inference_metrics.md`
explains each metric. Label values that are known in advance exist from the start.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from elastic_inference.domain.errors import DropReason, InvalidReason

# From one network hop (1 ms) to the oldest frame that is inferred (2 s by default) and beyond.
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServiceMetrics:
    """Metrics of every service."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.resize_pending = Gauge(
            "ei_resize_pending", "1 while the pod waits for the CPU that it was given.", registry=registry
        )
        self.unexpected_errors = Counter(
            "ei_unexpected_errors", "Errors that nobody expected, as logged with a traceback.", registry=registry
        )


class InferenceMetrics:
    """Metrics of one inference pod, all with the labels `infer_type` and `model`."""

    def __init__(self, registry: CollectorRegistry, infer_type: str, model: str) -> None:
        names = ("infer_type", "model")
        self._type, self._model = infer_type, model

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, names, registry=registry)

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(name, text, (*names, *more), registry=registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(name, text, names, registry=registry, buckets=LATENCY_BUCKETS_S)

        self._gauges = {
            "infer_fps": gauge("ei_infer_fps", "Frames inferred per second, over the window."),
            "drop_fps": gauge("ei_drop_fps", "Frames dropped for lack of capacity per second, over the window."),
            "scale_ratio": gauge(
                "ei_scale_ratio", "Demand divided by this pod's capacity: 2 means twice the pods are needed."
            ),
        }
        self._inferred = counter("ei_frames_inferred", "Frames inferred and published.")
        self._popped = counter("ei_frames_popped", "Frames popped from the queue.")
        self._lost = counter("ei_frames_lost", "Frames popped whose result could not be published in time.")
        self._inference_s = histogram("ei_inference_seconds", "Pop to result.")
        self._queue_wait_s = histogram("ei_queue_wait_seconds", "Arrival at the queue to pop.")
        self._end_to_end_s = histogram("ei_end_to_end_seconds", "Capture to result.")
        self._drops = counter("ei_frames_dropped", "Good frames discarded.", "reason")
        self._invalid = counter("ei_frames_invalid", "Frames that cannot be used.", "reason")
        self._label()

    def follow(self, model: str) -> None:
        """Counts for another model from now on. Counters of the former one stay, its gauges go."""
        if model == self._model:
            return
        values = {name: getattr(self, name)._value.get() for name in self._gauges}
        for each in self._gauges.values():
            each.remove(self._type, self._model)
        self._model = model
        self._label()
        for name, value in values.items():
            getattr(self, name).set(value)

    def _label(self) -> None:
        own = {"infer_type": self._type, "model": self._model}
        self.infer_fps = self._gauges["infer_fps"].labels(**own)
        self.drop_fps = self._gauges["drop_fps"].labels(**own)
        self.scale_ratio = self._gauges["scale_ratio"].labels(**own)
        self.inferred = self._inferred.labels(**own)
        self.popped = self._popped.labels(**own)
        self.lost = self._lost.labels(**own)
        self.inference_s = self._inference_s.labels(**own)
        self.queue_wait_s = self._queue_wait_s.labels(**own)
        self.end_to_end_s = self._end_to_end_s.labels(**own)
        self.dropped = {reason: self._drops.labels(**own, reason=reason.value) for reason in DropReason}
        self.invalid = {reason: self._invalid.labels(**own, reason=reason.value) for reason in InvalidReason}


class ProducerFamilies:
    """The metrics of all streams of one process; `ProducerMetrics` adds and removes one stream."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pushed = Counter(
            "ei_frames_pushed", "Frames pushed to the queue.", ("stream", "infer_type"), registry=registry
        )
        self.gated = Counter(
            "ei_frames_gated",
            "Frames not inferred because nothing moves (gate: motion).",
            ("stream", "infer_type"),
            registry=registry,
        )
        by_reason = ("stream", "infer_type", "reason")
        self.dropped = Counter("ei_frames_dropped", "Good frames discarded.", by_reason, registry=registry)
        self.invalid = Counter("ei_frames_invalid", "Frames that cannot be used.", by_reason, registry=registry)
        source = ("stream",)
        self.source_up = Gauge("ei_source_up", "1 while the source delivers frames.", source, registry=registry)
        self.source_fps = Gauge(
            "ei_source_fps", "Frames per second that the source delivers.", source, registry=registry
        )
        self.source_reconnects = Counter(
            "ei_source_reconnects", "How often the source was opened again.", source, registry=registry
        )
        self.source_stalls = Counter(
            "ei_source_stalls", "How often no frame arrived for SOURCE_STALL_S.", source, registry=registry
        )


class ProducerMetrics:
    """Metrics of one producer: one stream, one or more types."""

    def __init__(self, into: CollectorRegistry | ProducerFamilies, stream: str, infer_types: tuple[str, ...]) -> None:
        """`into` is a registry for this stream alone, or the families that it shares with others."""
        families = ProducerFamilies(into) if isinstance(into, CollectorRegistry) else into
        self._families = families
        self._stream = stream
        self.pushed: dict[str, Counter] = {}
        self.gated: dict[str, Counter] = {}
        self.dropped: dict[tuple[str, DropReason], Counter] = {}
        self.invalid: dict[tuple[str, InvalidReason], Counter] = {}
        for kind in infer_types:
            self.add_type(kind)
        self.source_up = families.source_up.labels(stream=stream)
        self.source_fps = families.source_fps.labels(stream=stream)
        self.source_reconnects = families.source_reconnects.labels(stream=stream)
        self.source_stalls = families.source_stalls.labels(stream=stream)

    def add_type(self, kind: str) -> None:
        """Adds metrics for one more inference type."""
        own = {"stream": self._stream, "infer_type": kind}
        self.pushed[kind] = self._families.pushed.labels(**own)
        self.gated[kind] = self._families.gated.labels(**own)
        for reason in DropReason:
            self.dropped[kind, reason] = self._families.dropped.labels(**own, reason=reason.value)
        for problem in InvalidReason:
            self.invalid[kind, problem] = self._families.invalid.labels(**own, reason=problem.value)

    def remove_type(self, kind: str) -> None:
        """Stops exporting the metrics for this inference type."""
        self._families.pushed.remove(self._stream, kind)
        self._families.gated.remove(self._stream, kind)
        for reason in DropReason:
            self._families.dropped.remove(self._stream, kind, reason.value)
        for problem in InvalidReason:
            self._families.invalid.remove(self._stream, kind, problem.value)

    def remove(self) -> None:
        """Stops exporting all metrics of an ended stream. Late counts are ignored."""
        for kind in self.pushed:
            self.remove_type(kind)
        families = self._families
        for family in (families.source_up, families.source_fps, families.source_reconnects, families.source_stalls):
            family.remove(self._stream)


class SourceWorkerMetrics:
    """A source worker as a whole; its child processes count for each camera."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.scale_ratio = Gauge(
            "ei_scale_ratio",
            "CPU used, and this worker's share of the cameras without a worker, over CPU available.",
            registry=registry,
        )
        self.cameras = Gauge("ei_cameras", "Cameras that this worker runs.", registry=registry)


class ConnectionMetrics:
    """Connections of the gateway, the websocket server, or the scaler of housekeeping."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge("ei_connections", "Open connections of clients.", registry=registry)
        self.limit = Gauge("ei_max_connections", "Connections that may be open; others wait.", registry=registry)
        self.refused = Counter(
            "ei_connections_refused", "Connections refused because their address has too many.", registry=registry
        )


class RelayMetrics:
    """Metrics of the websocket server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.viewers = Gauge("ei_viewers", "Open websockets.", registry=registry)
        self.streams = Gauge("ei_relay_streams", "Streams that have a viewer.", registry=registry)
        self.sent = Counter("ei_viewer_frames_sent", "Messages sent to viewers.", registry=registry)
        self.skipped = Counter("ei_viewer_frames_skipped", "Messages skipped for slow viewers.", registry=registry)
        self.late = Counter("ei_frames_late", "Results discarded because they arrived out of order.", registry=registry)
        self.invalid = Counter("ei_results_invalid", "Results that could not be read.", registry=registry)
        refused = Counter("ei_viewers_refused", "Websockets refused.", ("reason",), registry=registry)
        self.refused = {
            reason: refused.labels(reason=reason) for reason in ("unknown", "limit", "origin", "host", "request")
        }


class GatewayMetrics:
    """Metrics of the gateway."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tunnels = Gauge("ei_gateway_tunnels", "Open websocket tunnels.", registry=registry)
        self.event_clients = Gauge("ei_gateway_event_clients", "Open event streams.", registry=registry)
        self.wrong_tokens = Counter("ei_gateway_wrong_tokens", "Wrong tokens received.", registry=registry)
        requests = Counter("ei_gateway_requests", "HTTP requests answered.", ("code",), registry=registry)
        self.requests = {code: requests.labels(code=code) for code in ("1xx", "2xx", "3xx", "4xx", "5xx")}


class HousekeepingMetrics:
    """Metrics of housekeeping. Each replica exports the same gauges; counters are its own."""

    # The reasons of drops at the queue.
    CLAIMED = (DropReason.QUEUE_FULL, DropReason.STALE)

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queue_length = Gauge("ei_queue_length", "Frames waiting, by type.", ("infer_type",), registry=registry)
        self.workers = Gauge("ei_workers", "Inference pods that report, by type.", ("infer_type",), registry=registry)
        redis_up = Gauge("ei_redis_up", "Whether Redis answers for this part.", ("part",), registry=registry)
        self.redis_up = {part: redis_up.labels(part=part) for part in ("queue", "broker")}
        refused = Gauge(
            "ei_redis_refused", "1 while Redis answers a read of this part with an error.", ("part",), registry=registry
        )
        self.redis_refused = {part: refused.labels(part=part) for part in ("queue", "broker")}
        self.redis_used = Gauge("ei_redis_used_memory_bytes", "Memory used by the queue's Redis.", registry=registry)
        self.redis_limit = Gauge(
            "ei_redis_maxmemory_bytes", "maxmemory of the queue's Redis; 0 means unlimited.", registry=registry
        )
        self.redis_connections = Gauge(
            "ei_redis_connected_clients", "Open connections of the queue's Redis.", registry=registry
        )
        self.redis_max_connections = Gauge(
            "ei_redis_maxclients",
            "maxclients of the queue's Redis; at the limit it refuses connections.",
            registry=registry,
        )
        self.strangers = Counter(
            "ei_redis_strangers_closed",
            "Connections to the queue's Redis that were closed because they had not logged in.",
            registry=registry,
        )
        self.closed = Counter(
            "ei_redis_clients_closed",
            "Connections to the queue's Redis that were closed because they took too much memory or too many places.",
            registry=registry,
        )
        self.relieved = Counter(
            "ei_queue_relieved_bytes",
            "Bytes that were removed from the type with most of Redis' memory, since it was nearly full.",
            ("infer_type",),
            registry=registry,
        )
        self.reader_streams = Counter(
            "ei_reader_streams_removed",
            "Streams of results that were removed because of what groups of readers kept there.",
            registry=registry,
        )
        self.camera_files_refused = Counter(
            "ei_camera_files_refused",
            "How often CAMERAS_FILE could not be used, so that the last list of cameras stayed.",
            registry=registry,
        )
        # Those of types with pods are claimed and counted by the pods, see InferenceMetrics.
        self.dropped = Counter(
            "ei_frames_dropped",
            "Good frames discarded at the queue of a type without pods.",
            ("infer_type", "reason"),
            registry=registry,
        )
        self.janitor_runs = Counter("ei_janitor_runs", "Janitor runs.", ("infer_type",), registry=registry)
        self.janitor_refused = Gauge(
            "ei_janitor_refused",
            "1 if Redis refused this type in the last round.",
            ("infer_type",),
            registry=registry,
        )


class ScalerMetrics:
    """Metrics of the scaler that housekeeping serves to KEDA; they exist if it is on."""

    METHODS = ("IsActive", "StreamIsActive", "GetMetricSpec", "GetMetrics")
    CLOSED = ("protocol", "flood", "silent", "slow", "tls")

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "ei_scaler_requests",
            "Calls that have ended, by method and status.",
            ("method", "status"),
            registry=registry,
        )
        for method in self.METHODS:
            self._requests.labels(method=method, status="OK")
        self.streams = Gauge("ei_scaler_streams", "Open calls of StreamIsActive.", registry=registry)
        closed = Counter(
            "ei_scaler_connections_closed",
            "Connections that a client's fault ended.",
            ("reason",),
            registry=registry,
        )
        self.closed = {reason: closed.labels(reason=reason) for reason in self.CLOSED}

    def count(self, method: str, status: str) -> None:
        """Counts a call that has ended. Methods that do not exist count as `other`."""
        self._requests.labels(method=method if method in self.METHODS else "other", status=status).inc()


class EventMetrics:
    """Metrics of the event service. The values of its labels are limited in number."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Their modules come with pydantic models that no other service needs.
        from elastic_inference.base.zone_counters import ZoneCounters  # noqa: PLC0415
        from elastic_inference.domain.events.event import EventKind, Phase  # noqa: PLC0415
        from elastic_inference.domain.events.missing import Missing  # noqa: PLC0415

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, registry=registry)

        self.results = counter("ei_event_results", "Results that were put in order and analysed.")
        self.late = counter("ei_event_results_late", "Results discarded because they arrived out of order, or twice.")
        self.invalid = counter("ei_event_results_invalid", "Entries of the partitions that cannot be read.")
        self.refused = counter("ei_event_results_refused", "Results of more streams than a partition may have.")
        self.fenced = counter("ei_event_batches_fenced", "Batches not written, as another worker had the partition.")
        self.left_out = counter("ei_event_updates_left_out", "Updates not written since a sink lags too far behind.")
        self.lost = counter("ei_events_lost", "Events removed before every sink had confirmed them.")
        self.partitions = Gauge("ei_event_partitions", "Partitions that this worker holds.", registry=registry)
        self.lag = Gauge("ei_event_lag_seconds", "Age of the newest result read while more wait.", registry=registry)
        self.outbox = Gauge("ei_event_outbox", "Events kept, by partition.", ("partition",), registry=registry)
        self.events = Counter("ei_events", "Events written, by kind and phase.", ("kind", "phase"), registry=registry)
        for kind in EventKind:
            for phase in Phase:
                self.events.labels(kind=kind.value, phase=phase.value)
        self.zones = ZoneCounters()
        registry.register(self.zones)
        self.state_bytes = Gauge("ei_event_state_bytes", "Size of the state of all streams.", registry=registry)
        self.images = counter("ei_event_snapshots", "Images that were kept for events.")
        self.images_removed = counter("ei_event_snapshots_removed", "Images removed early, for the memory's bound.")
        self.image_bytes = Gauge(
            "ei_event_snapshot_bytes", "Bytes of the images that all event workers keep.", registry=registry
        )
        self.images_missing = Counter(
            "ei_event_snapshots_missing", "Images asked for that could not be kept.", ("reason",), registry=registry
        )
        for reason in Missing:
            self.images_missing.labels(reason=reason.value)


class DeliveryMetrics:
    """Metrics of delivery in one event worker; a sink has values while this worker delivers to it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        sink = ("sink",)
        self.lag_s = Gauge(
            "ei_sink_lag_seconds", "Age of the oldest event that the sink has not confirmed.", sink, registry=registry
        )
        self.up = Gauge(
            "ei_sink_up", "1 while the sink takes events, 0 while it refuses or fails.", sink, registry=registry
        )
        self.delivered = Counter("ei_sink_delivered", "Events that the sink confirmed.", sink, registry=registry)
        self.retried = Counter("ei_sink_retried", "Attempts that failed and were made again.", sink, registry=registry)
        self.dead = Counter("ei_sink_dead", "Events that the sink refused for good.", sink, registry=registry)
        self.dead_removed = Counter(
            "ei_sink_dead_removed", "Dead letters of all sinks that an admin has deleted.", registry=registry
        )
