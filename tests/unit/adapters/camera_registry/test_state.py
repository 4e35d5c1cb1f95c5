"""The state of a camera that moves from one worker to another."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.camera_registry.camera_values import RegisteredCamera
from elastic_inference.adapters.camera_registry.listing import CameraRecords
from elastic_inference.adapters.camera_registry.state import OPENING, status_of
from elastic_inference.adapters.leases.lease_rows import read_leases
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus
from elastic_inference.domain.leases import LEAVING_S

NOW_S = 1_790_000_000.0
CAMERA = RegisteredCamera(1, CameraSpec(name="gate", url="rtsp://10.0.0.7/1"), has_login=False)


def _us(at_s: float) -> int:
    return round(at_s * 1e6)


def _status(
    reported: CameraStatus | None, left_s: float = 2.0, alive: tuple[str, ...] = ("old:1", "new:1")
) -> CameraStatus:
    """The camera's status when `new` claimed it from `old` this many seconds ago."""
    row = f"7 new:1 0.1 {_us(NOW_S)} 0 old:1 {_us(NOW_S - left_s)}".encode()
    workers = {name.encode(): f"{_us(NOW_S)} 2 0.1 0 3000000 0.1 1".encode() for name in alive}
    leases, lives = read_leases({b"gate": row}, workers, NOW_S)
    statuses = {} if reported is None else {"gate": reported}
    return status_of(
        "gate", CAMERA, CameraRecords(cameras={"gate": CAMERA}, statuses=statuses, leases=leases, workers=lives)
    )


def test_a_camera_that_moves_shows_what_the_worker_says_that_still_runs_it() -> None:
    shown = _status(CameraStatus(CameraState.LIVE, None, "old", fps=15.0))
    assert (shown.state, shown.reason, shown.worker, shown.fps) == (
        CameraState.LIVE,
        "It is moving to new.",
        "old",
        15.0,
    )
    shown = _status(CameraStatus(CameraState.RECONNECTING, "It does not answer.", "old"))
    assert (shown.state, shown.reason) == (CameraState.RECONNECTING, "It does not answer.")
    shown = _status(CameraStatus(CameraState.RECONNECTING, None, "new"))
    assert shown.reason == "It is being opened.", "nothing has failed yet"
    shown = _status(CameraStatus(CameraState.LIVE, None, "new"))
    assert (shown.state, shown.reason, shown.worker) == (CameraState.LIVE, None, "new")


@pytest.mark.parametrize(
    ("reported", "left_s", "alive"),
    [
        (CameraStatus(CameraState.LIVE, None, "old"), 2.0, ("new:1",)),
        (CameraStatus(CameraState.LIVE, None, "old"), LEAVING_S + 1, ("old:1", "new:1")),
        (CameraStatus(CameraState.LIVE, None, "third"), 2.0, ("old:1", "new:1")),
        (None, 2.0, ("old:1", "new:1")),
    ],
    ids=["the former worker is dead", "it had its time", "another one", "nobody reports"],
)
def test_an_old_report_of_a_worker_that_no_longer_runs_it_does_not_count(
    reported: CameraStatus | None, left_s: float, alive: tuple[str, ...]
) -> None:
    shown = _status(reported, left_s, alive)
    assert (shown.state, shown.reason, shown.worker) == (CameraState.RECONNECTING, OPENING, "new")


def test_a_live_camera_says_which_of_its_types_no_pod_serves() -> None:
    camera = RegisteredCamera(1, CameraSpec(name="gate", url="rtsp://10.0.0.7/1", types=("people", "car", "face")))
    leases, alive = read_leases(
        {b"gate": f"7 new:1 0.1 {_us(NOW_S)} 0 - 0".encode()},
        {b"new:1": f"{_us(NOW_S)} 2 0.1 0 3000000 0.1 1".encode()},
        NOW_S,
    )
    live = CameraStatus(CameraState.LIVE, "The substream can't be used.", "new")

    def shown(served: frozenset[str] | None, reported: CameraStatus = live) -> tuple[CameraState, str | None, int]:
        records = CameraRecords(statuses={"gate": reported}, leases=leases, workers=alive, served=served)
        found = status_of("gate", camera, records)
        return found.state, found.reason, len(found.waiting_types)

    one = "No inference pod serves the type car now: its frames wait for one."
    two = "No inference pod serves the types car, face now: their frames wait for one."
    why = live.reason
    assert shown(frozenset(("people", "face"))) == (CameraState.LIVE, f"{why} {one}", 1)
    assert shown(frozenset(("people",))) == (CameraState.LIVE, f"{why} {two}", 2)
    assert shown(frozenset(camera.spec.types)) == (CameraState.LIVE, why, 0)
    assert shown(None) == (CameraState.LIVE, why, 0), "the broker does not answer"
    stalled = CameraStatus(CameraState.STALLED, "No data for 5 s.", "new")
    assert shown(frozenset(), stalled) == (CameraState.STALLED, "No data for 5 s.", 3), "its own trouble comes first"
