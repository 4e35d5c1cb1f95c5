"""Faults of libraries' defaults, and small ones: silence, an endless script, odd cameras, old results, viewers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgpack
from redis.exceptions import RedisError, ResponseError

from elastic_inference.domain import keys
from tests.bench.record import cpu_s
from tests.conftest import REPOSITORY
from tests.faults.load import TYPE
from tests.faults.processes import overloaded
from tests.faults.runner import Fault, Seen
from tests.faults.site import PASSWORDS, SIZE, VIEWER_TOKEN, Site
from tests.support.jpeg import noisy_jpeg, tiny_jpeg, with_size
from tests.support.waiting import wait_for

DEFAULTS, SMALL = "libraries' defaults", "small ones"
SILENCE_S = 60.0
QUIET = "quiet"
ENDLESS_S = 2.0
FROZEN_S = 6.0
# MAX_FRAME_AGE_S is 2 s.
OLDEST_S = 4.0


@contextlib.contextmanager
def _example(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    environ = {**os.environ, "BROKER_URL": f"redis://reader:{PASSWORDS['reader']}@127.0.0.1:{site.valkey.port}/0"}
    command = [sys.executable, str(REPOSITORY / "doc" / "examples" / "count_results.py"), QUIET]
    log = site.folder / "count_results.log"
    with log.open("wb") as output, subprocess.Popen(command, env=environ, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.kill()


def begin_silence(site: Site) -> None:
    """Starts the example, which then waits while other faults run."""
    site.admin.unlink(keys.results(QUIET))  # a try before may have left a result
    site.examples.append((site.beside(_example(site)), time.monotonic()))


def minute_of_silence(site: Site, seen: Seen) -> None:
    """`doc/examples/count_results.py` waits for results through a minute without any."""
    seen.others_go_on()
    if not site.examples:
        begin_silence(site)
    process, began = site.examples.pop()
    time.sleep(max(0.0, began + SILENCE_S - time.monotonic()))
    log = site.folder / "count_results.log"
    seen.check(
        "it still runs, and has said nothing", process.poll() is None and not log.read_text(), log.read_text()[:99]
    )
    site.admin.xadd(keys.results(QUIET), {"json": json.dumps({"detections": [{"label": "person"}]})})
    seen.within("it counts the first result after that", lambda: "{'person': 1}" in log.read_text(), 10)
    process.kill()


def endless_script(site: Site, seen: Seen) -> None:
    """KEDA's login runs an endless script, until an admin ends it 2 s later."""
    threshold = site.admin.config_get("busy-reply-threshold")["busy-reply-threshold"]  # type: ignore[index]
    site.admin.config_set("busy-reply-threshold", 500)
    ended: list[Exception] = []

    def run() -> None:
        try:
            with site.client("scaler") as scaler:
                scaler.eval("while true do end", 0)
        except RedisError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(ENDLESS_S)

    def kill() -> bool:
        with contextlib.suppress(ResponseError):
            site.admin.script_kill()
        return bool(ended)

    try:
        wait_for(kill, 10, "the end of the script", every_s=0.2)
    finally:
        thread.join(10)
        site.admin.config_set("busy-reply-threshold", threshold)
    seen.may_lose(16, "frames were in replies that nobody was waiting for any more")


def boundary_text(site: Site, seen: Seen) -> None:
    """A camera sends parts of 2 MB that contain the boundary's text a hundred thousand times."""
    seen.others_go_on("video-1")
    server, pid = site.sources["video-1"], site.pid("video-1")
    used_s = cpu_s(pid)
    server.mode = "boundary_text"
    time.sleep(3)
    server.mode = "normal"
    used_s = cpu_s(pid) - used_s
    seen.check("no core burnt", used_s < 2.5, f"{used_s:.1f} s of CPU in 3 s")


def undecodable_images(site: Site, seen: Seen) -> None:
    """Images with a valid header that no decoder can decode."""
    seen.others_go_on()
    pods = [site.named(name) for name in ("pod-1", "pod-2")]
    sizes = [len(pod.log()) for pod in pods]
    images = (tiny_jpeg(), with_size(tiny_jpeg(), 4000, 4000), noisy_jpeg(7, *SIZE)[:300], tiny_jpeg(padding=500))
    with site.client("camera") as camera:
        for image in images * 5:
            camera.rpush(keys.legacy_queue(TYPE), msgpack.packb({"name": "bad", "category": TYPE, "data": image}))
            seen.pushed += 1
            time.sleep(0.05)
    time.sleep(0.5)
    text = "".join(pod.log()[size:] for pod, size in zip(pods, sizes, strict=True))
    seen.check("the model is not blamed", "model" not in text and "Traceback" not in text, text[:99])
    seen.check("both pods stay ready", all(pod.ready()["ready"] for pod in pods))


def old_results(site: Site, seen: Seen) -> None:
    """A pod is frozen for 6 s with frames in hand: what it has inferred by then is too old."""
    began = time.monotonic()
    os.kill(site.pid("pod-1"), signal.SIGSTOP)
    try:
        time.sleep(FROZEN_S)
    finally:
        os.kill(site.pid("pod-1"), signal.SIGCONT)
    seen.end()
    time.sleep(1.5)
    ages = [read - captured for times in site.reader.seen.values() for read, captured in list(times) if read > began]
    seen.check(f"no result is older than {OLDEST_S:.0f} s", max(ages) < OLDEST_S, f"{max(ages):.1f} s")


def curious_viewer(site: Site, seen: Seen) -> None:
    """A viewer of all cameras asks for what belongs to the pool."""
    seen.others_go_on()
    stats: Any = site.get("/api/stats", token=VIEWER_TOKEN)
    hidden = [stats["totals"]["drop_fps"], stats["totals"]["queue_length"], *stats["workers"]]
    hidden += [each[name] for each in stats["types"] for name in ("queue_length", "drop_fps") if name in each]
    seen.check("it sees no drops, load, queues or pods", not any(each is not None for each in hidden), str(hidden)[:99])
    streams: Any = site.get("/api/streams", token=VIEWER_TOKEN)
    seen.check("it sees its cameras", len(streams["streams"]) > 0, str(len(streams["streams"])))


def no_gzip(site: Site, seen: Seen) -> None:
    """A client that accepts no gzip (`gzip;q=0`)."""
    seen.others_go_on()
    request = urllib.request.Request(site.gateway_url + "/", headers={"Accept-Encoding": "gzip;q=0"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found = answer.headers.get("Content-Encoding", "none")
    seen.check("it gets none", found == "none", found)


FAULTS: tuple[Fault, ...] = (
    Fault(DEFAULTS, "a reader's minute of silence", minute_of_silence, prepare=begin_silence),
    Fault(DEFAULTS, "an endless script of KEDA's login", endless_script),
    Fault(SMALL, "boundary text inside a camera's parts", boundary_text),
    Fault(SMALL, "images that cannot be decoded", undecodable_images),
    Fault(SMALL, "results of a pod that was frozen under overload", overloaded(old_results)),
    Fault(SMALL, "a viewer of all cameras asks for the pool", curious_viewer),
    Fault(SMALL, "a client without gzip", no_gzip),
)
