"""Faults caused by clients that only connect: idle and silent clients, floods of pings and tokens, odd requests."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

from elastic_inference.domain import keys
from tests.faults.load import TYPE, Pusher
from tests.faults.runner import Faults, Seen
from tests.faults.site import TOKEN, Site
from tests.support.background import beside
from tests.support.jpeg import noisy_jpeg
from tests.support.raw_viewer import PING, RawViewer
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for

CONNECTIONS, WAY_IN, ERRORS = "connections", "the way in", "error replies"
# On Linux all of 127.0.0.0/8 is this machine, so a stranger can have another address.
STRANGER = "127.0.0.2"
IDLE = 300
BEARER = {"Authorization": f"Bearer {TOKEN}"}
# A write without progress ends the connection after 30 s, a silent viewer after 40 s.
ENDED_WITHIN_S = 75.0
FAULTS = Faults()


def connect(port: int, stack: contextlib.ExitStack, source: str = STRANGER) -> socket.socket:
    """A connection from the stranger's address."""
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), 5, (source, 0)))


@FAULTS.add(ERRORS, "odd requests", short=True)
def odd_requests(site: Site, seen: Seen) -> None:
    """Requests with bytes over 127, broken escapes and a huge header."""
    seen.others_go_on()
    stream = keys.stream_id("cam-0", TYPE).encode()
    answers = []
    for target in (
        b"/api/streams/" + stream + b"/snapshot.jpg?\xff",
        b"/api/streams/%FF%FE/snapshot.jpg?%zz",
        b"/" + stream + b"?format=\xff",
        b"/api/streams?" + b"x" * 20_000,
    ):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", site.gateway_port), 5) as client:
            client.settimeout(5)
            client.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ")
            client.sendall(TOKEN.encode() + b"\r\nConnection: close\r\n\r\n")
            answers.append(client.recv(1024).split(b" ", 2)[1:2])
    shown = [each[0].decode() if each else "none" for each in answers]
    seen.check("no 5xx", not any(each.startswith("5") for each in shown), ", ".join(shown))
    # An odd query once made every dashboard believe for 30 s that the websocket server was gone.
    gateway = site.named("gateway")
    seen.within("the gateway calls nothing unavailable", lambda: not gateway.ready().get("degraded"), 5)


@FAULTS.add(ERRORS, "a lock from the future")
def lock_from_the_future(site: Site, seen: Seen) -> None:
    """The janitor's lock as a clock an hour ahead would have left it."""
    seen.others_go_on()
    site.admin.set(keys.janitor_lock(TYPE), "9000000000000000 other", px=3_600_000)
    seen.end()
    seen.within("the janitor runs", lambda: int(site.admin.pttl(keys.janitor_lock(TYPE))) <= 1000, 10)


@FAULTS.add(ERRORS, "a subscriber that reads nothing")
def frozen_subscriber(site: Site, seen: Seen) -> None:
    """A subscriber that stops reading, while up to 300 MB are published to it."""
    seen.others_go_on()
    channel = keys.stream_id("nobody", TYPE)
    # Frames of an earlier fault may still be waiting.
    before = _used_memory(site)
    with socket.socket() as frozen:
        frozen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        frozen.connect(("127.0.0.1", site.valkey.port))
        frozen.sendall(f"AUTH viewer viewer-password\r\nSUBSCRIBE {channel}\r\n".encode())
        wait_for(lambda: site.admin.publish(channel, b"first"), 5, "the subscription")
        highest, number = before, 0
        while number < 1500 and int(site.admin.publish(channel, bytes(200_000))):
            number += 1
            if number % 25 == 0:
                highest = max(highest, _used_memory(site))
    seen.check("it is disconnected", number < 1500, f"after {number * 0.2:.0f} MB")
    grown = (highest - before) / 1e6
    seen.check("Redis grows by less than 120 MB", grown < 120, f"by {grown:.0f} MB, from {before / 1e6:.0f} MB")


def _used_memory(site: Site) -> int:
    return int(site.admin.info("memory")["used_memory"])  # type: ignore[index]


