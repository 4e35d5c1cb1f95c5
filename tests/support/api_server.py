"""A Kubernetes API server of the tests' own for `Camera` objects and Secrets, which can misbehave."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

# Answers a request itself: writes to the handler and returns True, or returns False for the usual answer.
Fault = Callable[["ApiHandler"], bool]
VERSION = "elastic-inference.io/v1"


def camera(name: str, version: int = 1, **fields: Any) -> dict[str, Any]:
    """An object as the API server sends it."""
    metadata = {"name": name, "resourceVersion": str(version), "generation": 1}
    spec = {"url": f"rtsp://10.0.0.7/{name}", "types": ["people"], **fields}
    return {"apiVersion": VERSION, "kind": "Camera", "metadata": metadata, "spec": spec}


class ApiHandler(BaseHTTPRequestHandler):
    """One request. HTTP/1.0: each connection has one, and the body ends with it."""

    server: ApiServer

    @property
    def parts(self) -> list[str]:
        """The path after the namespace, such as `cameras`, `gate-1`, `status`."""
        return urlsplit(self.path).path.partition("/namespaces/")[2].split("/")[1:]

    @property
    def query(self) -> Mapping[str, list[str]]:
        """What is after the question mark."""
        return parse_qs(urlsplit(self.path).query)

    @property
    def watches(self) -> bool:
        """Whether it is a watch."""
        return self.query.get("watch") == ["true"]

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def answer(self, document: object, status: int = 200) -> None:
        """Sends JSON."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, message: str = "refused") -> None:
        """Sends an error as the API server does."""
        self.answer({"kind": "Status", "apiVersion": "v1", "code": status, "message": message}, status)

    def begin(self) -> None:
        """Begins an answer without a length."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()

    def send_event(self, kind: str, resource: object) -> None:
        """Sends one event of a watch."""
        self.wfile.write(json.dumps({"type": kind, "object": resource}).encode() + b"\n")

    def do_GET(self) -> None:
        """Lists, watches or reads."""
        with contextlib.suppress(OSError):
            self._count()
            if not any(fault(self) for fault in self.server.faults):
                self._get()

    def do_PATCH(self) -> None:
        """Changes a status or a Secret."""
        with contextlib.suppress(OSError):
            self._count()
            change = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            if any(fault(self) for fault in self.server.faults):
                return
            if self.parts[0] == "cameras":
                self.server.statuses[self.parts[1]] = change["status"]
                self.answer(camera(self.parts[1]))
            else:
                self.answer({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": self.parts[1]}, "data": {}})

    def _count(self) -> None:
        what = "watch" if self.watches else "/".join((self.command, *self.parts[:1]))
        self.server.asked.append(what)

    def _get(self) -> None:
        server, parts = self.server, self.parts
        if parts[0] == "secrets":
            data = server.secrets.get(parts[1])
            if data is None:
                self.refuse(404)
            else:
                self.answer({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": parts[1]}, "data": data})
        elif self.watches:
            self.begin()
            server.follow(self)
        else:
            begin = int(self.query.get("continue", ["0"])[0])
            end = begin + int(self.query.get("limit", ["500"])[0])
            more = {"continue": str(end)} if end < len(server.objects) else {}
            listed = {"kind": "CameraList", "apiVersion": VERSION, "metadata": {"resourceVersion": "1", **more}}
            self.answer({**listed, "items": server.objects[begin:end]})


class ApiServer(ThreadingHTTPServer):
    """Serves on loopback. `asked` names each request, `statuses` holds what was written."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ApiHandler)
        self.objects: list[object] = []
        self.secrets: dict[str, dict[str, str]] = {}
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.statuses: dict[str, Any] = {}
        self._events: list[tuple[str, object]] = []
        self._changed = threading.Condition()
        self._ended = False

    def __enter__(self) -> ApiServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: clients leave."""

    def send(self, kind: str, resource: object) -> None:
        """Sends an event to the watches that are open, and to those that follow."""
        with self._changed:
            self._events.append((kind, resource))
            self._changed.notify_all()

    def follow(self, handler: ApiHandler) -> None:
        """Sends a watch all events, until the end."""
        sent = 0
        while True:
            with self._changed:
                while not self._ended and len(self._events) == sent:
                    self._changed.wait()
                if self._ended:
                    return
                events, sent = self._events[sent:], len(self._events)
            for kind, resource in events:
                handler.send_event(kind, resource)

    def count(self, what: str) -> int:
        """How often that was asked for: `GET/cameras`, `watch`, `PATCH/cameras`, `GET/secrets`."""
        return self.asked.count(what)

    def kubeconfig(self, folder: Path) -> Path:
        """A file with which clients find it."""
        user = {"name": "u", "user": {"token": "t"}}
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server_address[1]}"}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "default"}}
        document = {"apiVersion": "v1", "kind": "Config", "current-context": "x"}
        path = folder / "kubeconfig"
        path.write_text(json.dumps({**document, "users": [user], "clusters": [cluster], "contexts": [context]}))
        return path


def drip(handler: ApiHandler, text: bytes = b" ", pause_s: float = 0.05) -> bool:
    """A byte now and then, without end."""
    handler.begin()
    while True:
        handler.wfile.write(text)
        handler.wfile.flush()
        time.sleep(pause_s)
