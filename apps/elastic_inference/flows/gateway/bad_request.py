"""The response to a request that Tornado itself refuses, in the same form as all other errors. Called by `server`.

If Tornado cannot read a request as HTTP (a head without `Host`, a wrong length), it responds with a bare line, before
any handler is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tornado.iostream import IOStream

from elastic_inference.flows.gateway.security_headers import security_headers

_OF_TORNADO = b"HTTP/1.1 400 Bad Request\r\n\r\n"


def bad_request(secure: bool) -> bytes:
    """The complete response. `secure`: whether the gateway itself serves HTTPS."""
    from elastic_inference.flows.gateway.error_document import error_json  # noqa: PLC0415  see there

    body = error_json(400, "The request is not valid HTTP, or too large.")
    headers = {
        **security_headers("", secure),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return b"HTTP/1.1 400 Bad Request\r\n" + head.encode() + b"\r\n" + body


def replace_bare_response(stream: IOStream, secure: bool, count: Callable[[], object]) -> None:
    """Makes a new connection send `bad_request` instead of Tornado's bare line, and call `count` each time."""
    write = stream.write

    def write_whole(data: Any) -> Any:
        # Our own responses never consist of this line alone: they always have headers.
        if len(data) == len(_OF_TORNADO) and data == _OF_TORNADO:
            count()
            return write(bad_request(secure))
        return write(data)

    stream.write = write_whole  # type: ignore[method-assign]