@FAULTS.add(CONNECTIONS, "600 idle connections")
def idle_connections(site: Site, seen: Seen) -> None:
    """300 connections to the gateway and 300 to the websocket server, all of which send nothing."""
    seen.others_go_on()
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            for port in (site.gateway_port, site.websocket_port):
                with contextlib.suppress(OSError):
                    connect(port, stack)
        time.sleep(2)
        answers = Counter(site.status("/api/streams", BEARER) for _ in range(5))
        seen.check("the API answers others", answers[200] == 5, str(dict(answers)))
        with RawViewer(site.gateway_port, f"/{keys.stream_id('cam-3', TYPE)}?format=json", headers=BEARER) as viewer:
            viewer.read()


@FAULTS.add(CONNECTIONS, "pings without end")
def pings(site: Site, seen: Seen) -> None:
    """A viewer that sends up to 100,000 pings."""
    seen.others_go_on()
    with RawViewer(site.gateway_port, f"/{keys.stream_id('cam-3', TYPE)}?format=json", headers=BEARER) as viewer:
        with contextlib.suppress(OSError):
            for _ in range(100_000):
                viewer.send(PING, b"x")
        try:
            code = str(viewer.read_close_code())
        except (ConnectionError, EOFError):
            code = "none"
        except TimeoutError:
            code = ""
    seen.check("the viewer is cut off", code != "", f"close code {code or 'none, it stays'}")


@FAULTS.add(CONNECTIONS, "clients that read nothing")
def suspended_clients(site: Site, seen: Seen) -> None:
    """Viewers and a downloader stop reading; their connections must end and their descriptors be free again."""
    seen.others_go_on()
    gate = threading.Event()
    gate.set()
    image, size = noisy_jpeg(5, 1280, 960, 98), (1280, 960)
    big = Pusher(site.target("camera"), "big", image, size, gate)
    before = {name: site.levels()[name][1] for name in ("gateway", "websocket-server")}
    target = f"/{keys.stream_id('big', TYPE)}?format=frame"
    limits = seen.peak_below(gateway=256, websocket_server=512)
    with limits, big, contextlib.ExitStack() as stack:
        time.sleep(1)
        for port, headers in ((site.gateway_port, BEARER), (site.websocket_port, {})):
            viewer = RawViewer(port, target, headers=headers, receive_buffer_bytes=16_384)
            stack.enter_context(viewer)
            viewer.read()
        reader = socket.socket()
        stack.enter_context(reader)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        reader.connect(("127.0.0.1", site.gateway_port))
        request = f"GET /api/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        reader.settimeout(1)
        with contextlib.suppress(OSError):
            for _ in range(600):
                reader.sendall(request.encode())

        def given_back() -> bool:
            levels = site.levels()
            return all(levels[name][1] <= count for name, count in before.items())

        seen.within("all are ended and their descriptors given back", given_back, ENDED_WITHIN_S)
        gate.clear()
        time.sleep(1)
    seen.pushed += big.pushed


@FAULTS.add(CONNECTIONS, "all places at Redis taken")
def redis_connections(site: Site, seen: Seen) -> None:
    """Connections that never log in use up Redis' `maxclients` while a camera must connect again."""
    seen.others_go_on("video-1")
    # They come again: housekeeping may close them before it has counted them.
    with _few_places(site, 20), beside(partial(_hold_places, site.valkey.port)):
        time.sleep(0.5)
        site.kill_connections(lambda each: each["name"] == "video-1")
        time.sleep(5)
        seen.within("housekeeping shows it, for the alert", lambda: _share_of_places(site) > 0.8, 15)
    seen.end()
    silent = int(site.admin.config_get("timeout")["timeout"])  # type: ignore[index]
    seen.check("Redis ends silent connections (timeout)", silent > 0, f"{silent} s")


