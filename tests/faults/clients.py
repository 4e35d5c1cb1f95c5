"""Faults that the Redis user `camera` can cause: forged values, keys without limit, costly frames, floods of logs."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import redis

from elastic_inference.domain import keys
from elastic_inference.flows.inference.jpeg import MAX_SCANS, count_scans
from tests.faults.load import FPS, TYPE, Pusher, Watcher
from tests.faults.record import open_drops
from tests.faults.runner import Faults, Seen
from tests.faults.site import SIZE, STREAMS, TOKEN, Site
from tests.support.jpeg import noisy_jpeg, progressive_jpeg

VALUES, KEYS, MEMORY, LOGS = "values read from Redis", "what clients write", "memory of frames", "logs"
# What pods may claim (doc/redis.md).
FORGED_A_SECOND = 20_000
POD_MB, RELAY_MB, GATEWAY_MB = 1024, 512, 256
LARGEST = (5744, 5744)
PREFIX = keys.queue_prefix(TYPE)
FAULTS = Faults()


@FAULTS.add(VALUES, "forged drops", short=True)
def forged_drops(site: Site, seen: Seen) -> None:
    """Values in the hash of drops that none of our scripts writes."""
    seen.others_go_on()
    name = keys.dropped(TYPE)
    with site.client("camera") as camera:
        camera.hincrby(name, "queue_full", -1)
        seen.may_lose(1, "drops that the first value took away")
        time.sleep(0.2)
        for field, value in (
            *(("queue_full", "many"), ("queue_full", b"\xff\xfe"), ("stale", "9" * 40), ("queue_full", "1e9")),
            *(("a_reason_of_its_own", "1"), (b"\xff\xfe", "1"), ("source", "5")),
        ):
            _overwrite_drops(site, seen, lambda pipe, field=field, value=value: pipe.hset(name, field, value))
            time.sleep(0.2)


@FAULTS.add(VALUES, "a million forged drops")
def million_drops(site: Site, seen: Seen) -> None:
    """Twice a million drops that never happened."""
    seen.others_go_on()
    pods = [site.named(name) for name in ("pod-1", "pod-2")]
    before = sum(pod.metric("ei_frames_dropped_total") for pod in pods)
    ratios = []
    with site.client("camera") as camera:
        for _ in range(2):
            camera.hincrby(keys.dropped(TYPE), "queue_full", 1_000_000)
            for _ in range(4):
                time.sleep(0.5)
                ratios += [pod.metric("ei_scale_ratio") for pod in pods]
    counted = sum(pod.metric("ei_frames_dropped_total") for pod in pods) - before
    seen.may_forge(2_000_000, "forged drops may count")
    # Each of the two claims covers some time before it.
    seen.check("20,000 a second count at most", counted <= 10 * FORGED_A_SECOND, f"{counted:.0f} in 4 s")
    seen.notes.append(f"the scale ratio was up to {max(ratios):.0f}")


@FAULTS.add(VALUES, "false sizes")
def false_sizes(site: Site, seen: Seen) -> None:
    """Entries whose size is far too large for their small frames: 4 MB, or a number of 31 digits."""
    seen.others_go_on()
    with site.client("camera") as camera:
        for number, size in enumerate((4_000_000, 10**30) * 10):
            seen.pushed += _push_by_hand(camera, "liar", f"x-{number}", noisy_jpeg(3, *SIZE), size)
            time.sleep(0.1)


@FAULTS.add(VALUES, "queue keys of the wrong type", short=True)
def wrong_types(site: Site, seen: Seen) -> None:
    """A string in place of every key that a camera may write."""
    seen.may_lose(8, "frames waited under keys that were overwritten")
    with site.client("camera") as camera:
        _overwrite_drops(site, seen, lambda pipe: pipe.set(keys.dropped(TYPE), b"\xff"))
        for key in (
            *(keys.tokens(TYPE), keys.sources(TYPE), keys.legacy_queue(TYPE)),
            *(keys.waiting(TYPE, "cam-0"), keys.source(TYPE, "cam-0"), keys.source(TYPE, "video-1")),
        ):
            camera.set(key, b"\xff")
            time.sleep(0.2)
    seen.end()
    for name in ("cam-0", "video-1"):
        key = keys.source(TYPE, name)
        seen.within(f"the source of {name} is listed again", lambda key=key: site.admin.type(key) == b"hash", 10)


@FAULTS.add(VALUES, "foreign keys in the broker's places")
def foreign_keys(site: Site, seen: Seen) -> None:
    """Strings in place of the broker's keys."""
    seen.takes_results = True
    for key in (keys.STREAMS, keys.WORKERS, keys.results(TYPE), keys.stream_info(keys.stream_id("cam-0", TYPE))):
        site.admin.set(key, "foreign")
    seen.end()
    seen.within("the streams are listed again", lambda: len(site.get("/api/streams")["streams"]) >= len(STREAMS), 10)


