"""The source worker as real processes: cameras come, change, crash and move."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.camera import CameraState, CameraStatus
from tests.support.bad_cameras import BadCamera
from tests.support.camera_pool import CameraPool, children_of, opens
from tests.support.system import ServiceProcess
from tests.support.videos import write_video
from tests.support.waiting import wait_for

FPS = 10


@pytest.fixture
def pool(valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[CameraPool]:
    with CameraPool(valkey, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mkv", 12, FPS).as_uri()


def test_cameras_come_change_and_go_while_it_runs(pool: CameraPool, clip: str) -> None:
    worker = pool.worker().wait_ready()
    with BadCamera() as silent:
        pool.put("one", clip)
        pool.put("silent", f"rtsp://127.0.0.1:{silent.port}/?key=s3cret", login={"user": "u", "password": "pass-w0rd"})
        assert pool.wait_state("one", "live").worker == worker.pod
        pool.wait_frames("one", 5)
        pool.put("two", clip, fps=5, width=32)
        pool.wait_state("two", "live")
        found = [frame for _, frame in pool.wait_frames("two", 3)]
        assert {(frame.width, frame.height) for frame in found} == {(32, 24)}
        wait_for(lambda: silent.connections, what="a try to open the silent camera")
        status = pool.wait_state("silent", "reconnecting")
        assert status.worker == worker.pod
        assert worker.ready()["ready"], "a bad camera fails no readiness"
        counter = 'ei_frames_pushed_total{infer_type="people",stream="two"}'
        wait_for(lambda: worker.metrics().get(counter), what="the camera's metrics")
        assert worker.metric("ei_cameras") == 3
        assert worker.metric("ei_scale_ratio") > 0
        pool.put("two", clip, fps=5, width=48)
        wait_for(lambda: pool.wait_frames("two", 1)[-1][1].width == 48, what="the new size")
        pool.remove("two")
        wait_for(lambda: worker.metric("ei_cameras") == 2, what="the removal")
        assert not [key for key in worker.metrics() if 'stream="two"' in key]
        shown = worker.log() + "".join(
            Path(f"/proc/{pid}/{name}").read_bytes().decode()
            for pid in children_of(worker)
            for name in ("cmdline", "environ")
        )
        assert "pass-w0rd" not in shown
        assert "s3cret" not in shown
    assert worker.terminate() == 0


def test_a_camera_that_crashes_its_process_is_quarantined_and_the_others_go_on(pool: CameraPool, clip: str) -> None:
    worker = pool.worker()
    with BadCamera() as silent:
        for name in ("one", "two"):
            pool.put(name, clip)
        pool.wait_frames("one", 3)
        pool.put("bad", f"rtsp://127.0.0.1:{silent.port}/")
        for crash in (1, 2):
            crash_the_process_that_opens(pool, worker, silent, crash)
        status = pool.wait_state("bad", "quarantined")
        assert "crashed 2 processes" in (status.reason or "")
        assert worker.ready()["ready"]
        before = silent.connections
        wait_for(lambda: silent.connections > before, 30, "another try, after a pause")
        pool.wait_frames("one", 3)


# In each process of cameras, as Python starts it: decoding reads from address 0. It does so with the first packet of
# video of one width, and with the sixth of another.
AT_ONCE, LATER = 48, 56
CRASHES = f"""
import ctypes, itertools, sys
if "elastic_inference.flows.produce.pool.child" in sys.orig_argv:
    from elastic_inference.adapters.source.decoder import Decoder
    decode, packets = Decoder.decode, itertools.count(1)
    def crash(self, packet, *more):
        width = packet.stream.width if packet is not None else 0
        if width == {AT_ONCE} or (width == {LATER} and next(packets) == 6):
            ctypes.string_at(0)
        return decode(self, packet, *more)
    Decoder.decode = crash
"""


@pytest.mark.parametrize("width", [AT_ONCE, LATER], ids=["at once", "later"])
def test_video_that_crashes_the_decoder_is_found_among_the_others(
    valkey: EmbeddedValkey, clip: str, tmp_path: Path, width: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(CRASHES)
    bad = write_video(tmp_path / "bad.mkv", 12, FPS, codec="mpeg4", size=(width, 32)).as_uri()
    good = [f"good-{number}" for number in range(6)]
    with CameraPool(valkey, tmp_path, {"PYTHONPATH": str(tmp_path), "CAMERA_PROCESSES": "1"}) as pool:
        # All of them are being opened when the process crashes.
        for name in good:
            pool.put(name, clip)
        pool.put("bad", bad)
        worker = pool.worker()
        assert "crashed 2 processes" in (pool.wait_state("bad", "quarantined").reason or "")
        for name in good:
            pool.wait_frames(name, 3)
            pool.wait_state(name, "live")
        assert re.findall("suspected: (.*?);", worker.log())[:2] == ["bad", "bad"]
        assert worker.ready()["ready"]


def test_the_cameras_of_a_killed_worker_are_taken_over(pool: CameraPool, clip: str) -> None:
    first, second = pool.worker().wait_ready(), pool.worker().wait_ready()
    names = [f"camera-{number}" for number in range(4)]
    for name in names:
        pool.put(name, clip)
    for name in names:
        pool.wait_state(name, "live")
        pool.wait_frames(name, 3)

    def workers() -> set[str | None]:
        pool.take()
        return {status.worker for name in names if (status := pool.status(name)) and status.state.value == "live"}

    wait_for(lambda: workers() == {first.pod, second.pod}, 30, "both workers' shares")
    first.kill()
    wait_for(lambda: workers() == {second.pod}, 60, "the takeover")
    for name in names:
        pool.wait_frames(name, 3)
        check_numbers([frame.seq or 0 for _, frame in pool.frames[name]])


def check_numbers(numbers: list[int]) -> None:
    """Numbers of frames rise, over takeovers and hand-overs too."""
    assert all(after > before for before, after in itertools.pairwise(numbers)), numbers


def test_a_frozen_worker_pushes_nothing_when_it_wakes(pool: CameraPool, clip: str) -> None:
    frozen = pool.worker().wait_ready()
    pool.put("one", clip)
    pool.wait_state("one", "live")
    pids = [frozen.process.pid, *children_of(frozen)] if frozen.process else []
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    other = pool.worker()
    wait_for(lambda: pool.take() or (pool.status("one") or CameraStatus(CameraState.QUIET)).worker == other.pod, 60)
    pool.wait_frames("one", 3)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: pool.take() or frozen.metric("ei_cameras") == 0, 30, "the frozen worker to notice")
    pool.wait_frames("one", 2 * FPS)
    check_numbers([frame.seq or 0 for _, frame in pool.frames["one"]])
    status = pool.status("one")
    assert status is not None
    assert status.worker == other.pod


def crash_the_process_that_opens(pool: CameraPool, worker: ServiceProcess, camera: BadCamera, tries: int) -> None:
    """Crashes the process that opens a camera, after `tries` attempts to open it; the others go on."""
    wait_for(lambda: camera.connections >= tries, 30, "the bad camera's opening")
    pool.wait_frames("one", 3)
    pool.wait_frames("two", 3)
    victim = wait_for(lambda: opens(worker, camera.port), 30, "the connection")
    os.kill(victim, signal.SIGSEGV)
    wait_for(lambda: victim not in children_of(worker), what="the crash")
    pool.wait_frames("one", 3)
    pool.wait_frames("two", 3)
