"""The planner's arithmetic, by hand."""

import json

import pytest

from elastic_inference.planning.capacity import Demand, Layout, Measured, plan
from elastic_inference.planning.plan_capacity import main


def test_pods_are_frames_over_what_a_pod_does_at_the_target() -> None:
    sheet = plan(Demand(cameras=16, fps=15), Measured(fps_per_core=100), Layout(pod_cores=1, target=0.8))
    assert sheet.frames_s == 240
    assert sheet.pods == 3  # 240 / 80
    assert plan(Demand(cameras=16, fps=15), Measured(fps_per_core=100), Layout(pod_cores=0.5)).pods == 6


def test_each_type_gets_each_frame() -> None:
    one = plan(Demand(cameras=10, types=1), Measured(fps_per_core=50), Layout())
    two = plan(Demand(cameras=10, types=2), Measured(fps_per_core=50), Layout())
    assert two.frames_s == 2 * one.frames_s
    assert two.producer_cores == one.producer_cores  # encoded once


def test_redis_takes_each_frame_in_and_gives_it_out_and_watched_ones_again() -> None:
    unwatched = Demand(cameras=10, fps=10, frame_bytes=100_000, viewers=0, watched_streams=0)
    sheet = plan(unwatched, Measured(fps_per_core=100), Layout())
    assert sheet.redis_out_mb_s == pytest.approx(10, rel=0.02)
    watched = plan(Demand(cameras=10, fps=10, frame_bytes=100_000, viewers=10), Measured(fps_per_core=100), Layout())
    assert watched.redis_out_mb_s == pytest.approx(2 * sheet.redis_out_mb_s, rel=0.02)


def test_bottlenecks_come_in_the_order_in_which_they_are_met() -> None:
    lines = plan(Demand(cameras=100_000), Measured(fps_per_core=100), Layout()).bottlenecks
    starts = [int(line.split()[1]) for line in lines]
    assert starts == sorted(starts)
    assert len(lines) >= 5
    assert "autoscaler" in lines[0]


def test_the_command_prints_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cameras", "16", "--fps-per-core", "100"]) == 0
    assert "inference pods     3 of 1 cores" in capsys.readouterr().out
    assert main(["--cameras", "16", "--fps-per-core", "100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pods"] == 3


@pytest.mark.parametrize("wrong", [["--cameras", "0"], ["--cameras", "x"], ["--cameras", "1", "--size", "12"]])
def test_wrong_options_are_named(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*wrong, "--fps-per-core", "1"])
    assert "argument" in capsys.readouterr().err