@FAULTS.add(KEYS, "20 MB of frames without expiry")
def frames_without_expiry(site: Site, seen: Seen) -> None:
    """20 MB of frames that would stay forever."""
    seen.others_go_on()
    with site.client("camera") as camera:
        for start in range(0, 2000, 100):
            pipe = camera.pipeline(transaction=False)
            for number in range(start, start + 100):
                pipe.set(keys.frame(TYPE, "ghost", str(number)), bytes(10_000))
            pipe.execute()
    seen.end()
    pattern = keys.frame(TYPE, "ghost", "*")
    seen.within("they are removed", lambda: not next(site.admin.scan_iter(pattern, 5000), None), 30)


@FAULTS.add(KEYS, "45,000 tokens of a made-up type")
def tokens_of_a_made_up_type(site: Site, seen: Seen) -> None:
    """45,000 tokens, each with a different name."""
    seen.others_go_on()
    name = keys.tokens("made-up")
    with site.client("camera") as camera, seen.answers_within(1.0):
        for start in range(0, 45_000, 5000):
            camera.rpush(name, *(f"n{number}" for number in range(start, start + 5000)))
        time.sleep(3)
    seen.end()
    seen.within("they are removed", lambda: not site.admin.exists(name), 30)


@FAULTS.add(KEYS, "100,000 names of sources")
def many_sources(site: Site, seen: Seen) -> None:
    """100,000 names in the list of sources."""
    seen.others_go_on()
    now_ms = time.time() * 1000
    with site.client("camera") as camera, seen.answers_within(1.0):
        for start in range(0, 100_000, 5000):
            names = {f"x-{number}": now_ms + number / 1e6 for number in range(start, start + 5000)}
            camera.zadd(keys.sources(TYPE), names)
        _api_answers(site, seen)
    seen.end()
    seen.within("the list is cut", lambda: int(site.admin.zcard(keys.sources(TYPE))) <= 4200, 10)


@FAULTS.add(KEYS, "reports of 4 MB")
def fat_sources(site: Site, seen: Seen) -> None:
    """Four reports of sources of 4 MB each."""
    seen.others_go_on()
    fat = [f"fat-{number}" for number in range(4)]
    with site.client("camera") as camera, seen.peak_below(gateway=GATEWAY_MB), seen.answers_within(1.0):
        for name in fat:
            camera.hset(keys.source(TYPE, name), mapping={"state": b"x" * 4_000_000, "fps": "1"})
            camera.pexpire(keys.source(TYPE, name), 10_000)
            camera.zadd(keys.sources(TYPE), {name: time.time() * 1000})
        time.sleep(3)
        _api_answers(site, seen)
    seen.end()
    seen.clean_up.append(lambda: site.admin.unlink(*(keys.source(TYPE, name) for name in fat)))


