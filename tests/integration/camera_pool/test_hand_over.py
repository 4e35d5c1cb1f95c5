"""Cameras go from one source worker to another without a gap, without a lost number, and with an exact account."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters.leases import Holding, LeaseClient, Round
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.camera_pool import CameraPool
from tests.support.camera_site import CameraSite
from tests.support.pool_traffic import PoolTraffic, check_account
from tests.support.rtsp_plain import encode, rtsp_camera
from tests.support.waiting import busy, wait_for

TYPES = ("people", "car")
FPS = 10


@pytest.fixture(scope="module")
def site() -> Iterator[CameraSite]:
    with CameraSite() as running:
        yield running


@pytest.fixture
def pool(valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[CameraPool]:
    with CameraPool(valkey, tmp_path) as found:
        yield found


@pytest.fixture
def traffic(valkey: EmbeddedValkey) -> Iterator[PoolTraffic]:
    with PoolTraffic(valkey.port, *TYPES) as found:
        yield found


def test_a_drain_hands_over_all_types_at_the_same_frame(
    pool: CameraPool, site: CameraSite, traffic: PoolTraffic
) -> None:
    names = ["one", "two"]
    old = pool.worker().wait_ready()
    for name in names:
        pool.put(name, site.url(name), types=list(TYPES))
    for name, kind in itertools.product(names, TYPES):
        traffic.wait_more(name, kind, 3)
    new = pool.worker().wait_ready()
    old.begin_stop()
    for name, kind in itertools.product(names, TYPES):
        wait_for(lambda name=name, kind=kind: traffic.switches(name, kind), 60, f"the hand-over of {name} for {kind}")  # type: ignore[misc]
        traffic.wait_more(name, kind, 3)
    assert old.wait_end(30) == 0
    assert new.terminate() == 0
    for name in names:
        assert f"{name} is pushed by another worker now" in old.log(), "it pushes until the queue refuses it"
        first, second = (traffic.switches(name, kind) for kind in TYPES)
        assert [each.after.seq for each in first] == [each.after.seq for each in second]
        (switch,) = first
        assert switch.after.seq == switch.before.seq + 1
        # The former worker goes on until then; a busy machine holds up both.
        assert switch.gap_s < 5
    check_account(traffic)


def test_a_worker_that_has_only_just_joined_is_handed_to(
    pool: CameraPool, site: CameraSite, traffic: PoolTraffic, valkey: EmbeddedValkey
) -> None:
    old = pool.worker().wait_ready()
    pool.put("one", site.url("one"))
    traffic.wait_more("one", "people", 3)
    lease = LeaseClient(redis.Redis(port=valkey.port), "cameras", "new")
    held: dict[str, Holding] = {}

    def hold(capacity: float) -> Round:
        nonlocal held
        found = lease.renew(held, capacity)
        held = {name: Holding(claim.epoch) for name, claim in found.held.items()}
        return found

    assert hold(0.001).held == {}, "it has no room yet"
    # The old worker's last round does not know that there is another one, and the next one takes a while.
    pool.client.client_pause(1500)
    old.begin_stop()
    wait_for(lambda: hold(0.001).workers[old.pod].draining, 20, "the drain", every_s=0.2)
    traffic.wait_more("one", "people", 10)
    assert old.process is not None
    assert old.process.poll() is None, "it waits for the other one"
    assert hold(4.0).held.keys() == {"one"}
    traffic.wait_more("one", "people", 3)
    assert traffic.switches("one", "people") == [], "nobody else has pushed: it goes on"
    lease.close()


def test_a_camera_goes_on_under_a_newer_epoch_when_redis_has_lost_its_data(
    pool: CameraPool, site: CameraSite, traffic: PoolTraffic
) -> None:
    pool.worker()
    pool.put("one", site.url("one"), types=list(TYPES))
    before = {kind: traffic.wait_more("one", kind, 3)[-1] for kind in TYPES}
    pool.client.flushall()
    # Nobody has filled the registry again.
    for kind in TYPES:
        after = traffic.wait_more("one", kind, 10)
        assert after[-1].epoch > before[kind].epoch
        assert traffic.longest_gap("one", kind, before[kind].at) < 5, "it does not wait for two rounds"
        traffic.check_epochs(kind)


@pytest.mark.parametrize("second", ["refuse", pytest.param("replace", marks=pytest.mark.load)])
def test_a_camera_with_one_session_is_closed_before_another_worker_opens_it(
    pool: CameraPool, traffic: PoolTraffic, second: str
) -> None:
    old = pool.worker().wait_ready()
    with rtsp_camera(encode(4, FPS, FPS, "160x120"), FPS, second=second) as port:
        pool.put("one", f"rtsp://127.0.0.1:{port}/one", transport="tcp")
        traffic.wait_more("one", "people", 3)
        new = pool.worker().wait_ready()
        old.begin_stop()
        wait_for(lambda: traffic.switches("one", "people"), 60, "the hand-over")
        traffic.wait_more("one", "people", 3)
        assert old.wait_end(30) == 0
        assert new.terminate() == 0
    (switch,) = traffic.switches("one", "people")
    assert switch.after.seq == switch.before.seq + 1
    # The former session's end, a new one, and the next key frame, which comes every second.
    assert switch.gap_s < 4 * busy()
    # Else the camera would be free only when the drain has taken too long.
    assert {"refuse": "ends here, so that", "replace": "another worker"}[second] in old.log()
    check_account(traffic)
