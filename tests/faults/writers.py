"""More that the Redis user `camera`, or a site's, can do: long values, very many keys, invented types, large frames."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import Any

import msgpack
from redis.exceptions import RedisError

from elastic_inference.base.config import Secret
from elastic_inference.domain import keys
from tests.faults.clients import KEYS, MEMORY, POD_MB
from tests.faults.load import TYPE
from tests.faults.runner import FAILS_AFTER, Faults, Seen
from tests.faults.site import SIZE, Site
from tests.support import site_floods
from tests.support.jpeg import noisy_jpeg
from tests.support.redis_logins import PASSWORDS, line_of_the_site
from tests.support.redis_names import SITE, SITE_TYPE

RUNS = f'ei_janitor_runs_total{{infer_type="{TYPE}"}}'
MANY = 100_000
LONG = 20
ODD_KEYS = (
    *("queue_a:b", "queue_bad!", "queue_", "{queue_a:b}:tokens", "{queue_bad..!}:tokens", "{queue_}}:waiting:"),
    *(
        "{queue_zz}:waiting:a b",
        "{queue_a:b}:source:x",
        "{queue_{}:source:",
        "{queue_a}b}:frame:x",
        "{queue_zz}:dropped",
    ),
)
INVENTED = 300
# What a site may fill, in MB.
SITE_MB = 48
FAULTS = Faults()


@FAULTS.add(KEYS, "values of 80 kB")
def long_values(site: Site, seen: Seen) -> None:
    """Tokens and entries of 80 kB that patterns would need half a minute for."""
    seen.others_go_on()
    with site.client("camera") as camera, seen.answers_within(1.0):
        for _ in range(LONG):
            site_floods.long_values(camera, TYPE)
            time.sleep(0.1)
        time.sleep(2)
    seen.may_forge(2 * LONG, "entries that are no frame count as stale")


@FAULTS.add(KEYS, "100,000 keys that would stay for years")
def very_many_keys(site: Site, seen: Seen) -> None:
    """100,000 small keys that would stay for ten years."""
    seen.others_go_on()
    runs = site.named("housekeeping").metrics()[RUNS]
    began = time.monotonic()
    with site.client("camera") as camera, seen.answers_within(1.0):
        for start in range(0, MANY, 2000):
            pipe = camera.pipeline(transaction=False)
            for number in range(start, start + 2000):
                pipe.set(keys.frame(TYPE, "ghost", str(number)), b"x", ex=site_floods.YEARS_S)
            pipe.execute()
        time.sleep(3)
        runs, took_s = site.named("housekeeping").metrics()[RUNS] - runs, time.monotonic() - began
    _janitor_ran(seen, runs, took_s)
    seen.end()
    # Each key needs a turn of the sweep, and lives for 7 s from then.
    seen.within("they are removed", lambda: int(_key_count(site)) < MANY / 100, 40)


@FAULTS.add(KEYS, "keys that no service reads")
def odd_keys(site: Site, seen: Seen) -> None:
    """Keys that a camera's rights allow, and that no service reads."""
    seen.others_go_on()
    with site.client("camera") as camera:
        for key in ODD_KEYS:
            camera.hset(key, "x", 1) if "source" in key or "dropped" in key else camera.set(key, b"x")
    seen.end()

    def expire() -> bool:
        return all(0 < int(life) <= 600 or life == -2 for life in (site.admin.ttl(key) for key in ODD_KEYS))  # type: ignore[arg-type]

    seen.within("each gets an expiry", expire, 20)
    seen.clean_up.append(lambda: site.admin.unlink(*ODD_KEYS))


@FAULTS.add(KEYS, "scripts with oversized arguments")
def oversized_scripts(site: Site, seen: Seen) -> None:
    """Our scripts, called by a camera with names of 4 MB, thousands of entries and limits without bound."""
    seen.others_go_on()
    with site.client("camera") as camera, seen.answers_within(1.0), seen.peak_below(Valkey=768):
        for _ in range(20):
            site_floods.scripts(camera, "made-up")
            time.sleep(0.1)


@FAULTS.add(KEYS, "300 invented types")
def invented_types(site: Site, seen: Seen) -> None:
    """300 types that do not exist, kept alive, and then a new one without pods."""
    seen.others_go_on()
    names = [f"a{number:03}" for number in range(INVENTED)]
    stop = threading.Event()

    def invent() -> None:
        with site.client("camera") as camera:
            while not stop.is_set():
                pipe = camera.pipeline(transaction=False)
                for name in names:
                    pipe.zadd(keys.sources(name), {"x": time.time() * 1000})
                with contextlib.suppress(RedisError):
                    pipe.execute()
                stop.wait(2)

    thread = threading.Thread(target=invent)
    thread.start()
    try:
        time.sleep(3)
        with site.client("camera") as camera:
            camera.zadd(keys.sources("zz-new"), {"x": time.time() * 1000})
            wanted = 'ei_queue_length{infer_type="zz-new"}'
            seen.within("a new type is served", lambda: wanted in _alive(site, camera, wanted), 40)
    finally:
        stop.set()
        thread.join()
    seen.clean_up.append(lambda: site.admin.unlink(*(keys.sources(name) for name in (*names, "zz-new"))))


