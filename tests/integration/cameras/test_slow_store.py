"""The owner of the cameras with a store that is slow, and cameras that are too large for the registry."""

from __future__ import annotations

import asyncio

import pytest

from elastic_inference.adapters.camera_registry.file_store import FileStore
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from tests.integration.cameras.test_owner import Site, quick_rounds, site, until

__all__ = ["quick_rounds", "site"]  # fixtures


class SlowStore(FileStore):
    """A store that takes longer for a change than the owner's lock lasts."""

    async def replace(self, spec: CameraSpec) -> None:
        await asyncio.sleep(2.0)
        await super().replace(spec)


async def test_a_slow_store_costs_no_lock_and_no_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = "elastic_inference.adapters.camera_registry"
    for name, value in (("owner._LOCK_SURE_S", 1.0), ("owner._LEAD_EVERY_S", 0.1), ("writer.LOCK_LIFE_S", 1.5)):
        monkeypatch.setattr(f"{registry}.{name}", value)
    monkeypatch.setattr("tests.integration.cameras.test_owner.FileStore", SlowStore)
    async with site.owner():
        await until(lambda: site.wanted() == {"gate", "yard"}, "the cameras")
        asked = asyncio.create_task(site.ask("patch", "yard", {"fps": 3}))
        while not asked.done():
            assert site.sync.exists(keys.CAMERA_OWNER), "another replica would take over"
            await asyncio.sleep(0.05)
        assert (await asked).status == 200


async def test_a_camera_that_the_registry_cannot_hold_is_refused(site: Site) -> None:
    # Each of these characters takes 12 bytes in it.
    words = {"labels": ["\U0001f4f7" * 120, "\U0001f4f8" * 120]}
    zones = [{"name": f"z-{each}", "points": [[0, 0], [0, 1], [1, 1]], **words} for each in range(12)]
    lines = [{"name": f"l-{each}", "from": [0, 0], "to": [1, 1], **words} for each in range(12)]
    async with site.owner():
        await until(lambda: site.wanted() == {"gate", "yard"}, "the cameras")
        assert (await site.ask("patch", "yard", {"zones": zones})).status == 200
        refused = await site.ask("patch", "yard", {"lines": lines})
        assert (refused.status, "at most 64 kB" in refused.message) == (400, True)
        assert site.revisions().keys() == {"gate", "yard", "till"}
