"""The system under test: Redis with its users, two pods, relay, gateway, housekeeping, two cameras, six more streams.

Used by `runner` and by the faults. It loads the system, pauses it, adds up its frames and measures what it uses.
"""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

import redis

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.bench.record import descriptors, rss_mb
from tests.faults.load import FPS, TYPE, Pusher, ResultReader, Watcher
from tests.faults.record import Account, Unseen, open_drops
from tests.support.half_open_proxy import HalfOpenProxy
from tests.support.jpeg import noisy_jpeg
from tests.support.mjpeg_server import MjpegServer
from tests.support.system import ServiceProcess, System, cpu_s
from tests.support.waiting import wait_for

T = TypeVar("T")
MODEL = "blazeface_FP16"
TOKEN, VIEWER_TOKEN = "a-token-for-the-faults", "a-viewer-of-all-cameras"
PASSWORDS = {user: f"{user}-password" for user in USERS}
SIZE = (192, 144)
PUSHERS = tuple(f"cam-{number}" for number in range(6))
CAMERAS = ("video-1", "video-2")
STREAMS = (*PUSHERS, *CAMERAS)
LOGINS = {
    "infer": "worker",
    "camera": "camera",
    "websocket": "viewer",
    "gateway": "viewer",
    "housekeeping": "housekeeping",
}
# Housekeeping counts the drops of a type without pods.
COUNTED = ("infer", "camera", "housekeeping")
# How long a busy machine may take to start it all.
START_S = 120.0
# A pause must not count as a stall of the source.
STALL_S = 60
# If this many accounts, a tenth of a second apart, are equal, no frame is on its way.
STILL_POLLS = 40
_POLL_S = 0.1
# Of a core: both pods take less than this without frames, and more while they decode one.
_IDLE_CPU = 0.1

VIEWERS = (("cam-0", "json"), ("cam-1", "frame"), ("cam-2", "drawn"), ("video-1", "json"))
OUTCOMES = {"inferred": "ei_frames_inferred_total", "popped": "ei_frames_popped_total", "lost": "ei_frames_lost_total"}


