"""Every stream gets its share of a pod that is too slow. Time is counted in ticks, so these tests suit any machine."""

from __future__ import annotations

from collections import Counter

from elastic_inference.base import config
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.queue_bench import QueueBench

TICKS_PER_S = 60
# A tick may take any time, so no frame may go stale by the server's clock.
AGELESS = config.QueueRules(max_frame_age_s=3600)


# An empty server takes 2 MB; the rest is for what may wait. Nothing may grow with time.
MEMORY_LIMIT_BYTES = 16 * 1024 * 1024


def used_memory(bench: QueueBench) -> int:
    return int(bench.redis.info("memory")["used_memory"])


def simulate(
    bench: QueueBench, fps: dict[str, float], pod_fps: float, seconds: int, *, legacy_fps: float = 0, size: int = 0
) -> Counter:
    """Frames popped by stream, from a pod that pops at most 8 at a time. The first quarter does not count."""
    due: Counter[str] = Counter()
    credit = legacy_due = 0.0
    popped: Counter[str] = Counter()
    for tick in range(seconds * TICKS_PER_S):
        for index, (name, rate) in enumerate(fps.items()):
            # Streams start out of step, as cameras do.
            due[name] += rate / TICKS_PER_S if tick else (index * 0.618) % 1
            if due[name] >= 1:
                due[name] -= 1
                bench.push(name, size=size)
        legacy_due += legacy_fps / TICKS_PER_S
        if legacy_due >= 1:
            bench.push_legacy("flood", int(legacy_due))
            legacy_due %= 1
        if tick % TICKS_PER_S == TICKS_PER_S - 1:
            bench.run_janitor()
        credit = min(credit + pod_fps / TICKS_PER_S, 8)
        if credit >= 1:
            batch = bench.pop(int(credit))
            credit -= len(batch.frames)
            if tick >= seconds * TICKS_PER_S // 4:
                popped.update(frame.frame.name for frame in batch.frames)
    return popped


def test_slow_stream_beside_a_fast_one(valkey: EmbeddedValkey) -> None:
    with QueueBench(valkey, AGELESS) as bench:
        popped = simulate(bench, {"fast": 30, "slow": 5}, pod_fps=10, seconds=20, size=40_000)
        bench.check_account()
        bench.check_order()
        # 700 frames of 40 kB were pushed and 200 popped: their number and their memory are bounded.
        assert bench.frame_keys() <= 2 * AGELESS.stream_queue_depth
        memory = used_memory(bench)
        bench.drain()
        bench.check_account()
    assert popped["slow"] / 15 >= 4
    assert 4 <= popped["fast"] / 15 <= 6
    assert popped.total() >= 0.95 * 10 * 15
    assert memory < MEMORY_LIMIT_BYTES


def test_hundred_streams_and_a_flood(valkey: EmbeddedValkey) -> None:
    fps = {f"cam-{index}": 30.0 if index % 2 else 5.0 for index in range(100)}
    seconds, pod_fps = 6, sum(fps.values()) / 5
    with QueueBench(valkey, AGELESS) as bench:
        popped = simulate(bench, fps, pod_fps, seconds, legacy_fps=600)
        bench.check_account()
        bench.check_order()
        memory = used_memory(bench)
    fair = pod_fps * seconds * 0.75 / (len(fps) + 1)
    worst = min(popped[name] for name in fps)
    assert worst >= 0.8 * fair, (worst, fair, popped.most_common(3))
    assert popped["flood"] >= 0.5 * fair
    assert memory < 64 * 1024 * 1024


def test_legacy_frames_alone_get_the_whole_pod(bench: QueueBench) -> None:
    for _ in range(4):
        bench.push_legacy("old", 16)
        while bench.legacy_waiting():
            assert len(bench.pop(16).frames) >= 1
    assert bench.popped == 64


def test_flood_gets_at_most_half_of_each_pop(bench: QueueBench) -> None:
    bench.push_legacy("old", 200)
    bench.pop(2)  # now the pod knows about them
    for turn in range(30):
        for index in range(8):
            bench.push(f"cam-{(turn * 8 + index) % 40}")
        names = [frame.frame.name for frame in bench.pop(8).frames]
        assert names.count("old") <= 4
    assert bench.orders["old"], "legacy frames are not starved either"


def test_one_frame_a_pop_serves_both_kinds(bench: QueueBench) -> None:
    bench.push_legacy("old", 40)
    kinds: Counter[str] = Counter()
    for _ in range(40):
        bench.push("cam-1")
        kinds.update(frame.frame.name for frame in bench.pop(1).frames)
    assert kinds.total() == 40
    assert kinds["old"] >= 10
    assert kinds["cam-1"] >= 18