@FAULTS.add(KEYS, "one site's user floods its type in every way")
def site_flood(site: Site, seen: Seen) -> None:
    """A site's own user floods its type in every way that its rights allow."""
    seen.others_go_on()
    site.admin.execute_command("ACL", "SETUSER", *line_of_the_site().split()[1:])
    target = replace(site.target("camera"), username=SITE, password=Secret(PASSWORDS[SITE]))
    usual_s = _oldest_result_s(site, time.monotonic() - 2)
    runs, began = site.named("housekeeping").metrics()[RUNS], time.monotonic()
    with site.client_of(target) as client, seen.answers_within(1.0) as answers:
        done = site_floods.flood(client, SITE_TYPE, 8.0)
    took_s = time.monotonic() - began
    runs = site.named("housekeeping").metrics()[RUNS] - runs
    _janitor_ran(seen, runs, took_s)
    now = time.monotonic()
    latency_s = _oldest_result_s(site, began)
    # Some 0.1 s on a quiet machine. On a busy one, results may be older than that without a flood.
    fails = latency_s > max(3, FAILS_AFTER * usual_s) and not answers.held_up
    seen.check("no result of the others is older than 1 s", latency_s < 1, f"{latency_s:.2f} s", fails=fails)
    seen.notes.append(f"{sum(done.values())} bursts of {len(done)} kinds in {now - began:.0f} s")
    site.admin.execute_command("ACL", "DELUSER", SITE)
    seen.end()

    def gone() -> bool:
        # The site's cameras go on. The lists of a type that nobody serves would stay for ten minutes.
        with contextlib.suppress(RedisError):
            site.admin.zadd(keys.sources(SITE_TYPE), {"camera": time.time() * 1000})
        left: Any = site.admin.scan_iter(f"*queue_{SITE_TYPE}*", 5000)
        return sum(site.admin.memory_usage(key) or 0 for key in left) < 100_000

    # Frames live for 7 s, some from their turn in the sweep. The faster the machine, the more there are.
    seen.within("what it wrote is removed", gone, 40)
    seen.clean_up.append(lambda: site.admin.unlink(keys.sources(SITE_TYPE)))


@FAULTS.add(KEYS, "one site's user fills Redis' memory")
def site_memory(site: Site, seen: Seen) -> None:
    """A site's own user writes as much as `maxmemory` in a second (768 MB at 6 Gbit/s), and far more in all."""
    seen.others_go_on()
    site.admin.execute_command("ACL", "SETUSER", *line_of_the_site().split()[1:])
    target = replace(site.target("camera"), username=SITE, password=Secret(PASSWORDS[SITE]))
    refused = sum(each.without_memory for each in site.pushers.values())
    housekeeping = site.named("housekeeping")
    before = housekeeping.metric("ei_queue_relieved_bytes_total")
    limit = _used(site) + SITE_MB * 1_000_000
    site.admin.config_set("maxmemory", limit)
    highest, number, ends_s = 0.0, 0, time.monotonic() + 60
    try:
        with site.client_of(target) as client, seen.answers_within(1.0) as answers:
            while number < 60 * SITE_MB and time.monotonic() < ends_s:
                due_s = time.monotonic() + 0.1
                pipe = client.pipeline(transaction=False)
                for _ in range(SITE_MB):
                    pipe.set(keys.frame(SITE_TYPE, "flood", str(number)), bytes(100_000), px=60_000)
                    number += 1
                with contextlib.suppress(RedisError):
                    pipe.execute()
                highest = max(highest, _used(site) / limit)
                time.sleep(max(0.0, due_s - time.monotonic()))
        refused = sum(each.without_memory for each in site.pushers.values()) - refused
    finally:
        site.admin.config_set("maxmemory", 0)
        site.admin.execute_command("ACL", "DELUSER", SITE)
    seen.end()
    taken = housekeeping.metric("ei_queue_relieved_bytes_total") - before
    # Housekeeping, which takes the memory away, waits for a busy machine as Redis does.
    seen.check("no frame of the others is refused", refused == 0, str(refused), fails=not answers.held_up)
    seen.check("memory is taken from the site's type", SITE_TYPE in housekeeping.log(), f"{taken / 1e6:.0f} MB")
    seen.notes.append(f"it wrote {number / 10:.0f} MB; {highest:.0%} of {limit / 1e6:.0f} MB were in use at most")


def _oldest_result_s(site: Site, since: float) -> float:
    """The age of the oldest result, when it was read, of those that were read since then."""
    seen = [list(times) for times in site.reader.seen.values()]
    return max((read - captured for times in seen for read, captured in times if read > since), default=0.0)


def _used(site: Site) -> int:
    return int(site.admin.info("memory")["used_memory"])  # type: ignore[index]


@FAULTS.add(MEMORY, "legacy frames of 4 MB")
def large_legacy_frames(site: Site, seen: Seen) -> None:
    """24 legacy frames of 4 MB after small ones, which a pod takes in one pop."""
    seen.others_go_on()
    small, large = (
        msgpack.packb({"name": "old", "category": TYPE, "data": noisy_jpeg(6, *SIZE) + bytes(extra)})
        for extra in (0, 4_000_000)
    )
    with site.client("camera") as camera, seen.peak_below(pod_1=POD_MB, pod_2=POD_MB):
        for message, count in ((small, 8), (large, 24)):
            camera.rpush(keys.legacy_queue(TYPE), *[message] * count)
            seen.pushed += count
            time.sleep(1.5)


def _janitor_ran(seen: Seen, runs: float, took_s: float) -> None:
    says = f"{runs:.0f} runs in {took_s:.0f} s"
    seen.check("the janitor of the streams' type runs on", runs >= took_s / 3, says, fails=runs < 1)


def _alive(site: Site, camera: Any, wanted: str) -> tuple[str, ...]:
    camera.zadd(keys.sources("zz-new"), {"x": time.time() * 1000})
    return (wanted,) if wanted in site.named("housekeeping").metrics() else ()


def _key_count(site: Site) -> int:
    found: Any = site.admin.dbsize()
    return int(found)
