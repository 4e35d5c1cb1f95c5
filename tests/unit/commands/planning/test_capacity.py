"""The planner's arithmetic, checked by hand."""

import json
import re
import shlex

import pytest
from tests.bench.planner import CAPACITY, document

from elastic_inference.adapters.frame_queue.queue_reader import MAX_TYPES
from elastic_inference.base.config import GatewaySettings, WebsocketSettings, settings_of
from elastic_inference.commands.planning.capacity import GATEWAY_TYPES, plan
from elastic_inference.commands.planning.plan_capacity import main
from elastic_inference.commands.planning.sheet import (
    SERVER_VIEWERS,
    Bottleneck,
    Demand,
    Measured,
    NodePlan,
    Sheet,
)

QUICK = Measured(fps_per_core=100)


def unwatched(cameras: int, **others: float) -> Demand:
    return Demand(cameras, viewers=0, watched_streams=0, **others)  # type: ignore[arg-type]


def named(sheet: Sheet, part: str) -> Bottleneck:
    (found,) = [each for each in sheet.bottlenecks if part in each.full]
    return found


def test_pods_are_frames_divided_by_a_pods_rate_at_the_target() -> None:
    sheet = plan(Demand(cameras=16, fps=15), QUICK, NodePlan(pod_cores=1, target=0.8))
    assert sheet.frames_s == 240
    assert sheet.pods == 3  # 240 / 80
    assert plan(Demand(cameras=18, fps=15), QUICK, NodePlan()).pods_unrounded == pytest.approx(3.375)
    assert plan(Demand(cameras=16, fps=15), QUICK, NodePlan(pod_cores=0.5)).pods == 6


def test_each_type_gets_each_frame() -> None:
    one = plan(Demand(cameras=10, types=1), Measured(fps_per_core=50), NodePlan())
    two = plan(Demand(cameras=10, types=2), Measured(fps_per_core=50), NodePlan())
    assert two.frames_s == 2 * one.frames_s
    assert two.producer_cores == one.producer_cores  # encoded once


def test_source_workers_are_the_pools_cpu_at_the_target() -> None:
    sheet = plan(Demand(cameras=64, fps=15), Measured(100, source_ms=10), NodePlan(source_cores=2, target=0.8))
    assert sheet.source_cpu == pytest.approx(9.6)
    assert sheet.source_workers == 6  # 9.6 / 1.6
    assert (
        plan(Demand(cameras=64, types=2), Measured(100, source_ms=10), NodePlan()).source_workers == 6
    )  # encoded once


def test_each_type_has_pods_of_its_own() -> None:
    # 100 fps of each type are 1.25 pods.
    assert plan(unwatched(10, fps=10, types=4), QUICK, NodePlan()).pods == 8


def test_redis_receives_and_sends_each_frame_once_and_watched_ones_twice() -> None:
    sheet = plan(unwatched(10, fps=10, frame_bytes=100_000), QUICK, NodePlan())
    assert sheet.redis_out_mb_s == pytest.approx(10, rel=0.02)
    watched = plan(Demand(cameras=10, fps=10, frame_bytes=100_000, viewers=10), QUICK, NodePlan())
    assert watched.redis_out_mb_s == pytest.approx(2 * sheet.redis_out_mb_s, rel=0.02)


def test_a_websocket_server_takes_a_watched_stream_once() -> None:
    demand = Demand(cameras=1, fps=10, frame_bytes=100_000, viewers=100, watched_streams=1)
    one = plan(demand, QUICK, NodePlan())
    two = plan(demand, Measured(fps_per_core=100, relay_frames_s=500), NodePlan())
    assert (one.relay_replicas, two.relay_replicas) == (1, 2)
    assert two.redis_out_mb_s - one.redis_out_mb_s == pytest.approx(1, rel=0.02)


def test_whole_types_are_packed_into_shards() -> None:
    # 482 of 800 MB/s each: two do not fit one shard.
    sheet = plan(unwatched(300, frame_bytes=53_000, types=3), QUICK, NodePlan())
    assert (sheet.redis_shards, sheet.types_needed) == (3, 3)
    # 241 MB/s each: three fit.
    assert plan(unwatched(150, frame_bytes=53_000, types=7), QUICK, NodePlan()).redis_shards == 3


