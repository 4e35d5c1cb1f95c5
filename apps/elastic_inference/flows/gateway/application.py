"""The gateway's Tornado application: the REST routes, the tunnel and the page. Called by `server`."""

from __future__ import annotations

import re
from typing import Any

from tornado.web import Application, RequestHandler

from elastic_inference.flows.gateway import api, pages
from elastic_inference.flows.gateway.handlers import Gateway
from elastic_inference.flows.gateway.routes import ROUTES

# A stream id; its colons may be percent-encoded.
_STREAM_ID = r"/([^/]+(?::|%3[Aa])[^/]+(?::|%3[Aa])inferred)"


def make_application(gateway: Gateway, base_path: str = "") -> Application:
    """The Tornado application that serves a gateway."""
    shared: dict[str, Any] = {"gateway": gateway}
    routes: list[tuple[str, type[RequestHandler]]] = [
        *((route.pattern, route.handler) for route in ROUTES),
        (r"/api(?:/.*)?", api.UnknownHandler),
        (_STREAM_ID, pages.TunnelHandler),
        (r"/.*", pages.PageHandler),
    ]

    def count(handler: RequestHandler) -> None:
        counter = gateway.metrics.requests.get(f"{handler.get_status() // 100}xx")
        if counter is not None:
            counter.inc()

    # A proxy may strip the base path or not.
    prefix = f"(?:{re.escape(base_path)})?" if base_path else ""
    if prefix:
        routes.insert(0, (re.escape(base_path), pages.PageHandler))
    return Application(
        [(prefix + pattern, handler, shared) for pattern, handler in routes],
        default_handler_class=api.UnknownHandler,
        default_handler_args=shared,
        log_function=count,
    )