@FAULTS.add(KEYS, "a new stream with each frame")
def a_name_with_each_frame(site: Site, seen: Seen) -> None:
    """A new stream with each of 200 frames."""
    seen.others_go_on()
    before = int(site.admin.zcard(keys.STREAMS))  # type: ignore[arg-type]
    with site.client("camera") as camera:
        for number in range(200):
            message = msgpack.packb({"name": f"new-{number}", "category": TYPE, "data": noisy_jpeg(4, *SIZE)})
            camera.rpush(keys.legacy_queue(TYPE), message)
            seen.pushed += 1
            time.sleep(0.01)
    seen.end()
    seen.within("they leave the registry", lambda: int(site.admin.zcard(keys.STREAMS)) <= before, 30)


@FAULTS.add(MEMORY, "4 MiB of nested maps")
def nested_maps(site: Site, seen: Seen) -> None:
    """4 MiB of nested MessagePack maps or extensions in place of an image."""
    seen.others_go_on()
    nest = b"\x80"
    for _ in range(3):
        nest = b"\xdc\x00\x40" + nest * 64
    head = b"\x83" + b"".join(msgpack.packb(each) for each in ("name", "deep", "category", TYPE, "data"))
    values = (b"\xdc\x00\x0f" + nest * 15, b"\xdc\x00\x40" + (b"\xc9\x00\x00\xf0\x00\x05" + bytes(61_440)) * 64)
    with site.client("camera") as camera, seen.peak_below(pod_1=POD_MB, pod_2=POD_MB):
        for value in values * 3:
            camera.rpush(keys.legacy_queue(TYPE), head + value)
            seen.pushed += 1
            time.sleep(0.3)


@FAULTS.add(MEMORY, "progressive images of 33 MP")
def large_images(site: Site, seen: Seen) -> None:
    """Progressive 4:4:4 images of 33 million pixels, drawn for a viewer."""
    began = time.monotonic()
    gate = threading.Event()
    gate.set()
    huge = Pusher(site.target("camera"), "huge", progressive_jpeg(*LARGEST), LARGEST, gate)
    huge.fps = 2.0
    limits = seen.peak_below(pod_1=POD_MB, pod_2=POD_MB, websocket_server=RELAY_MB)
    with limits, huge, Watcher(f"ws://127.0.0.1:{site.gateway_port}", "huge", "drawn", TOKEN):
        time.sleep(6)
        gate.clear()
        time.sleep(1)
    seen.pushed += huge.pushed
    pause_s = max(site.reader.longest_pause_s(name, began, time.monotonic()) for name in STREAMS)
    seen.check("the longest pause of a stream, without a bar", True, f"{pause_s:.1f} s")


@FAULTS.add(MEMORY, "costly images, as one stream")
def costly_images(site: Site, seen: Seen) -> None:
    """Progressive images of 33 million pixels at 8 fps, more than a pod can decode; the others keep their rate."""
    kept, had_room = _costly(site, seen, progressive_jpeg(*LARGEST))
    seen.check("the others keep 90 % of their rate", kept >= 0.9, f"{kept:.0%}", fails=kept < 0.7 and had_room)


@FAULTS.add(MEMORY, "costly images of as many scans as are accepted")
def images_of_many_scans(site: Site, seen: Seen) -> None:
    """The same with 32 scans, the most that a pod decodes: nearly twice the CPU time."""
    image = progressive_jpeg(*LARGEST, MAX_SCANS)
    assert count_scans(image) == MAX_SCANS
    kept, _ = _costly(site, seen, image)
    seen.check("the others keep half of their rate", kept >= 0.5, f"{kept:.0%}", fails=False)


def _costly(site: Site, seen: Seen, image: bytes) -> tuple[float, bool]:
    """Eight such images a second for some seconds. Returns how much of their rate the others keep, and whether that was
    the full rate: where even that needs more CPU time than there is, what remains of it says nothing."""
    seen.others_go_on()
    time.sleep(1)
    before, pods_mb = _rate(site, 4.0), _pods_mb(site)
    gate = threading.Event()
    gate.set()
    with Pusher(site.target("camera"), "costly", image, LARGEST, gate) as costly:
        time.sleep(1)
        beside = _rate(site, 6.0)
        gate.clear()
        time.sleep(1)
    seen.pushed += costly.pushed
    # One that a pod has begun takes 0.4 s of its CPU time and more, on a busy machine many times as long.
    seen.within("the pods' memory is given back", lambda: _pods_mb(site) < pods_mb + 100, 60)
    return beside / before, before >= 0.9 * FPS * len(STREAMS)