class Site(System):
    """All services of one installation. `proxied`: all connections pass through `proxies`."""

    def __init__(
        self,
        model: Path,
        *,
        proxied: bool = False,
        folder: Path | None = None,
        valkey_environ: Mapping[str, str] | None = None,
    ) -> None:
        """Logs and Redis use `folder`, or a temporary one."""
        options = ("--aclfile", "users.acl")
        super().__init__(valkey=EmbeddedValkey(options=options, environ=valkey_environ, folder=folder))
        self.folder = folder or self.folder
        (self.valkey.folder / "users.acl").write_text(render_acl(PASSWORDS))
        self.proxies: dict[str, HalfOpenProxy] = {}
        # A file that says by how much Redis' clock is off, where a site has one.
        self.clock: Path | None = None
        self.admin: redis.Redis = self.client("admin")
        # The example that waits for results, and since when.
        self.examples: list[tuple[subprocess.Popen[bytes], float]] = []
        self._model, self._proxied = model, proxied
        self._stack = contextlib.ExitStack()
        self._gate = threading.Event()
        self._ended: Counter[str] = Counter()
        self._ended_pods: dict[str, int] = {}
        # By pod: how many more results are known than the pod counted. A result counts as lost if its reply was lost.
        self._uncounted: Counter[str] = Counter()
        self._last: dict[str, Counter[str]] = {}
        # Frames that a pod dropped itself, by pod.
        self._aside: dict[str, int] = {}

    def __enter__(self) -> Site:
        super().__enter__()
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *details: object) -> None:
        self._gate.set()
        self._stack.close()
        self.admin.close()
        super().__exit__(*details)

    def target(self, user: str) -> config.RedisTarget:
        """The login of a user, without a proxy."""
        return config.RedisTarget(url=Secret(self.valkey.url), username=user, password=Secret(PASSWORDS[user]))

    def client(self, user: str) -> redis.Redis:
        """A connection with the rights of a user."""
        return self.client_of(self.target(user))

    def client_of(self, target: config.RedisTarget) -> redis.Redis:
        """A connection with a login of its own."""
        return connect(target, name=f"test-{target.username}")

    def beside(self, context: AbstractContextManager[T]) -> T:
        """Enters the context and leaves it at the end of this site."""
        return self._stack.enter_context(context)

    def named(self, name: str) -> ServiceProcess:
        """A service by its name, such as `pod-1`."""
        return next(service for service in self.services if service.name == name)

    def pid(self, name: str) -> int:
        """The process id of a service, or of `Valkey`."""
        if name == "Valkey":
            assert self.valkey.pid is not None
            return self.valkey.pid
        process = self.named(name).process
        assert process is not None
        return process.pid

    def _start(self) -> None:
        enter = self._stack.enter_context
        image = noisy_jpeg(1, *SIZE)
        model = {"INFER_MODEL_NAME": MODEL, "INFER_MODEL_PATH": str(self._model)}
        environ = {"INFER_TYPE": TYPE, **model, "RESULTS_MAXLEN": "2000"}
        for name in ("pod-1", "pod-2"):
            self.add("infer", name, environ)
        self.websocket_server()
        tokens = self.folder / "tokens.json"
        viewer = {"name": "wall", "role": "viewer", "token": VIEWER_TOKEN, "cameras": ["*"]}
        tokens.write_text(json.dumps({"tokens": [viewer]}))
        self.gateway({"GATEWAY_TOKEN": TOKEN, "GATEWAY_TOKENS_FILE": str(tokens)})
        self._add_housekeeping()
        self.sources = {name: enter(MjpegServer(fps=FPS, image=image)) for name in CAMERAS}
        self._add_cameras()
        for service in self.services:
            service.wait_ready(START_S)
        self.reader = enter(ResultReader(self.target("reader")))
        target = self.target("camera")
        self.pushers = {name: enter(Pusher(target, name, noisy_jpeg(2, *SIZE), SIZE, self._gate)) for name in PUSHERS}
        self.reader.pushers = self.pushers
        self.resume()
        for name in STREAMS:
            wait_for(lambda name=name: self.reader.seen[name], START_S, f"the first result of {name}")
        url = f"ws://127.0.0.1:{self.proxy('viewers', self.gateway_port)}"
        self.viewers = [enter(Watcher(url, stream, form, TOKEN)) for stream, form in VIEWERS]
        for viewer in self.viewers:
            wait_for(lambda viewer=viewer: viewer.received, START_S, "the first message of a viewer")

    def _add_housekeeping(self) -> None:
        self.add("housekeeping", "housekeeping")

    def _add_cameras(self) -> None:
        """Starts what reads `sources`."""
        for name, server in self.sources.items():
            source = {"CAMERA": server.url, "SOURCE_STALL_S": str(STALL_S)}
            self.add("camera", name, {**source, "INFER_TYPE": TYPE, "STREAM_NAME": name})

    def proxy(self, name: str, port: int) -> int:
        """The port to use for `port`: that of a proxy where this site has them."""
        if not self._proxied:
            return port
        if name not in self.proxies:
            self.proxies[name] = self._stack.enter_context(HalfOpenProxy(port))
        return self.proxies[name].port

    def add(self, kind: str, name: str, environ: Mapping[str, str] | None = None) -> ServiceProcess:
        """Starts a service under a name."""
        return self.service(kind, environ, name)

    def service(self, kind: str, environ: Mapping[str, str] | None = None, name: str | None = None) -> ServiceProcess:
        shown = {"websocket": "websocket-server", "gateway": "gateway"}.get(kind, name or kind)
        port = self.proxy(shown, self.valkey.port)
        login = {"QUEUE_USERNAME": LOGINS[kind], "QUEUE_PASSWORD": PASSWORDS[LOGINS[kind]]}
        given = {"QUEUE_URL": f"redis://127.0.0.1:{port}/0", **login, **(environ or {})}
        if kind == "gateway":
            given["WEBSOCKET_SERVER_URL"] = f"ws://127.0.0.1:{self.proxy('tunnel', self.websocket_port)}"
        return super().service(kind, given, shown)

    # Load

    def resume(self) -> None:
        """All streams push."""
        for server in self.sources.values():
            server.mode = "normal"
        self._gate.set()

    def pause(self) -> None:
        """No stream pushes."""
        self._gate.clear()
        for server in self.sources.values():
            server.mode = "stall"

    def open_drops(self) -> int:
        """The drops that no pod has claimed yet."""
        return open_drops(self.admin.hgetall(keys.dropped(TYPE)))

    def restart(self, name: str, environ: Mapping[str, str] | None = None) -> Unseen:
        """Kills a service and starts it again at once, as a cluster would."""
        began, drops = time.monotonic(), self.open_drops()
        self.note_counters(name)
        service = self.named(name)
        service.kill()
        pushed_fps = sum(each.fps for each in self.pushers.values()) + FPS * len(CAMERAS)
        passed_s = time.monotonic() - began
        self.closed(name)
        service.start(environ)
        return Unseen(drops + math.ceil(pushed_fps * passed_s), math.ceil(FPS * passed_s))

    def mend(self) -> list[str]:
        """Restarts services that have ended by themselves; returns their names."""
        found = []
        for service in self.services:
            if service.process is not None and service.process.poll() is not None:
                last = (service.log().strip().splitlines() or [""])[-1][:200]
                found.append(f"{service.name} ended by itself with {service.process.returncode}: {last}")
                self.closed(service.name)
                service.start()
        return found

    # Account

    def note_counters(self, name: str) -> Counter[str]:
        """Keeps the present counters of a service, in case it ends."""
        service = self.named(name)
        found: Counter[str] = Counter()
        try:
            metrics = service.metrics()
        except (OSError, ValueError, HTTPException):
            return self._last.get(name, found)
        for key, value in metrics.items():
            metric, _, _ = key.partition("{")
            for short, full in OUTCOMES.items():
                found[short] += int(value) if metric == full else 0
            if metric == "ei_frames_pushed_total":
                found["pushed"] += int(value)
            elif metric == "ei_frames_invalid_total":
                found["invalid"] += int(value)
            elif metric == "ei_frames_dropped_total":
                if service.kind == "camera":
                    found["refused"] += int(value)
                elif service.kind == "infer" or f'infer_type="{TYPE}"' in key:  # housekeeping counts by type
                    found["dropped"] += int(value)
        self._last[name] = found
        return found

    def closed(self, name: str) -> None:
        """Keeps the counters of a service that has ended; a pod's results are known from its readers."""
        service, last = self.named(name), self._last.pop(name, Counter())
        if service.kind == "infer" and service.process is not None:
            self._ended_pods[service.pod] = last.pop("inferred", 0)
        if service.kind == "camera":
            last.pop("invalid", 0)
        self._ended += last

    def account(self) -> Account:
        """All frames so far. Exact while nothing is on its way."""
        total = Counter(self._ended)
        for service in self.services:
            if service.kind in COUNTED:
                total += self.note_counters(service.name)
            if service.kind == "infer":
                counted = self._last.get(service.name, Counter())["inferred"]
                self._uncounted[service.pod] = self.reader.by_pod[service.pod] - counted
        for pod, count in self._ended_pods.items():
            total["inferred"] += max(count, self.reader.by_pod[pod] - self._uncounted[pod])
        total["dropped"] += self.open_drops()
        return Account(
            pushed=total["pushed"] + sum(each.pushed for each in self.pushers.values()),
            refused=total["refused"] + sum(each.refused for each in self.pushers.values()),
            inferred=total["inferred"],
            dropped=total["dropped"],
            invalid=total["invalid"],
            lost=total["lost"],
            waiting=self.waiting(),
        )

    def waiting(self) -> int:
        """Frames in the queue."""
        own = [keys.waiting(TYPE, name) for name in STREAMS]
        lengths = [int(self.admin.llen(key)) for key in (*own, keys.legacy_queue(TYPE))]  # type: ignore[arg-type]
        return sum(lengths)

    def settle(self, timeout_s: float = 90.0) -> Account:
        """Pauses, waits until no frame is on its way, and returns the account."""
        self.pause()
        known: list[tuple[Account, int]] = []
        # CPU seconds of the pods at each poll: one that decodes a costly image says nothing for long.
        worked: list[float] = []

        def still() -> bool:
            if not all(each.idle for each in self.pushers.values()):
                return False
            try:
                known.append((self.account(), self.reader.count))
                worked.append(sum(cpu_s(self.pid(each.name)) for each in self.services if each.kind == "infer"))
            except redis.RedisError:
                return False
            if len(known) < 3 or not known[-1] == known[-2] == known[-3]:
                return False
            held = self._held()
            if held == {pod: self._aside.get(pod, 0) for pod in held}:
                return True
            # A pod counts a frame that it drops as stale among the drops of the queue, which it claims.
            if any(each != known[-1] for each in known[-STILL_POLLS:]) or len(known) < STILL_POLLS:
                return False
            if worked[-1] - worked[-STILL_POLLS] > _IDLE_CPU * STILL_POLLS * _POLL_S:
                return False
            self._aside = held
            return True

        with contextlib.suppress(AssertionError):
            wait_for(still, timeout_s, every_s=_POLL_S)
        return known[-1][0] if known else self.account()

    def _held(self) -> dict[str, int]:
        """By pod: the frames that it has popped, and that are neither inferred, invalid nor lost."""
        found = {}
        for service in self.services:
            if service.kind == "infer":
                last = self._last[service.name]
                found[service.pod] = last["popped"] - last["inferred"] - last["invalid"] - last["lost"]
        return found

    # What it uses

    def levels(self) -> dict[str, tuple[float, int]]:
        """(resident MB, descriptors) of each process, by name; for Valkey, which keeps freed memory, the used MB."""
        found = {}
        for service in self.services:
            with contextlib.suppress(OSError, AssertionError, IndexError):
                found[service.name] = (rss_mb(self.pid(service.name)), descriptors(self.pid(service.name)))
        with contextlib.suppress(OSError, AssertionError, redis.RedisError):
            used: Any = self.admin.info("memory")
            found["Valkey"] = (used["used_memory"] / 1e6, descriptors(self.pid("Valkey")))
        return found

    def get(self, path: str, timeout_s: float = 5.0, token: str = TOKEN) -> Any:
        """The gateway's answer as JSON."""
        request = urllib.request.Request(self.gateway_url + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.load(answer)

    def status(self, path: str, headers: Mapping[str, str], timeout_s: float = 10.0) -> int:
        """The status of the gateway's answer; 0 if there is none."""
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.gateway_url + path, headers=dict(headers)), timeout=timeout_s
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def kill_connections(self, chosen: Callable[[dict[str, str]], bool]) -> int:
        """Closes Redis' connections to the chosen clients; returns how many."""
        clients: Any = self.admin.client_list()
        found = [each["id"] for each in clients if not each["name"].startswith("test-") and chosen(each)]
        for identity in found:
            self.admin.client_kill_filter(_id=identity)
        return len(found)
