"""tools/run-css.sh and run-fss.sh: real scripts, real services; a stand-in only for the container engine."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.ports import free_port
from tests.support.scripts import TOOLS, recorded_call, recording_engine, run, stopped_after
from tests.support.videos import write_video
from tests.support.waiting import wait_for

SECRET = "pa55-of-the-camera"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return recording_engine(tmp_path)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "my clip.avi"
    write_video(path, 10)
    return path


def test_a_file_streams_into_the_queue_with_a_login(clip: Path, environ: dict[str, str]) -> None:
    with (
        EmbeddedValkey(options=("--user", "camera", "on", f">{SECRET}", "~*", "+@all")) as server,
        subprocess.Popen(
            [
                *(str(TOOLS / "run-fss.sh"), "-v", str(clip), "-t", "face,people", "-s", "gate"),
                *("-q", "127.0.0.1", "-p", str(server.port), "-u", "camera"),
            ],
            env={**environ, "QUEUE_PASSWORD": SECRET},
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        stopped_after(process, 20, SECRET),
    ):
        client = redis.Redis(port=server.port)
        for infer_type in ("face", "people"):
            wait_for(
                lambda kind=infer_type: client.llen(keys.legacy_queue(kind)),
                30,
                f"frames of {infer_type} at the queue",
            )
        client.close()
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"ei-file-stream-service" in shown
        assert SECRET.encode() not in shown


def test_a_cameras_password_is_not_in_argv_after_the_start(environ: dict[str, str]) -> None:
    camera = f"rtsp://bob:{SECRET}@127.0.0.1:{free_port()}/x"
    with subprocess.Popen(
        [str(TOOLS / "run-css.sh"), "-v", camera, "-p", str(free_port()), "-f", "5"],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(
                lambda: b"ei-camera-stream-service" in Path(f"/proc/{process.pid}/cmdline").read_bytes(),
                30,
                "the service",
            )
            assert SECRET.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
            # Once it says what is wrong with the camera, it listens to signals.
            assert process.stderr
            errors = ""
            while "refuses the connection" not in errors:
                line = process.stderr.readline()
                assert line, errors
                errors += line
            process.send_signal(signal.SIGINT)
            errors += process.communicate(timeout=30)[1]
        finally:
            process.kill()
        assert SECRET not in errors


def test_the_password_is_asked_for_in_a_terminal(environ: dict[str, str], tmp_path: Path) -> None:
    terminal, child_end = pty.openpty()
    try:
        with subprocess.Popen(
            [
                *(str(TOOLS / "run-css.sh"), "-v", "rtsp://camera/x", "-p", str(free_port())),
                *("-u", "camera", "-y", "registry"),
            ],
            env=environ,
            stdin=child_end,
            stdout=subprocess.DEVNULL,
            stderr=child_end,
        ) as process:
            shown = b""
            while b"Password of camera" not in shown:
                shown += os.read(terminal, 1000)
            os.write(terminal, SECRET.encode() + b"\n")
            assert process.wait(30) == 0
    finally:
        os.close(child_end)
        os.close(terminal)
    call = recorded_call(tmp_path)
    assert call.environ["QUEUE_PASSWORD"] == SECRET
    assert SECRET not in " ".join(call.argv)


def test_a_usb_camera_is_passed_into_the_container(environ: dict[str, str], tmp_path: Path) -> None:
    done = run("run-css.sh", "-v", "213", "-p", str(free_port()), "-y", "registry", environ=environ)
    assert done.returncode == 2
    assert "/dev/video213 does not exist" in done.stderr
    # Any device will do for the arguments.
    done = run("run-css.sh", "-v", "/dev/null", "-p", str(free_port()), "-y", "registry", environ=environ)
    assert done.returncode == 0, done.stderr
    call = recorded_call(tmp_path)
    assert call.values("--device") == ["/dev/null"]
    assert call.values("--group-add") == [str(Path("/dev/null").stat().st_gid)]


def test_a_file_is_mounted_into_the_container(environ: dict[str, str], clip: Path, tmp_path: Path) -> None:
    done = run("run-fss.sh", "-v", str(clip), "-p", str(free_port()), "-y", "registry", environ=environ)
    assert done.returncode == 0, done.stderr
    call = recorded_call(tmp_path)
    assert call.values("--mount") == [f"type=bind,source={clip},target=/videos/{clip.name},readonly"]
    assert call.environ["VIDEO_FILE"] == f"/videos/{clip.name}"
    done = run("run-fss.sh", "-v", str(tmp_path / "missing.mp4"), "-p", str(free_port()), "-y", "r", environ=environ)
    assert done.returncode == 2
    assert "missing.mp4" in done.stderr