def _pods_mb(site: Site) -> float:
    return sum(mb for name, (mb, _) in site.levels().items() if name.startswith("pod-"))


def _rate(site: Site, seconds: float) -> float:
    """Results a second of all the site's own streams."""
    before, began = sum(len(site.reader.seen[name]) for name in STREAMS), time.monotonic()
    time.sleep(seconds)
    return (sum(len(site.reader.seen[name]) for name in STREAMS) - before) / (time.monotonic() - began)


@FAULTS.add(LOGS, "2000 broken frames under new names")
def log_flood(site: Site, seen: Seen) -> None:
    """2000 broken frames, each under its own name; some names have a line break or are a megabyte long."""
    seen.others_go_on()
    pods = [site.named(name) for name in ("pod-1", "pod-2")]
    sizes = [len(pod.log()) for pod in pods]
    names: Sequence[str] = [
        *(f"{secrets.token_hex(3)}-{number}" for number in range(2000)),
        *("x\nFORGED 2026 line", "\x1b[2Jx", "m" * 1_000_000),
    ]
    with site.client("camera") as camera:
        for start in range(0, len(names), 20):
            pipe = camera.pipeline(transaction=False)
            for name in names[start : start + 20]:
                broken = b"\xff\xd8 no image"
                pipe.rpush(keys.legacy_queue(TYPE), msgpack.packb({"name": name, "category": TYPE, "data": broken}))
                seen.pushed += 1
            pipe.execute()
            time.sleep(0.04)
    time.sleep(0.5)
    text = "".join(pod.log()[size:] for pod, size in zip(pods, sizes, strict=True))
    lines = text.splitlines() or [""]
    seen.check("logs below 100 kB", len(text) < 100_000, f"{len(text) / 1000:.0f} kB")
    seen.check("no line over 2 kB", max(map(len, lines)) < 2000, f"{max(map(len, lines))} characters")
    forged = any(line.startswith("FORGED") for line in lines) or "\x1b" in text
    seen.check("no forged line", not forged)


def _overwrite_drops(site: Site, seen: Seen, write: Callable[[Any], object]) -> None:
    """Writes to the hash of drops, as a camera may. The drops that wait there are lost: a busy machine has some."""
    with site.admin.pipeline() as pipe:
        pipe.hgetall(keys.dropped(TYPE))
        write(pipe)
        before, _ = pipe.execute(raise_on_error=False)
    if isinstance(before, dict) and (lost := open_drops(before)):
        seen.may_lose(lost, "drops that were overwritten")


def _push_by_hand(camera: redis.Redis, name: str, identity: str, image: bytes, size: int) -> int:
    """Enters one frame as the push script does, with any size in its entry."""
    message = msgpack.packb({"name": name, "category": TYPE, "data": image})
    pipe = camera.pipeline(transaction=False)
    pipe.set(keys.frame(TYPE, name, identity), message, px=7000)
    pipe.rpush(keys.waiting(TYPE, name), f"{time.time() * 1e6:.0f} {size} {identity}")
    pipe.rpush(keys.tokens(TYPE), name)
    pipe.execute()
    return 1


def _api_answers(site: Site, seen: Seen) -> None:
    began = time.monotonic()
    count = 0
    with contextlib.suppress(OSError, ValueError):
        count = len(site.get("/api/streams", 10)["streams"])
    took_s = time.monotonic() - began
    failed = count == 0 or took_s > 8
    seen.check("the API answers within 2 s", count > 0 and took_s < 2, f"{took_s:.1f} s", fails=failed)
