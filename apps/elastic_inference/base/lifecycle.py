"""A service's lifecycle: readiness, liveness, the stop signal, and the port that serves them and the metrics.

Called by every entry point. Uses Prometheus' text format, but neither Redis nor OpenVINO.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from elastic_inference.base.bounded_server import BoundedServer
from elastic_inference.base.log import MAX_VALUE, one_line
from elastic_inference.base.stop_signals import watch_signals

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

DRAIN_LIMIT_S = 20.0
# Characters of a reason in /readyz: it may quote what a server or a camera said.
MAX_REASON = 500


class Lifecycle:
    """The state that a service reports to the platform. Thread-safe.

    The service is ready once parts have been declared (`declare`) and each is `set_ready`, until the stop begins. It is
    alive while each part that reports (`beat`) does so within its limit.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._declared = False
        self._missing: dict[str, str] = {}
        self._degraded: dict[str, str] = {}
        self._beats: dict[str, tuple[float, float]] = {}
        self._callbacks: list[Callable[[], None]] = []
        self.failure: str | None = None

    def declare(self, part: str, missing: str = "starting") -> None:
        """Declares a part that readiness waits for."""
        self._declared = True
        self.set_missing(part, missing)

    def set_ready(self, part: str) -> None:
        """Marks the part as working."""
        with self._lock:
            was = self._missing.pop(part, None)
        if was is not None:
            log.info("%s: ready", part)

    def set_missing(self, part: str, why: str) -> None:
        """Marks the part as not working, with the reason."""
        why = one_line(why, MAX_REASON)
        with self._lock:
            was = self._missing.get(part)
            self._missing[part] = why
        if was is None or (was != why and was == "starting"):
            log.info("%s: %s", part, why)

    def set_degraded(self, part: str, why: str | None) -> None:
        """Marks the part as degraded, with the reason; None ends that. Readiness does not depend on it."""
        why = why and one_line(why, MAX_REASON)
        with self._lock:
            was = self._degraded.pop(part, None)
            if why is not None:
                self._degraded[part] = why
        if why is not None and was is None:
            log.warning("%s: %s", part, why)
        elif why is None and was is not None:
            log.info("%s: no longer degraded", part)

    def degraded(self) -> dict[str, str]:
        """The degraded parts, with the reasons."""
        with self._lock:
            return dict(self._degraded)

    def missing(self) -> dict[str, str]:
        """The parts that keep the service from being ready, with the reasons; a stop in progress is one of them."""
        with self._lock:
            found = dict(self._missing)
        if self._stop.is_set():
            found["service"] = "stopping"
        elif not self._declared:
            # The health port opens before the service declares its parts. Until then it is not ready.
            found["service"] = "starting"
        return found

    def beat(self, part: str, limit_s: float = 30.0) -> None:
        """Reports the part as alive; it must report again within `limit_s` seconds."""
        with self._lock:
            self._beats[part] = (time.monotonic(), limit_s)

    def end_beat(self, part: str) -> None:
        """No longer expects reports of a part that stopped on purpose."""
        with self._lock:
            self._beats.pop(part, None)

    def stuck(self) -> dict[str, float]:
        """Parts that did not beat in time, with the seconds since their last beat."""
        now = time.monotonic()
        with self._lock:
            return {part: now - at for part, (at, limit_s) in self._beats.items() if now - at > limit_s}

    def stop(self) -> None:
        """Begins the stop: readiness fails, `stopping` is set, the callbacks run. A second call does nothing."""
        with self._lock:
            if self._stop.is_set():
                return
            self._stop.set()
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def thread(self, name: str, body: Callable[[], None], *, may_end: bool = False) -> threading.Thread:
        """A thread that stops the service if it ends unexpectedly: otherwise the service would only look alive.

        `failure` then says why, and the process ends with an error once it has drained. With `may_end` only an error
        is unexpected.
        """

        def run() -> None:
            why = "it returned"
            try:
                body()
            except BaseException as error:
                log.critical("the thread %s failed", name, exc_info=error)
                why = one_line(repr(error), MAX_VALUE)
            else:
                if self.stopping or may_end:
                    return
            self.failure = self.failure or f"the thread {name} ended: {why}"
            self.stop()

        return threading.Thread(target=run, name=name)

    @property
    def stopping(self) -> bool:
        """Whether the stop has begun."""
        return self._stop.is_set()

    def wait_stop(self, timeout_s: float | None = None) -> bool:
        """Waits until the stop begins, for at most `timeout_s`; True if it has begun."""
        return self._stop.wait(timeout_s)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Calls `callback` when the stop begins, in the thread that begins it: it must not block."""
        with self._lock:
            self._callbacks.append(callback)

    def stop_event(self) -> asyncio.Event:
        """An event of the running loop that is set when the stop begins."""
        import asyncio  # noqa: PLC0415  services that use threads do not load it

        loop, event = asyncio.get_running_loop(), asyncio.Event()

        def begin() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(event.set)

        self.on_stop(begin)
        if self.stopping:
            event.set()
        return event

    def install_signal_handlers(self) -> None:
        """SIGTERM and SIGINT begin the stop; a second one ends the process at once. Main thread only."""

        def begin(number: signal.Signals) -> None:
            log.info("%s: stopping on %s", self.service, number.name)
            self.stop()

        watch_signals((signal.SIGTERM, signal.SIGINT), begin, once=True)


class HealthServer:
    """Serves `/healthz`, `/readyz` and `/metrics` on a separate port and thread."""

    def __init__(self, lifecycle: Lifecycle, registry: CollectorRegistry, port: int, host: str = "") -> None:
        """Binds `port` (0 takes a free one, see `port`) at `host` (empty: all). Raises OSError if it is in use."""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    encoder, content_type = choose_encoder(self.headers.get("Accept", ""))
                    self._answer(200, encoder(registry), content_type)
                elif path == "/healthz":
                    stuck = {part: round(age_s, 1) for part, age_s in lifecycle.stuck().items()}
                    self._answer_json(503 if stuck else 200, {"alive": not stuck, "stuck": stuck})
                elif path == "/readyz":
                    missing = lifecycle.missing()
                    degraded = lifecycle.degraded()
                    self._answer_json(
                        503 if missing else 200, {"ready": not missing, "missing": missing, "degraded": degraded}
                    )
                else:
                    self._answer_json(
                        404, {"error": {"code": "not_found", "message": "try /healthz, /readyz, /metrics"}}
                    )

            def _answer_json(self, status: int, document: dict[str, object]) -> None:
                self._answer(status, json.dumps(document).encode() + b"\n", "application/json")

            def _answer(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                log.debug("health: " + format, *args)

        class Server(BoundedServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        self._server = Server((host.strip("[]"), port), Handler)
        self.port: int = self._server.server_address[1]
        # Each poll costs CPU; `close` wakes it.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.5,), name="health", daemon=True)

    def start(self) -> None:
        """Starts serving."""
        self._thread.start()
        log.info("metrics and health on port %d", self.port)

    def close(self) -> None:
        """Stops serving and frees the port."""
        ending = threading.Thread(target=self._server.shutdown, name="health-end", daemon=True)
        ending.start()
        with contextlib.suppress(OSError):
            # `shutdown` waits for the end of the poll, which a connection brings.
            socket.create_connection((str(self._server.server_address[0]), self.port), 1.0).close()
        ending.join(5)
        self._server.server_close()
        self._thread.join(5)
