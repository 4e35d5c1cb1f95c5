"""The gateway's Tornado application: the REST routes, the tunnel and the page. Called by `server`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Router
from tornado.web import Application, RequestHandler

from elastic_inference.flows.gateway import pages
from elastic_inference.flows.gateway.handlers import Gateway, UnknownHandler

# A stream id; its colons may be percent-encoded.
_STREAM_ID = r"/([^/]+(?::|%3[Aa])[^/]+(?::|%3[Aa])inferred)"


def make_application(gateway: Gateway, base_path: str = "") -> Application:
    """The Tornado application that serves a gateway."""
    # A proxy may strip the base path or not.
    prefix = f"(?:{re.escape(base_path)})?" if base_path else ""
    routes: list[tuple[str, type[RequestHandler] | Router]] = [
        (r"/api(?:/.*)?", _LateRest(gateway, prefix)),
        (_STREAM_ID, pages.TunnelHandler),
        (r"/.*", pages.PageHandler),
    ]
    if prefix:
        routes.insert(0, (re.escape(base_path), pages.PageHandler))
    shared: dict[str, Any] = {"gateway": gateway}
    return _application(
        gateway, [(prefix + path, to, *(() if isinstance(to, Router) else (shared,))) for path, to in routes]
    )


def rest_application(gateway: Gateway, prefix: str = "") -> Application:
    """The routes below `/api`. `prefix` is a regular expression that paths begin with."""
    from elastic_inference.flows.gateway.routes import ROUTES  # noqa: PLC0415  with the models of all documents

    shared = {"gateway": gateway}
    return _application(gateway, [(prefix + route.pattern, route.handler, shared) for route in ROUTES])


class _OneSlash(Application):
    """Takes `//path` for `/path`: proxies double the slash if only their target ends in one."""

    def find_handler(self, request: HTTPServerRequest, **more: Any) -> Any:
        """Called by Tornado for each request."""
        if request.path.startswith("//"):
            request.path = "/" + request.path.lstrip("/")
        return super().find_handler(request, **more)


class _LateRest(Router):
    """Loads the REST routes with the first request, since they are a fifth of the gateway's start."""

    def __init__(self, gateway: Gateway, prefix: str) -> None:
        self._make: Callable[[], Application] = lambda: rest_application(gateway, prefix)
        self._application: Application | None = None

    def find_handler(self, request: HTTPServerRequest, **more: Any) -> HTTPMessageDelegate:
        """Called by Tornado for each request below `/api`."""
        if self._application is None:
            self._application = self._make()
        return self._application.find_handler(request, **more)


def _application(gateway: Gateway, rules: list[Any]) -> Application:
    def count(handler: RequestHandler) -> None:
        counter = gateway.metrics.requests.get(f"{handler.get_status() // 100}xx")
        if counter is not None:
            counter.inc()

    return _OneSlash(
        rules,
        default_handler_class=UnknownHandler,
        default_handler_args={"gateway": gateway},
        log_function=count,
    )
