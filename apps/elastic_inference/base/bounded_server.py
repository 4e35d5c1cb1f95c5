"""The HTTP server of the health port: a thread for each connection, but a bounded number, and no busy loop.

Used by `lifecycle`. When there are too many connections, the oldest is closed, so silent clients keep no probe out.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from elastic_inference.base.log import Throttle

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
# The pause when no connection can be accepted, for lack of descriptors. The kernel would report the waiting client
# again at once.
PAUSE_S = 0.2


class BoundedServer(ThreadingHTTPServer):
    """At most MAX_CONNECTIONS connections; one more closes the oldest."""

    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, *args: Any) -> None:
        """Arguments as for the base class."""
        self._lock = threading.Lock()
        self._open: dict[socket.socket, None] = {}
        self._throttle = Throttle()
        super().__init__(*args)

    def server_bind(self) -> None:
        """Called by the base class, whose own one would also ask the name service for the host's full name."""
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Called by the base class when a client waits."""
        try:
            return super().get_request()
        except OSError as error:
            if self._throttle.allow(error.errno):
                log.warning("health: no connection can be accepted for now: %s (logged once a minute)", error.strerror)
            time.sleep(PAUSE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Called by the base class for each connection; starts its thread."""
        with self._lock:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > MAX_CONNECTIONS else None
            if oldest is not None:
                del self._open[oldest]
        if oldest is not None:
            with suppress(OSError):  # its thread has just closed it
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Called by the connection's thread at its end."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Called by the base class when a request fails."""
        log.debug("health: a request from %s failed", client_address, exc_info=True)
