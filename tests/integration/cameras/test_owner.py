"""The owner of the cameras with its file, on a real Valkey."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio as aioredis

from elastic_inference.adapters.camera_registry.camera_file import parse
from elastic_inference.adapters.camera_registry.camera_reader import CameraReader
from elastic_inference.adapters.camera_registry.camera_values import read_spec, read_wanted, status_value
from elastic_inference.adapters.camera_registry.file_store import FileStore
from elastic_inference.adapters.camera_registry.owner import CameraOwner
from elastic_inference.adapters.camera_registry.requests import CameraRequests, Reply
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus

LIMIT_S = 20.0
FIRST = """\
# my cameras
cameras:
  - {name: gate, url: 'http://10.0.0.8/v?key=k1', login: {user: viewer, password: se cret}}
  - {name: yard, url: 'rtsp://10.0.0.7/live'}
  - {name: till, url: 'rtsp://10.0.0.9/live', enabled: false}
"""


class Site:
    """A file, its owner, and what a gateway and a worker see of them."""

    def __init__(self, server: EmbeddedValkey, path: Path) -> None:
        self.path = path
        self.sync = redis.Redis(port=server.port)
        self._asking = aioredis.Redis(port=server.port)
        self.requests = CameraRequests(self._asking)
        self.problem: str | None = None
        self.refused = 0
        self._port = server.port

    def refuse(self) -> None:
        self.refused += 1

    async def close(self) -> None:
        self.sync.close()
        await self._asking.aclose()

    @asynccontextmanager
    async def owner(self, name: str = "replica-1", path: Path | None = None) -> AsyncIterator[CameraOwner]:
        client, stop = aioredis.Redis(port=self._port), asyncio.Event()

        def report(problem: str | None) -> None:
            self.problem = problem

        owner = CameraOwner(client, FileStore(path or self.path, self.refuse), name, report)
        task = asyncio.create_task(owner.run(stop))
        try:
            yield owner
        finally:
            stop.set()
            await task
            await client.aclose()

    def revisions(self) -> dict[str, int]:
        found = {}
        for raw_name, raw in self.sync.hgetall(keys.CAMERA_SPECS).items():
            camera = read_spec(raw_name.decode(), raw)
            assert camera is not None
            found[raw_name.decode()] = camera.revision
        return found

    def wanted(self) -> set[str]:
        return {name.decode() for name in self.sync.hgetall(keys.CAMERA_WANTED)} - {":known"}

    async def ask(self, action: str, name: str, spec: dict[str, Any] | None = None, **more: Any) -> Reply:
        return await self.requests.ask(keys.CAMERA_REQUESTS, action, name, spec, by="test", **more)


async def until(fits: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            while not fits():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited {LIMIT_S} s for {what}") from None


@pytest.fixture(autouse=True)
def quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elastic_inference.adapters.camera_registry.owner.ROUND_S", 0.25)
    monkeypatch.setattr("elastic_inference.adapters.camera_registry.owner.COMPARE_EVERY_S", 0.75)


@pytest.fixture
async def site(valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[Site]:
    path = tmp_path / "cameras.yaml"
    path.write_text(FIRST)
    found = Site(valkey, path)
    yield found
    await found.close()


async def test_the_file_is_in_the_registry_and_a_change_touches_no_other_camera(site: Site) -> None:
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        assert site.wanted() == {"gate", "yard"}
        assert "se cret" not in str(site.sync.hgetall(keys.CAMERA_SPECS))
        gate = CameraReader(site.sync).read(["gate"])["gate"].spec
        assert gate.login is not None
        assert gate.url.endswith("key=k1")
        before = site.revisions()
        site.path.write_text(FIRST.replace("10.0.0.7", "10.0.0.6").replace("enabled: false", "fps: 5"))
        await until(lambda: site.wanted() == {"gate", "yard", "till"}, "the camera that is not paused any more")
        after = site.revisions()
        assert after["gate"] == before["gate"]
        assert after["yard"] > before["yard"]
        site.path.write_text("cameras: []\n")
        await until(lambda: not site.revisions(), "no camera")
        assert not site.sync.exists(keys.CAMERA_SECRETS)
        assert site.sync.hgetall(keys.CAMERA_WANTED) == {b":known": b"1"}, "nothing is wanted, and that is known"


async def test_a_redis_that_lost_all_or_holds_rubbish_is_filled_again(site: Site) -> None:
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        before = site.revisions()
        site.sync.flushall()
        await until(lambda: site.revisions() == before, "the cameras, of the same revisions")
        site.sync.hset(keys.CAMERA_SPECS, "gate", "{}")
        site.sync.hset(keys.CAMERA_WANTED, "other", "1 1")
        await until(lambda: site.wanted() == {"gate", "yard"}, "the camera that nobody added to be removed")
        await until(lambda: site.revisions() == before, "the broken camera")
        site.sync.set(keys.CAMERA_SPECS, "a text")
        await until(lambda: site.sync.type(keys.CAMERA_SPECS) == b"hash" and site.revisions() == before, "a hash")


async def test_revisions_outlive_a_restart_of_the_owner(site: Site) -> None:
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        before = site.revisions()
    site.path.write_text(FIRST.replace("10.0.0.7", "10.0.0.6"))
    async with site.owner("replica-2"):
        await until(lambda: site.revisions()["yard"] > before["yard"], "the change made meanwhile")
        assert site.revisions()["gate"] == before["gate"]


async def test_a_broken_file_keeps_the_last_good_state_and_says_the_line_and_field(site: Site) -> None:
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        before = site.revisions()
        site.path.write_text(FIRST + "  - name: new\n    url: rtsp://10.0.0.5\n    fps: se cret\n")
        await until(lambda: site.problem, "the problem")
        assert site.problem is not None
        assert "line 8: camera new, fps: expected a number" in site.problem
        assert "se cret" not in site.problem
        refused = await site.ask("create", "door", {"name": "door", "url": "rtsp://10.0.0.4"})
        assert (refused.status, "line 8" in refused.message) == (409, True)
        site.sync.flushall()
        await until(lambda: site.revisions() == before, "the last good state")
        site.path.unlink()
        await until(lambda: "missing" in str(site.problem), "the file to be missed")
        assert site.revisions() == before
        site.path.write_text(FIRST)
        await until(lambda: site.problem is None, "the mended file")
        assert site.revisions() == before


@pytest.mark.parametrize("content", ["", "cameras:\n", "# cameras: later\n"])
async def test_only_an_explicit_empty_list_removes_all(site: Site, content: str) -> None:
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        before = site.revisions()
        site.path.write_text(content)
        await until(lambda: "write `cameras: []`" in str(site.problem), "the problem")
        assert site.refused == 1
        assert site.revisions() == before
        site.path.write_text("cameras: []\n")
        await until(lambda: not site.revisions(), "no cameras")
        assert site.problem is None


async def test_a_file_that_is_being_written_loses_no_camera(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elastic_inference.adapters.camera_registry.file_store.HALF_WRITTEN_S", 3.0)
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        before = site.revisions()
        half, rest = FIRST[: FIRST.index("  - {name: till")], FIRST[FIRST.index("  - {name: till") :]
        for _ in range(3):
            with site.path.open("w") as file:
                file.write(half)
                file.flush()
                ends = time.monotonic() + 0.6
                while time.monotonic() < ends:  # several rounds
                    assert site.revisions() == before
                    await asyncio.sleep(0.02)
                file.write(rest)
            await asyncio.sleep(0.6)
        assert site.revisions() == before
        site.path.write_text(half)
        await until(lambda: site.revisions().keys() == {"gate", "yard"}, "what stays away")


async def test_a_file_broken_at_the_start_leaves_the_registry_alone(site: Site) -> None:
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        before = site.revisions()
    site.path.write_text("cameras: 7")
    async with site.owner():
        await until(lambda: site.problem, "the problem")
        assert site.revisions() == before


async def test_requests_change_the_file_and_the_registry(site: Site) -> None:
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        new = {"name": "door", "url": "rtsp://10.0.0.4/a", "login": {"user": "u", "password": "p w"}}
        created = await site.ask("create", "door", new)
        assert created.status == 201
        assert created.document["has_login"] is True
        assert "p w" not in str(created)
        assert (site.path.stat().st_mode & 0o777) == 0o600
        assert set(parse(site.path.read_bytes())) == {"gate", "yard", "till", "door"}
        assert site.wanted() == {"gate", "yard", "door"}, "it is in the registry when the answer comes"
        revision = created.document["revision"]
        assert (await site.ask("create", "door", new)).status == 409
        assert (await site.ask("patch", "door", {"fps": 5}, revision=revision - 1)).status == 412
        changed = await site.ask("patch", "door", {"fps": 5}, revision=revision)
        assert changed.status == 200
        assert changed.document["revision"] > revision
        wrong = await site.ask("patch", "door", {"fps": 0})
        assert (wrong.status, wrong.fields) == (400, {"fps": "Expected more than 0."})
        replaced = await site.ask("replace", "door", {"url": "rtsp://10.0.0.4/b"})
        login = CameraReader(site.sync).read(["door"])["door"].spec.login
        assert (replaced.status, login and login.password.get_secret_value()) == (200, "p w")
        assert (await site.ask("patch", "none", {})).status == 404
        assert (await site.ask("dance", "door", {})).status == 400
        assert (await site.ask("delete", "door")).status == 204
        assert "door" not in site.revisions()
        assert not [each for each in site.path.parent.iterdir() if each.name.startswith(".")], "nothing is left over"


async def test_many_requests_at_once_are_made_durable_together(site: Site) -> None:
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        names = [f"cam-{n}" for n in range(40)]
        replies = await asyncio.gather(
            *(site.ask("create", name, {"name": name, "url": "rtsp://10.0.0.4/" + name}) for name in names)
        )
        assert [reply.status for reply in replies] == [201] * 40
        assert len(parse(site.path.read_bytes())) == len(site.wanted()) + 1 == 43
        twice = await asyncio.gather(*(site.ask("delete", "cam-1") for _ in range(2)))
        assert sorted(reply.status for reply in twice) == [204, 404]


async def test_a_file_that_cannot_be_replaced_is_said_with_what_to_do(site: Site, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Root may write everywhere, but no one replaces a folder with a file.
        folder = tmp_path / "mounted.yaml"
        site.path.rename(tmp_path / "real.yaml")
        folder.mkdir()
        path = folder
    else:
        path = site.path
        tmp_path.chmod(0o500)
    try:
        async with site.owner(path=path):
            await until(lambda: site.problem, "the problem")
            refused = await site.ask("create", "door", {"name": "door", "url": "rtsp://10.0.0.4"})
            assert refused.status == 409
            assert str(path) in refused.message
    finally:
        tmp_path.chmod(0o700)


async def test_the_first_camera_makes_the_file(site: Site) -> None:
    site.path.unlink()
    async with site.owner():
        created = await site.ask("create", "door", {"name": "door", "url": "rtsp://10.0.0.4"})
        assert created.status == 201
        assert set(parse(site.path.read_bytes())) == {"door"}


async def test_one_replica_owns_and_the_other_follows_at_once(site: Site) -> None:
    async with site.owner("replica-1") as first:
        await until(lambda: first.leads, "the first to own")
        async with site.owner("replica-2") as second:
            await asyncio.sleep(0.6)
            assert first.leads
            assert not second.leads
            site.sync.set(keys.CAMERA_OWNER, "replica-2\n")
            await until(lambda: second.leads and not first.leads, "the lock to decide")
            assert (await site.ask("delete", "yard")).status == 204
    assert not site.sync.exists(keys.CAMERA_OWNER), "given back at the end"


async def test_the_measured_cost_is_what_leases_distribute(site: Site) -> None:
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")

        def cost() -> float:
            found = read_wanted(site.sync.hget(keys.CAMERA_WANTED, "yard"))
            assert found is not None
            return found[1]

        assert cost() == 0.15
        site.sync.hset(keys.CAMERA_STATUS, "yard", status_value(CameraStatus(CameraState.LIVE, cost=0.4)))
        site.sync.hset(keys.CAMERA_STATUS, "gone", status_value(CameraStatus(CameraState.LIVE)))
        await until(lambda: cost() == 0.4, "the measured cost")
        assert not site.sync.hexists(keys.CAMERA_STATUS, "gone")
        # A worker that has just opened it has measured nothing yet.
        site.sync.hset(keys.CAMERA_STATUS, "yard", status_value(CameraStatus(CameraState.LIVE)))
        assert (await site.ask("patch", "yard", {"enabled": False})).status == 200
        assert site.wanted() == {"gate"}
        assert (await site.ask("patch", "yard", {"enabled": True})).status == 200
        assert cost() == 0.4, "as measured before"


async def test_a_new_camera_is_expected_to_cost_what_the_measured_ones_do(site: Site) -> None:
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        for name in ("gate", "yard", "till"):
            site.sync.hset(keys.CAMERA_STATUS, name, status_value(CameraStatus(CameraState.LIVE, cost=0.04)))
        assert (await site.ask("create", "new", {"name": "new", "url": "rtsp://10.0.0.7/2"})).status == 201
        assert read_wanted(site.sync.hget(keys.CAMERA_WANTED, "new")) == (site.revisions()["new"], 0.04)
        # A value that the leases would not accept would end the camera.
        site.sync.hset(keys.CAMERA_STATUS, "gate", status_value(CameraStatus(CameraState.LIVE, cost=1e12)))
        await until(lambda: (read_wanted(site.sync.hget(keys.CAMERA_WANTED, "gate")) or (0, 0.0))[1] == 4, "a limit")
        cost = read_wanted(site.sync.hget(keys.CAMERA_WANTED, "new"))
        assert cost is not None
        assert cost[1] < 0.1, "one value moves it little"


async def test_requests_that_are_old_or_malformed_change_nothing(site: Site) -> None:
    async with site.owner() as owner:
        await until(lambda: owner.leads, "the owner")
        old = '{"id": "a", "action": "delete", "name": "yard", "spec": {}, "time_ms": 1}'
        site.sync.rpush(keys.CAMERA_REQUESTS, old, "rubbish", b"\xff", "{}")
        await until(lambda: not site.sync.llen(keys.CAMERA_REQUESTS), "the requests to be taken")
        assert (await site.ask("patch", "yard", {"fps": 3})).status == 200


async def test_a_bug_in_one_request_costs_the_others_no_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = FileStore.create

    async def create(store: FileStore, spec: CameraSpec) -> None:
        if spec.name == "bad":
            raise RuntimeError("a bug")
        await real(store, spec)

    def render(_: object) -> bytes:
        raise RuntimeError("another bug")

    monkeypatch.setattr(FileStore, "create", create)
    async with site.owner():
        await until(lambda: len(site.revisions()) == 3, "three cameras")
        specs = {name: {"name": name, "url": "rtsp://10.0.0.7/live"} for name in ("bad", "good")}
        replies = await asyncio.gather(*(site.ask("create", name, spec) for name, spec in specs.items()))
        assert [reply.status for reply in replies] == [503, 201]
        monkeypatch.setattr("elastic_inference.adapters.camera_registry.file_store.render", render)
        assert (await site.ask("delete", "good")).status == 503
        assert "good" in site.revisions()
