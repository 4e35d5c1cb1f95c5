"""Some faults against a loaded system, each of which must pass. `make test-faults` has the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.places import PLACES
from tests.faults.record import Account
from tests.faults.runner import Fault, run_fault
from tests.faults.site import Site
from tests.faults.suite import FAULTS

pytestmark = pytest.mark.alone

SHORT = [fault for fault in FAULTS if fault.short]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with PLACES["plain"].site() as running:
        yield running


@pytest.fixture(scope="module")
def accounts(site: Site) -> list[Account]:
    """The account at the end of each fault so far."""
    return [site.settle()]


@pytest.mark.parametrize("fault", SHORT, ids=lambda fault: f"{fault.group}: {fault.name}")
def test_all_is_back_and_every_frame_counted(site: Site, accounts: list[Account], fault: Fault) -> None:
    row, account = run_fault(site, fault, accounts[-1])
    accounts.append(account)
    assert not row.fails(), f"{row.verdict()}; {row.as_dict()}"