@FAULTS.add(CONNECTIONS, "a stranger at Redis that comes back")
def strangers_at_redis(site: Site, seen: Seen) -> None:
    """A stranger holds 200 connections to Redis and opens them again when they are closed; a camera must connect."""
    seen.others_go_on("cam-5")
    closed = site.named("housekeeping").metric("ei_redis_strangers_closed_total")
    with _few_places(site, 150) as own, beside(partial(_hold_places, site.valkey.port)):
        wait_for(lambda: _clients(site) > own + 100, 10, "a Redis that a stranger fills")
        # From now on there is no free place, not even the camera's own, until connections of the stranger are closed.
        site.admin.config_set("maxclients", _clients(site) - 10)
        site.kill_connections(lambda each: each["name"] == "cam-5")
        began = time.monotonic()
        seen.within("the camera is back while they are held", lambda: site.reader.back_at("cam-5", began), 40)
    seen.end()
    closed = site.named("housekeeping").metric("ei_redis_strangers_closed_total") - closed
    seen.check("housekeeping counts what it closes", closed >= 100, f"{closed:.0f}")


@contextlib.contextmanager
def _few_places(site: Site, free: int) -> Iterator[int]:
    """Leaves Redis this many free places; yields the number of those that are taken."""
    most = int(site.admin.config_get("maxclients")["maxclients"])  # type: ignore[index]
    own = _clients(site)
    site.admin.config_set("maxclients", own + free)
    try:
        yield own
    finally:
        site.admin.config_set("maxclients", most)


def _hold_places(port: int, stop: threading.Event) -> None:
    """Every three seconds it looks which of 200 connections were closed, and opens them again.

    A camera that tries between two looks finds a place. Who comes back faster than it tries may keep it out.
    """
    held: list[socket.socket] = []
    while not stop.is_set():
        held = [each for each in held if _is_open(each)]
        for _ in range(200 - len(held)):
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", port), 5, (STRANGER, 0)))
        stop.wait(3)
    for each in held:
        each.close()


def _is_open(each: socket.socket) -> bool:
    each.setblocking(False)
    try:
        each.recv(100)
    except BlockingIOError:
        return True
    except OSError:
        pass
    each.close()
    return False


def _clients(site: Site) -> int:
    return int(site.admin.info("clients")["connected_clients"])  # type: ignore[index]


def _share_of_places(site: Site) -> float:
    metrics = site.named("housekeeping").metrics()
    return metrics["ei_redis_connected_clients"] / metrics["ei_redis_maxclients"]


@FAULTS.add(WAY_IN, "300 guesses of the token", short=True)
def guesses(site: Site, seen: Seen) -> None:
    """300 wrong tokens as fast as possible, while a client with the right one sends requests."""
    seen.others_go_on()
    wrong: Counter[int] = Counter()
    stop = threading.Event()

    def guess() -> None:
        for number in range(300):
            if stop.is_set():
                return
            wrong[site.status("/api/streams", {"Authorization": f"Bearer guess-{number}"})] += 1

    thread = threading.Thread(target=guess)
    thread.start()
    time.sleep(0.5)
    right = Counter(site.status("/api/streams", BEARER) for _ in range(20))
    time.sleep(1)
    stop.set()
    thread.join()
    seen.check("the right token is accepted", right[200] == 20, str(dict(right)))
    seen.check("no wrong one is", wrong[200] == 0, str(dict(wrong)))


@FAULTS.add(WAY_IN, "a foreign name, without a token")
def foreign_host(site: Site, seen: Seen) -> None:
    """A web page reaches a gateway that has no token under the page's own host name (DNS rebinding)."""
    seen.others_go_on()
    old = site.gateway_port
    site.gateway_port = 0
    service: ServiceProcess = site.gateway()
    try:
        service.name = "gateway without token"
        service.wait_ready()
        own = site.status("/api/streams", {})
        foreign = site.status("/api/streams", {"Host": "rebound.example:31002"})
        seen.check("its own name is answered", own == 200, str(own))
        seen.check("a foreign name is refused", 400 <= foreign < 500, str(foreign))
        service.terminate()
    finally:
        service.kill()
        site.services.remove(service)
        site.gateway_port = old
