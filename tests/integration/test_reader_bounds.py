"""What groups of readers may take of Redis' memory, with the rights of `reader` and `housekeeping`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.redis_connection import explain
from elastic_inference.adapters.stream_broker.reader_bounds import (
    FEW_BYTES,
    FEW_GROUPS,
    FULL_LOOKS,
    MAX_EMPTY,
    MAX_EMPTY_BYTES,
    MAX_GROUPS,
    ReaderBounds,
)
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.base.metrics import HousekeepingMetrics
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.flows.housekeeping.reader_watch import REFUSED_PAUSE_S, ReaderWatch
from tests.support.redis_logins import Logins
from tests.support.redis_names import RESULTS
from tests.support.redis_servers import cluster

EMPTY = keys.results("later")


@pytest.fixture
async def bounds(logins: Logins) -> AsyncIterator[ReaderBounds]:
    found = ReaderBounds(logins.target("housekeeping"), "test")
    yield found
    await found.close()


def make_groups(logins: Logins, stream: str, count: int) -> None:
    pipe = logins.client("reader").pipeline(transaction=False)
    for number in range(count):
        pipe.xgroup_create(stream, f"group-{number}", id="0", mkstream=True)
    pipe.execute()


async def scan(bounds: ReaderBounds) -> int:
    """Looks until all keys have been looked at twice; how many streams were removed."""
    return sum([(await bounds.look()).streams for _ in range(4)])


async def test_readers_of_types_that_exist_and_that_will_stay(logins: Logins, bounds: ReaderBounds) -> None:
    make_groups(logins, RESULTS, MAX_GROUPS)
    make_groups(logins, EMPTY, 3)
    assert await scan(bounds) == 0
    assert len(logins.client("admin").xinfo_groups(RESULTS)) == MAX_GROUPS


async def test_a_stream_of_too_many_groups_goes(logins: Logins, bounds: ReaderBounds) -> None:
    make_groups(logins, RESULTS, MAX_GROUPS + 1)
    make_groups(logins, EMPTY, MAX_GROUPS + 1)
    assert await scan(bounds) == 2
    assert not logins.client("admin").exists(RESULTS, EMPTY)


async def test_many_streams_without_a_result_go_and_those_known_longest_stay(
    logins: Logins, bounds: ReaderBounds
) -> None:
    make_groups(logins, EMPTY, 1)
    assert await scan(bounds) == 0
    pipe = logins.client("reader").pipeline(transaction=False)
    for number in range(5000):
        pipe.xgroup_create(keys.results(f"made-up-{number}"), "g", mkstream=True)
    pipe.execute()
    await scan(bounds)
    left = logins.client("admin").keys("results_*")
    assert len(left) == MAX_EMPTY + 1, "and one with results"
    assert {RESULTS.encode(), EMPTY.encode()} < set(left)


async def test_an_empty_stream_of_many_consumers_or_with_a_wrong_name_goes(
    logins: Logins, bounds: ReaderBounds
) -> None:
    make_groups(logins, EMPTY, 1)
    reader = logins.client("reader")
    for number in range(20):
        name = f"{number}{'x' * (MAX_EMPTY_BYTES // 10)}"
        reader.xreadgroup("group-0", name, {EMPTY: ">"})
    reader.xgroup_create("results_" + "x" * 1000, "g", mkstream=True)
    assert await scan(bounds) == 2
    assert logins.client("admin").keys("results_*") == [RESULTS.encode()]


async def test_in_a_nearly_full_redis_only_small_groups_stay(logins: Logins, bounds: ReaderBounds) -> None:
    admin = logins.client("admin")
    make_groups(logins, RESULTS, FEW_GROUPS)
    make_groups(logins, keys.results("car"), FEW_GROUPS + 1)
    make_groups(logins, EMPTY, FEW_GROUPS)
    make_groups(logins, keys.results("crowded"), FEW_GROUPS + 1)
    make_groups(logins, keys.results("fat"), 1)
    reader = logins.client("reader")
    reader.xreadgroup("group-0", "waiting", {EMPTY: ">"})
    reader.xreadgroup("group-0", "x" * FEW_BYTES, {keys.results("fat"): ">"})
    for infer_type in ("car", "large", "alone"):
        admin.xadd(keys.results(infer_type), {"json": "{}"})
    reader.xgroup_create(keys.results("large"), "g", id="0")
    for number in range(10):
        reader.xreadgroup("g", f"{number}{'x' * 200_000}", {keys.results("large"): ">"})
    try:
        admin.config_set("maxmemory", int(admin.info("memory")["used_memory"] * 1.2))
        for _ in range(FULL_LOOKS - 1):
            assert (await bounds.look()).streams == 0, "a flood of frames may end soon"
        assert (await bounds.look()).streams == 4
    finally:
        admin.config_set("maxmemory", 0)
    left = {each.decode() for each in admin.keys("results_*")}
    assert left == {RESULTS, keys.results("alone"), EMPTY}, "a reader that only waits is not sent away"


async def test_a_foreign_key_with_such_a_name_stays(logins: Logins, bounds: ReaderBounds) -> None:
    logins.client("admin").set(EMPTY, "x")
    assert await scan(bounds) == 0
    assert logins.client("admin").get(EMPTY) == b"x"


async def test_a_reader_goes_on_with_a_new_group(logins: Logins, bounds: ReaderBounds) -> None:
    """As doc/examples/count_results.py does: it is told that the group is gone."""
    make_groups(logins, RESULTS, MAX_GROUPS + 1)
    reader = logins.client("reader")
    reader.xreadgroup("group-0", "one", {RESULTS: ">"})
    waiting = asyncio.create_task(asyncio.to_thread(reader.xreadgroup, "group-0", "one", {RESULTS: ">"}, 1, 8000))
    await asyncio.sleep(0.1)
    await scan(bounds)
    (reply,) = await asyncio.gather(waiting, return_exceptions=True)
    assert str(reply).startswith("NOGROUP"), reply
    assert reader.xgroup_create(RESULTS, "group-0", id="$", mkstream=True)


@pytest.fixture
def bare_cluster() -> Iterator[EmbeddedValkey]:
    with cluster(1) as (server,):
        yield server


async def test_the_servers_of_a_cluster_are_looked_at(bare_cluster: EmbeddedValkey) -> None:
    bounds = ReaderBounds(config.RedisTarget(url=Secret(f"redis+cluster://127.0.0.1:{bare_cluster.port}")), "test")
    with redis.Redis(port=bare_cluster.port) as client:
        for number in range(MAX_EMPTY + 5):
            client.xgroup_create(keys.results(f"made-up-{number}"), "g", mkstream=True)
        await scan(bounds)
        assert len(client.keys("results_*")) == MAX_EMPTY
    await bounds.close()


@pytest.mark.parametrize("user", ["housekeeping", "viewer"])
async def test_the_log_and_a_counter_say_so(logins: Logins, user: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    make_groups(logins, RESULTS, MAX_GROUPS + 1)
    registry = CollectorRegistry()
    target = logins.target(user)
    bounds = ReaderBounds(target, "test")
    watch = ReaderWatch(bounds, HousekeepingMetrics(registry), lambda error: explain(error, target))
    pause_s = await watch._look()
    await bounds.close()
    removed = registry.get_sample_value("ei_reader_streams_removed_total")
    if user == "housekeeping":
        assert (removed, f"such as {RESULTS}" in caplog.text) == (1, True)
    else:
        assert (removed, pause_s, "no bounds" in caplog.text) == (0, REFUSED_PAUSE_S, True)
