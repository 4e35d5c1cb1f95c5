"""Faults of the machine: clocks that are an hour off, full disks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import pack_frame
from tests.faults.load import TYPE
from tests.faults.processes import may_differ, may_lose_replies
from tests.faults.runner import Fault, Seen
from tests.faults.site import CAMERAS, SIZE, Site
from tests.support.jpeg import noisy_jpeg
from tests.support.waiting import wait_for

CLOCKS, DISKS = "clocks", "disks"
HOUR_S = 3600
SMALL_DISK = "8m"
# The name of a stream that ends when the clock is set back.
ENDED = "ended"


def faketime_library() -> Path | None:
    """Debian's libfaketime for programs with threads, if it is installed."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def clock_environ(offset: Path | str) -> dict[str, str]:
    """Environment of a process whose clock is off, by a fixed offset such as `+3600` or by what a file says.

    Its monotonic clock stays right, as a machine's does when its time is set.
    """
    library = faketime_library()
    assert library is not None
    fixed: dict[str, str] = {"FAKETIME": offset} if isinstance(offset, str) else {}
    changing = {} if fixed else {"FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    names = ("FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC")
    return {"LD_PRELOAD": str(library), **dict.fromkeys(names, "1"), **fixed, **changing}


def python_clock_environ(offset: str) -> dict[str, str]:
    """The same by a fixed offset, for a pod (see `shifted_clock`)."""
    return {"PYTHONPATH": str(Path(__file__).parent / "shifted_clock"), "EI_CLOCK_OFFSET": offset}


@contextlib.contextmanager
def site_with_a_clock(model: Callable[[], Path]) -> Iterator[Site]:
    """A site whose Redis takes its time from the file `clock` in the site's folder."""
    with tempfile.TemporaryDirectory(prefix="ei-clock-") as folder:
        file = Path(folder) / "clock"
        file.write_text("+0\n")
        with Site(model(), valkey_environ=clock_environ(file)) as site:
            site.clock = file
            yield site


def _now(site: Site) -> int:
    found: Any = site.admin.time()
    return int(found[0])


def _is_listed(site: Site) -> bool:
    return any(each["name"] == ENDED for each in site.get("/api/streams")["streams"])


def jump(seconds: int, *, ended: bool = False) -> Callable[[Site, Seen], None]:
    """Redis' clock jumps, and stays there. `ended`: a stream ends just before."""

    def inject(site: Site, seen: Seen) -> None:
        assert site.clock is not None
        if ended:
            with site.client("camera") as camera:
                camera.rpush(keys.legacy_queue(TYPE), pack_frame(Frame(ENDED, TYPE, noisy_jpeg(8, *SIZE), 1)))
                seen.pushed += 1
            wait_for(lambda: _is_listed(site), 10, "the stream that ends")
        before, drops = _now(site), site.open_drops()
        site.clock.write_text(f"{int(site.clock.read_text()) + seconds:+d}\n")
        wait_for(lambda: abs(_now(site) - before - seconds) < HOUR_S / 2, 5, "the jump of the clock")
        if seconds > 0:
            seen.may_lose(48 + drops, "frames expired with everything else, and drops that nobody had claimed")
        if ended:
            seen.end()
            seen.within("a stream that ended before goes", lambda: not _is_listed(site), 20)

    return inject


def restarted_with_clock(name: str, offset: str) -> Callable[[Site, Seen], None]:
    """A service starts on a machine whose clock is an hour off."""

    def inject(site: Site, seen: Seen) -> None:
        seen.others_go_on(*(each for each in CAMERAS if each == name))
        is_pod = name.startswith("pod")
        environ = python_clock_environ(offset) if is_pod else clock_environ(offset)
        may_differ(seen, name, site.restart(name, environ))
        site.named(name).wait_ready()

    return inject


def clocks_missing() -> str:
    """What this machine lacks to give a process another clock."""
    return "" if faketime_library() else "libfaketime is not installed"


def disks_missing() -> str:
    """What this machine lacks for a small disk."""
    return "" if os.geteuid() == 0 else "a small disk needs root"


@contextlib.contextmanager
def site_on_a_small_disk(model: Callable[[], Path]) -> Iterator[Site]:
    """A site whose logs, model cache and Redis folder are on a separate, small disk."""
    with tempfile.TemporaryDirectory(prefix="ei-disk-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", folder], check=True)
        try:
            with Site(model(), folder=Path(folder)) as site:
                yield site
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def full(site: Site) -> Iterator[None]:
    """The site's disk is full while the block lasts."""
    file = site.folder / "filler"
    try:
        with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        with contextlib.suppress(OSError), file.open("ab", buffering=0) as filler:
            while True:
                filler.write(b"x")
        yield
    finally:
        file.unlink()


def logs_full(site: Site, seen: Seen) -> None:
    """No service can write its log, though each has something to log."""
    may_lose_replies(site, seen)
    with full(site):
        site.kill_connections(lambda _: True)
        time.sleep(4)


def redis_folder_full(site: Site, seen: Seen) -> None:
    """Redis is asked to save and cannot."""
    seen.others_go_on()
    with full(site):
        with contextlib.suppress(Exception):
            site.admin.bgsave()
        time.sleep(2)
        site.admin.set("a-key", "a-value")
        site.admin.delete("a-key")


def model_cache_full(site: Site, seen: Seen) -> None:
    """A pod starts with a model cache that cannot be written."""
    seen.others_go_on()
    cache = site.folder / "cache"
    cache.mkdir(exist_ok=True)
    with full(site):
        may_differ(seen, "pod-1", site.restart("pod-1", {"MODEL_CACHE_DIR": str(cache)}))
        site.named("pod-1").wait_ready()


FAULTS = (
    Fault(CLOCKS, "the clock of Redis jumps an hour ahead", jump(HOUR_S), "clock"),
    Fault(CLOCKS, "the clock of Redis jumps an hour back", jump(-HOUR_S, ended=True), "clock"),
    Fault(CLOCKS, "the clock of Redis jumps another hour back", jump(-HOUR_S), "clock"),
    Fault(CLOCKS, "the gateway an hour ahead", restarted_with_clock("gateway", "+3600"), "clock"),
    Fault(CLOCKS, "housekeeping an hour ahead", restarted_with_clock("housekeeping", "+3600"), "clock"),
    Fault(CLOCKS, "a pod an hour ahead", restarted_with_clock("pod-1", "+3600"), "clock"),
    Fault(CLOCKS, "a pod an hour behind", restarted_with_clock("pod-1", "-3600"), "clock"),
    Fault(CLOCKS, "the websocket server an hour ahead", restarted_with_clock("websocket-server", "+3600"), "clock"),
    Fault(CLOCKS, "a camera an hour behind", restarted_with_clock("video-1", "-3600"), "clock"),
    Fault(DISKS, "no room for logs", logs_full, "disk"),
    Fault(DISKS, "no room for Redis' folder", redis_folder_full, "disk"),
    Fault(DISKS, "no room for the model cache", model_cache_full, "disk"),
)