def test_a_type_too_large_for_a_shard_becomes_more_types() -> None:
    # 1.2 shards per type: two halves of 0.6, which cannot share a shard.
    sheet = plan(unwatched(600, frame_bytes=53_000, types=3), QUICK, NodePlan())
    assert (sheet.types_needed, sheet.redis_shards) == (6, 6)


def test_one_redis_serves_queue_and_broker_while_both_fit() -> None:
    small = plan(unwatched(16), QUICK, NodePlan())
    assert (small.redis_shards, small.brokers) == (1, 0)
    large = plan(unwatched(520, frame_bytes=50_000, detections=20.0), QUICK, NodePlan())
    assert (large.redis_shards, large.brokers) == (1, 1)


def test_a_broker_is_not_sharded() -> None:
    # 24,000 results per second, 12,000 per process: one installation for each half.
    sheet = plan(unwatched(1600, frame_bytes=1_000), QUICK, NodePlan())
    assert sheet.brokers == 2
    assert "installation per site" in named(sheet, "broker (").cure


def test_a_shard_is_no_faster_than_the_link_of_its_node_in_either_direction() -> None:
    slow = Measured(fps_per_core=100, network_mb_s=110)
    # 50.6 kB at 15 fps: 144 cameras fill 110 MB/s in each direction; a half-duplex link would carry 72.
    assert plan(unwatched(144, detections=0.0), slow, NodePlan()).redis_shards == 1
    sheet = plan(unwatched(400), slow, NodePlan())
    assert (sheet.redis_shards, sheet.types_needed) == (3, 3)
    assert "network" in named(sheet, "one shard of a type").full


def test_one_camera_that_fills_a_redis_server_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one camera fill 1\.5 Redis servers by its node's network"):
        plan(unwatched(2), Measured(fps_per_core=100, network_mb_s=0.5), NodePlan())


def test_the_network_counts_each_byte_where_it_is_sent() -> None:
    sheet = plan(Demand(cameras=10, fps=10, frame_bytes=99_400, viewers=5), QUICK, NodePlan())
    assert sheet.viewer_mb_s == pytest.approx(5)
    assert sheet.network_mb_s == pytest.approx(sheet.redis_in_mb_s + sheet.redis_out_mb_s + 2 * sheet.viewer_mb_s)


def test_a_node_takes_whole_pods() -> None:
    assert plan(unwatched(500), Measured(fps_per_core=110), NodePlan(pod_cores=5, node_cores=8)).nodes == 18
    # Ten pods, three per node.
    assert plan(unwatched(5), Measured(100, producer_fps_per_core=1e6), NodePlan(0.1, node_cores=0.3)).nodes == 4


def test_a_pod_larger_than_a_node_is_refused() -> None:
    with pytest.raises(ValueError, match="A pod of 16 cores does not fit a node of 8 cores"):
        plan(unwatched(1), QUICK, NodePlan(pod_cores=16, node_cores=8))


def test_cores_of_redis_websocket_servers_and_gateways_count() -> None:
    demand = Demand(cameras=1, fps=15, viewers=960, watched_streams=1)
    sheet = plan(demand, QUICK, NodePlan())
    # 14,400 frames to viewers at 4,800 per core, and 729 MB/s at 400 per core
    assert sheet.service_cores == pytest.approx(3 + 729 / 400, abs=0.1)


def test_bottlenecks_come_in_the_order_in_which_they_are_met() -> None:
    sheet = plan(Demand(cameras=100_000), QUICK, NodePlan())
    starts = [each.at for each in (*sheet.bottlenecks, *sheet.next_bottlenecks)]
    assert starts == sorted(starts)
    assert "autoscaler" in sheet.bottlenecks[0].cure
    for part in (
        "node's cores",
        "10 pods",
        "queue and broker",
        "Redis of the queue",
        "shard of a type",
        "list of 5,000",
    ):
        named(sheet, part)
    for part in ("256 types", "150,000 pods", "5,000 nodes"):
        assert any(part in each.full for each in sheet.next_bottlenecks)


