"""The webhook sink: one request for each event, or for a batch. Redirects are not followed.

It connects to the address that was checked, even if the name resolves to another one later; TLS still checks the name.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from urllib.parse import quote, urlsplit

from elastic_inference.adapters.sinks.access import SinkAccess
from elastic_inference.adapters.sinks.base import Item, LoginRefusedError, PlainSink, RefusedError, UnavailableError
from elastic_inference.adapters.sinks.cloud_events import BATCH_TYPE, batch_body, binary_headers, signature_headers
from elastic_inference.adapters.sinks.tls import tls_context, tls_words
from elastic_inference.domain.sink_spec import SECRET, WebhookSink

_MAX_ANSWER_BYTES = 64 * 1024
MAX_RETRY_AFTER_S = 3600.0
# Statuses that blame the event itself.
_REFUSED = (400, 405, 406, 413, 414, 415, 422, 431)
_LOGIN = (401, 403, 407)


class Webhook(PlainSink):
    """Keeps one connection open."""

    def __init__(self, spec: WebhookSink, access: SinkAccess) -> None:
        self.max_batch = spec.batch
        self._spec = spec
        self._access = access
        self._connection: http.client.HTTPConnection | None = None

    def deliver(self, items: Sequence[Item]) -> None:
        """Sends one request. Raises DeliveryError unless the answer is a success."""
        body, headers = self._request(items)
        status, answer_headers = self._exchange(body, headers)
        if 200 <= status < 300:
            return
        words = f"{self._spec.destination} answered {status} {http.client.responses.get(status, '')}".rstrip()
        if status in _LOGIN:
            raise LoginRefusedError(f"{words}: check `token` and `sign` of this sink, and its rights there")
        if status in _REFUSED:
            raise RefusedError(words, whole_batch=len(items) > 1)
        if 300 <= status < 400:
            raise UnavailableError(f"{words}: redirects are not followed; write the final address into `url`")
        wait_s = retry_after_s(answer_headers.get("retry-after"), time.time())
        raise UnavailableError(words, retry_after_s=wait_s)

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self, items: Sequence[Item]) -> tuple[bytes, dict[str, str]]:
        spec = self._spec
        if spec.batch > 1:
            body, headers = batch_body(items), {"content-type": BATCH_TYPE}
        else:
            body, headers = items[0].document, binary_headers(items[0])
        token, sign = self._access.secret(spec.token), self._access.secret(spec.sign)
        if token is not None:
            headers["authorization"] = f"Bearer {quote(token, safe='~+/=._-')}"
        if sign is not None:
            headers |= signature_headers(sign, items[0].identity, time.time(), body)
        return body, headers | {"user-agent": "elastic-inference"}

    def _exchange(self, body: bytes, headers: dict[str, str]) -> tuple[int, http.client.HTTPMessage]:
        destination = self._spec.destination
        kept = self._connection is not None
        connection = self._connection or self._connect()
        self._connection = connection
        try:
            with _deadline(connection, self._spec.timeout_s):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    # A server that refuses a large body may answer and close before it has read it.
                    connection.request("POST", self._target(), body, headers)
                answer = connection.getresponse()
                if len(answer.read(_MAX_ANSWER_BYTES)) == _MAX_ANSWER_BYTES or answer.will_close:
                    self.close()
            return answer.status, answer.headers
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            # A connection that was shut down by the deadline raises one of these.
            self.close()
            if kept and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                # The server closed a connection that was idle. That is no failure: try a new one.
                return self._exchange(body, headers)
            if self._spec.secure and (words := tls_words(error, self._spec)):
                raise UnavailableError(words) from None
            why = " ".join(str(error).split())[:150] or type(error).__name__
            raise UnavailableError(f"{destination} can't be reached or did not answer in time ({why})") from None

    def _target(self) -> str:
        secret = self._access.secret(self._spec.url_secret)
        url = self._spec.url if secret is None else self._spec.url.replace(SECRET, quote(secret, safe=""))
        parts = urlsplit(url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._spec.url)
        host = str(parts.hostname)
        address = self._access.address(host)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        return _SinkConnection(host, port, self._spec.timeout_s, address, tls_context(self._spec, self._access))


class _SinkConnection(http.client.HTTPConnection):
    """Connects to `address`; header and certificate are for `host`."""

    def __init__(self, host: str, port: int, timeout_s: float, address: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self.default_port = 443 if tls else 80
        self._address = address
        self._tls = tls

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain) if self._tls else plain


@contextlib.contextmanager
def _deadline(connection: http.client.HTTPConnection, limit_s: float) -> Iterator[None]:
    """Shuts the connection down after `limit_s`: a server that sends a byte now and then would never time out.

    Raises TimeoutError then: the end of the connection would look like the end of the answer's headers.
    """
    ended = threading.Event()

    def end() -> None:
        ended.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit_s + 0.5, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if ended.is_set():
        raise TimeoutError(f"the answer took more than {limit_s:g} s")


def retry_after_s(text: str | None, now_s: float) -> float | None:
    """The seconds of a Retry-After header, at most an hour; None without a valid one."""
    if text is None:
        return None
    text = text.strip()[:64]
    if text.isdecimal():
        wait_s = float(text)
    else:
        try:
            wait_s = email.utils.parsedate_to_datetime(text).timestamp() - now_s
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, min(wait_s, MAX_RETRY_AFTER_S))
