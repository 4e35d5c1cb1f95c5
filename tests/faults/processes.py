"""Faults of Redis and of the services as processes: killed, frozen, paused, emptied, full, without descriptors."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator

from tests.bench.record import cpu_s
from tests.faults.load import FPS
from tests.faults.record import Unseen
from tests.faults.runner import Fault, Seen
from tests.faults.site import CAMERAS, STREAMS, Site

# Frames that a pod can hold: those in its workers, popped ahead, or with a result that is not yet published.
IN_HAND = 40
# STREAM_QUEUE_DEPTH frames of each stream, and those on their way to the pods.
IN_REDIS = 4 * len(STREAMS) + 16
FROZEN_S = 5.0
SHORT_TIMEOUT_S = 6
NO_FILES_S = 4.0
OVERLOAD_FPS = 100.0
OVERLOAD_S = 3.0
# As many drops as may occur in a tenth of a second.
CLAIMS = 60
REDIS, SERVICE = "Redis", "a service"


def sleep(seconds: float) -> None:
    """Waits for the length of a fault, not for a condition."""
    time.sleep(seconds)


def redis_killed(site: Site, seen: Seen) -> None:
    """SIGKILL, and a new, empty server at once."""
    _may_lose_all(site, seen)
    site.valkey.kill()
    site.valkey.start()


def _may_lose_all(site: Site, seen: Seen) -> None:
    drops = site.open_drops()
    seen.may_lose(IN_REDIS + drops, "frames were in Redis, or drops that no pod had claimed")


def redis_paused(seconds: float) -> Callable[[Site, Seen], None]:
    """SIGSTOP for this long: connections stay open and nothing responds."""

    def inject(site: Site, seen: Seen) -> None:
        before = site.levels()["Valkey"][1]
        # A pod that gets no answer asks again after 5 s. Redis answers all of its pops when it runs on.
        may_lose_replies(site, seen, 16 if seconds <= FROZEN_S else IN_REDIS)
        with _frozen(site.pid("Valkey"), seconds):
            pass
        seen.end()
        if seconds > FROZEN_S:
            # Services keep the connections that they opened meanwhile. Redis ends them after 300 s of silence.
            usual = site.admin.config_get("timeout")["timeout"]
            site.admin.config_set("timeout", SHORT_TIMEOUT_S)
            what = f"idle connections go with a timeout of {SHORT_TIMEOUT_S} s"
            seen.within(what, lambda: site.levels()["Valkey"][1] <= before + 2, 30)
            seen.clean_up.append(lambda: site.admin.config_set("timeout", usual))

    return inject


def redis_emptied(site: Site, seen: Seen) -> None:
    """FLUSHALL."""
    _may_lose_all(site, seen)
    site.admin.flushall()


def scripts_lost(site: Site, seen: Seen) -> None:
    """SCRIPT FLUSH."""
    site.admin.script_flush()


def connections_cut(site: Site, seen: Seen) -> None:
    """All connections at Redis closed by the server."""
    may_lose_replies(site, seen)
    seen.notes.append(f"{site.kill_connections(lambda _: True)} connections closed")


def redis_full(site: Site, seen: Seen) -> None:
    """maxmemory below what is used: every write is refused."""
    used = int(site.admin.info("memory")["used_memory"])
    site.admin.config_set("maxmemory", max(1, used - 500_000))
    try:
        sleep(FROZEN_S)
        metrics = site.named("housekeeping").metrics()
        seen.check("ei_redis_up stays 1", metrics.get('ei_redis_up{part="queue"}') == 1)
        known = metrics["ei_redis_used_memory_bytes"] == metrics["ei_redis_used_memory_bytes"]
        seen.check("the memory gauges are known", known)
        degraded = site.named("gateway").ready().get("degraded", {})
        seen.check("the gateway does not call Redis unavailable", "unavailable" not in str(degraded), str(degraded))
    finally:
        site.admin.config_set("maxmemory", 0)


def redis_evicting(site: Site, seen: Seen) -> None:
    """An eviction policy, and a memory limit low enough for it to remove keys."""
    info = site.admin.info()
    used, evicted = int(info["used_memory"]), int(info["evicted_keys"])
    site.admin.config_set("maxmemory-policy", "allkeys-lru")
    site.admin.config_set("maxmemory", max(1, used - 300_000))
    try:
        sleep(FROZEN_S)
    finally:
        site.admin.config_set("maxmemory", 0)
        site.admin.config_set("maxmemory-policy", "noeviction")
    removed = int(site.admin.info("stats")["evicted_keys"]) - evicted
    seen.notes.append(f"{removed} keys evicted")
    # One removed key may be the list of all waiting frames of a stream.
    seen.may_lose(4 * removed, "frames were evicted (documented: nobody counts them)")


def may_differ(seen: Seen, name: str, unseen: Unseen) -> None:
    """Allows what the counters of a service that was killed cannot know."""
    if name in CAMERAS:
        seen.may_forge(4 + unseen.frames, f"frames that {name} had pushed but not counted yet")
    if name.startswith("pod"):
        seen.may_lose(IN_HAND + unseen.drops, f"frames were held by {name}, or drops that it had claimed last")


def may_lose_replies(site: Site, seen: Seen, frames: int = 16) -> None:
    """Allows the frames of replies that nobody receives, and the drops that these claim."""
    seen.may_lose(frames + site.open_drops(), "frames, or claimed drops, were in replies that nobody received")


def killed(*names: str) -> Callable[[Site, Seen], None]:
    """SIGKILL, and a new process at once."""

    def inject(site: Site, seen: Seen) -> None:
        for name in names:
            may_differ(seen, name, site.restart(name))
        _concern(seen, names)

    return inject


def overloaded(inject: Callable[[Site, Seen], None]) -> Callable[[Site, Seen], None]:
    """A fault while the cameras push many times what the pods can infer."""

    def inject_under_load(site: Site, seen: Seen) -> None:
        for pusher in site.pushers.values():
            pusher.fps = OVERLOAD_FPS
        try:
            sleep(OVERLOAD_S)
            inject(site, seen)
            seen.may_lose(CLAIMS, "drops were claimed, or counted in Redis, and not reported yet")
            sleep(1.0)
        finally:
            for pusher in site.pushers.values():
                pusher.fps = FPS
        seen.concerned = set(STREAMS)

    return inject_under_load


def drained(site: Site, seen: Seen) -> None:
    """SIGTERM: it publishes what it holds."""
    seen.others_go_on()
    site.note_counters("pod-1")
    seen.check("it ends with code 0", site.named("pod-1").terminate() == 0)
    site.closed("pod-1")
    site.named("pod-1").start()
    seen.may_lose(8, "drops that the pod had claimed, and nobody has read since")


def frozen(name: str) -> Callable[[Site, Seen], None]:
    """SIGSTOP for some seconds."""

    def inject(site: Site, seen: Seen) -> None:
        with _frozen(site.pid(name), FROZEN_S):
            pass
        _concern(seen, (name,))

    return inject


def no_descriptors(name: str, connect: bool = False) -> Callable[[Site, Seen], None]:
    """No more file descriptors for some seconds, while clients connect or Redis closes its connections."""

    def inject(site: Site, seen: Seen) -> None:
        pid = site.pid(name)
        old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used_s, began = cpu_s(pid), time.monotonic()
        log = site.named(name).log_path if name != "Valkey" else site.valkey.folder / "valkey.log"
        size = log.stat().st_size
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, old[1]))
        try:
            ports = {"gateway": site.gateway_port, "websocket-server": site.websocket_port, "Valkey": site.valkey.port}
            with contextlib.ExitStack() as stack:
                if connect:
                    for _ in range(20):
                        stack.enter_context(socket.create_connection(("127.0.0.1", ports[name]), 5))
                else:
                    if name == "pod-1":
                        may_lose_replies(site, seen)
                    _cut(site, name)
                sleep(NO_FILES_S)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, old)
        share = (cpu_s(pid) - used_s) / (time.monotonic() - began)
        grown = log.stat().st_size - size
        if name == "Valkey":
            seen.notes.append(f"Valkey itself took {share:.0%} of a core, and its log grew by {grown / 1000:.0f} kB")
        else:
            seen.check("no core burnt", share < 0.6, f"{share:.0%} of a core")
            seen.check("log below 100 kB", grown < 100_000, f"{grown / 1000:.0f} kB")
        _concern(seen, (name,))

    return inject


def _cut(site: Site, name: str) -> None:
    service = site.named(name)
    wanted = {"pod-1": f"ei-infer-{service.pod}", "housekeeping": "ei-housekeeping"}.get(name, name)
    assert site.kill_connections(lambda each: each["name"] == wanted), f"no connection of {name}"


def _concern(seen: Seen, names: tuple[str, ...]) -> None:
    """A camera concerns its stream; one pod of two, relay, gateway and housekeeping concern none."""
    if not {"pod-1", "pod-2"} <= set(names) and "Valkey" not in names:
        seen.others_go_on(*(name for name in names if name in STREAMS))


@contextlib.contextmanager
def _frozen(pid: int, seconds: float) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        sleep(seconds)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# The services of which one runs, as reports call them, and as the site does.
SINGLE = {
    "websocket server": "websocket-server",
    "gateway": "gateway",
    "housekeeping": "housekeeping",
    "camera": "video-1",
}
FAULTS = (
    Fault(REDIS, "killed", redis_killed, short=True),
    Fault(REDIS, "killed under overload", overloaded(redis_killed)),
    Fault(REDIS, "frozen for 5 s", redis_paused(5.0)),
    Fault(REDIS, "frozen for 20 s", redis_paused(20.0)),
    Fault(REDIS, "full for 5 s", redis_full),
    Fault(REDIS, "evicting for 5 s", redis_evicting),
    Fault(REDIS, "emptied", redis_emptied, short=True),
    Fault(REDIS, "scripts lost", scripts_lost),
    Fault(REDIS, "all connections cut", connections_cut),
    Fault(REDIS, "all connections cut under overload", overloaded(connections_cut)),
    Fault(REDIS, "out of descriptors", no_descriptors("Valkey", connect=True)),
    Fault(SERVICE, "one of two pods killed", killed("pod-1"), short=True),
    Fault(SERVICE, "one of two pods killed under overload", overloaded(killed("pod-1"))),
    Fault(SERVICE, "both pods killed", killed("pod-1", "pod-2")),
    Fault(SERVICE, "a pod drained", drained),
    *(Fault(SERVICE, f"{shown} killed", killed(name)) for shown, name in SINGLE.items()),
    *(
        Fault(SERVICE, f"{shown} frozen for 5 s", frozen(name))
        for shown, name in {"one of two pods": "pod-1", **SINGLE}.items()
    ),
    Fault(SERVICE, "gateway out of descriptors", no_descriptors("gateway", connect=True)),
    Fault(SERVICE, "websocket server out of descriptors", no_descriptors("websocket-server", connect=True)),
    Fault(SERVICE, "pod out of descriptors", no_descriptors("pod-1")),
    Fault(SERVICE, "housekeeping out of descriptors", no_descriptors("housekeeping")),
    Fault(SERVICE, "camera out of descriptors", no_descriptors("video-1")),
)
