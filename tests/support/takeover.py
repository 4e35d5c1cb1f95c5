"""What a pool of source workers promises when a worker ends or joins, for the tests of a process and of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.support.camera_site import CameraSite
from tests.support.pool_traffic import Switch
from tests.support.waiting import TIME_FACTOR, busy

# Seconds, on a machine that has nothing else to do.
CONNECTED_S, DELIVERS_S, GAP_S, FROZEN_S = 5.0, 8.0, 1.0, 20.0


def allowed(promised_s: float) -> float:
    """The bar of a time on this machine, as busy as it is."""
    return promised_s * TIME_FACTOR * busy()


def check_takeover(cameras: CameraSite, mine: Sequence[str], switches: Mapping[str, Switch], began: float) -> None:
    """Other workers deliver the cameras of a worker that was killed at `began` (the clock's time)."""
    connected_s = cameras.reconnected_s(mine, began)
    delivers_s = max(switches[name].after.at - began for name in mine)
    print(
        f"\na worker with {len(mine)} cameras was killed: connected after {connected_s:.1f} s, delivers after "
        f"{delivers_s:.1f} s"
    )
    assert connected_s < allowed(CONNECTED_S)
    assert delivers_s < allowed(DELIVERS_S)


def check_gaps(gap_s: float, longest_s: float, longest_allowed_s: float) -> None:
    """`gap_s` is the longest gap of a change of worker, `longest_s` the longest of any camera."""
    assert gap_s < allowed(GAP_S)
    assert longest_s < allowed(longest_allowed_s), "also without a change of worker"