@pytest.mark.parametrize(
    "part",
    ["one inference pod", "node's cores", "10 pods", "queue and broker", "Redis of the queue", "shard of a type"],
)
def test_a_bottleneck_is_met_at_its_number_and_not_one_camera_before(part: str) -> None:
    at = named(plan(unwatched(2_000), QUICK, NodePlan()), part).at
    names = [
        [each.full for each in plan(unwatched(cameras), QUICK, NodePlan()).bottlenecks] for cameras in (at - 1, at)
    ]
    assert [any(part in each for each in found) for found in names] == [False, True]


def test_many_viewers_fill_websocket_servers_gateways_the_network_and_the_broker() -> None:
    sheet = plan(Demand(cameras=10, viewers=100_000), QUICK, NodePlan())
    for part in ("one websocket server", "one gateway", "node's network", "broker ("):
        found = named(sheet, part)
        assert found.of == "viewers"
        assert found.at < 60_000
    assert named(sheet, "one websocket server").at == 321  # 320 x 15 is 4,800
    assert sheet.nodes_by == "network"


def test_slow_cameras_fill_nodes_by_their_pods() -> None:
    sheet = plan(Demand(cameras=1_000, fps=1), QUICK, NodePlan())
    assert sheet.nodes_by == "pods"
    assert named(sheet, "110 pods").at < 110
    assert not [each for each in sheet.bottlenecks if "node's cores" in each.full]


def test_streams_in_the_list_are_cameras_times_types() -> None:
    assert named(plan(Demand(cameras=6_000, types=2), QUICK, NodePlan()), "list of").at == 2_501


def test_limits_of_other_parts_are_up_to_date() -> None:
    assert settings_of(GatewaySettings)["max_viewers"].default == SERVER_VIEWERS
    assert settings_of(WebsocketSettings)["max_viewers"].default == SERVER_VIEWERS
    assert MAX_TYPES == GATEWAY_TYPES


def test_the_command_prints_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cameras", "16", "--fps-per-core", "100"]) == 0
    assert "inference pods     3 of 1 core" in capsys.readouterr().out
    assert main(["--cameras", "16", "--fps-per-core", "100", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["pods"] == 3
    assert printed["network_mb_s"] > 0
    assert printed["bottlenecks"][0]["at"] == 6


def test_small_numbers_are_not_rounded_to_zero_and_one_is_singular(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cameras", "1", "--fps", "5", "--fps-per-core", "50", "--pod-cores", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert "0.2 for inference" in printed
    assert "from 1 camera:" in printed
    assert "1 server " in printed
    assert not re.search(r"[ (]1 (cameras|types|shards|servers|cores)", printed)


WRONG_OPTIONS = {
    "--cameras 0": "argument --cameras",
    "--cameras x": "argument --cameras",
    "--cameras 1 --size 12": "expected WIDTHxHEIGHT",
    "--cameras 1 --size ²²²x²²²": "expected WIDTHxHEIGHT",
    "--cameras 1 --frame-kb 5000": "expected 0.1 to 4,194.304",
    "--cameras 1 --size 16000x16000": "MAX_FRAME_BYTES",
    "--cameras 1 --pod-cores 16": "does not fit a node",
}


@pytest.mark.parametrize("wrong", WRONG_OPTIONS)
def test_wrong_options_are_named(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*wrong.split(), "--fps-per-core", "1"])
    assert WRONG_OPTIONS[wrong] in capsys.readouterr().err


def test_the_document_shows_what_the_planner_says() -> None:
    # Written by `python -m tests.bench.planner --document`.
    assert CAPACITY.read_text() == document(CAPACITY.read_text())


def test_the_documents_command_prints_the_sheet_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    written = CAPACITY.read_text()
    command = re.search(r"`tools/plan-capacity (--cameras 100000 [^`]*)`", written)
    assert command
    assert main(shlex.split(command[1])) == 0
    sheet, _, bottlenecks = capsys.readouterr().out.partition("\n\n")
    assert f"```\n{sheet}\n```" in written
    for full, cure in re.findall(r"from [^:]*: ([^:]*): (.*)", bottlenecks):
        assert f"| {full} | {cure} |" in written
