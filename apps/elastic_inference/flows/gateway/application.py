"""The routes of the gateway. Called by `server`."""

from __future__ import annotations

from typing import Any

from tornado.web import Application, RequestHandler

from elastic_inference.flows.gateway import api, pages
from elastic_inference.flows.gateway.handlers import Gateway

# A stream's id, its colons quoted or not.
_STREAM_ID = r"/([^/]+(?::|%3[Aa])[^/]+(?::|%3[Aa])inferred)"


def make_application(gateway: Gateway) -> Application:
    """The Tornado application over a gateway's parts."""
    shared: dict[str, Any] = {"gateway": gateway}
    routes: list[tuple[str, type[RequestHandler]]] = [
        (r"/api/streams?", api.StreamsHandler),
        (r"/api/streams/([^/]+)", api.StreamHandler),
        (r"/api/streams/([^/]+)/snapshot\.jpg", api.SnapshotHandler),
        (r"/api/stats", api.StatsHandler),
        (r"/api/events", api.EventsHandler),
        (r"/api/openapi\.json", api.OpenapiHandler),
        (r"/api/session", api.SessionHandler),
        (r"/api/login", api.LoginHandler),
        (r"/api/logout", api.LogoutHandler),
        (r"/api(?:/.*)?", api.UnknownHandler),
        (_STREAM_ID, pages.TunnelHandler),
        (r"/.*", pages.PageHandler),
    ]

    def count(handler: RequestHandler) -> None:
        counter = gateway.metrics.requests.get(f"{handler.get_status() // 100}xx")
        if counter is not None:
            counter.inc()

    return Application(
        [(pattern, handler, shared) for pattern, handler in routes],
        default_handler_class=api.UnknownHandler,
        default_handler_args=shared,
        log_function=count,
    )
