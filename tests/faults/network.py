"""Faults of the network, made by proxies on loopback: half-open connections, whose other side is gone, and cut ones."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.processes import may_lose_replies
from tests.faults.runner import Fault, Seen
from tests.faults.site import CAMERAS, Site

NETWORK = "the network"
# The network loses everything for this long. Connections that were open then never work again.
SWALLOWS_S = 3.0


def half_open(*names: str, requests: bool = True) -> Callable[[Site, Seen], None]:
    """These links lose their other side; with `requests` false, requests still arrive but their replies do not."""

    def inject(site: Site, seen: Seen) -> None:
        pods = [name for name in names if name.startswith("pod")]
        if pods:
            may_lose_replies(site, seen, 16 * len(pods))
        proxies = [site.proxies[name] for name in names]
        for proxy in proxies:
            proxy.break_open(requests=requests)
            proxy.swallowing = True
        time.sleep(SWALLOWS_S)
        for proxy in proxies:
            proxy.swallowing = False
        if len(pods) < 2:
            seen.others_go_on(*(name for name in names if name in CAMERAS))

    return inject


def cut(*names: str) -> Callable[[Site, Seen], None]:
    """These links are cut, and connect again at once."""

    def inject(site: Site, seen: Seen) -> None:
        may_lose_replies(site, seen, 16 * sum(name.startswith("pod") for name in names))
        for name in names:
            site.proxies[name].cut()

    return inject


ALL = ("pod-1", "pod-2", "websocket-server", "gateway", "housekeeping", *CAMERAS)
FAULTS = tuple(
    Fault(NETWORK, name, inject, "network")
    for name, inject in (
        ("half open between a pod and Redis", half_open("pod-1")),
        ("answers of Redis to both pods lost", half_open("pod-1", "pod-2", requests=False)),
        ("half open between a camera and Redis", half_open("video-1")),
        ("answers of Redis to a camera lost", half_open("video-1", requests=False)),
        ("half open between websocket server and Redis", half_open("websocket-server")),
        ("half open between gateway and Redis", half_open("gateway")),
        ("half open between housekeeping and Redis", half_open("housekeeping")),
        ("half open between gateway and websocket server", half_open("tunnel")),
        ("half open between viewers and gateway", half_open("viewers")),
        ("half open between all and Redis", half_open(*ALL)),
        ("all links to Redis cut", cut(*ALL)),
    )
)
