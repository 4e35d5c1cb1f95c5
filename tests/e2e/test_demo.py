"""`ei-demo`, as `make demo` runs it: from an empty machine to detections in a viewer, and a clean stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from elastic_inference.domain.result import Result, parse_result
from elastic_inference.domain.result_message import split_message
from tests.conftest import REPOSITORY, missing_tool
from tests.support.ports import free_port
from tests.support.viewer import Viewer, first_message
from tests.support.waiting import TIME_FACTOR, wait_for

# Kept between runs: to fetch the models takes longer than most tests.
FOLDERS = ("--models-dir", str(REPOSITORY / "models"), "--videos-dir", str(REPOSITORY / "videos"))
BIKES, CARPHONE, ADDED = "bikes:people:inferred", "carphone_pristine:face:inferred", "added:face:inferred"


class Demo:
    """A running demo in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.log_path = folder / "demo.log"
        command = [
            *(sys.executable, "-m", "elastic_inference.commands.demo.main", "--port", str(self.port)),
            *("--queue-port", str(free_port())),
            *FOLDERS,
            *options,
        ]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
        self.folder = folder

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def get(self, path: str) -> Any:
        return self.ask(path)

    def ask(self, path: str, method: str = "GET", document: object = None) -> Any:
        """The answer as JSON, None if it is empty."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        if document is not None:
            request.data = json.dumps(document).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or "null")

    def state(self) -> dict[str, Any]:
        path = self.folder / ".demo" / "demo.json"
        loaded: dict[str, Any] = json.loads(path.read_text())
        return loaded


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("demo"))
    try:
        wait_for(
            lambda: "First result after" in running.log() or running.process.poll() is not None,
            200,
            "the demo's first result",
        )
        assert running.process.poll() is None, running.log()[-3000:]
        # A third of the clips' own rates shows the same, and leaves the CPU to the tests beside it.
        for name in ("bikes", "carphone_pristine"):
            running.ask(f"/api/cameras/{name}", "PATCH", {"fps": 8})
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
            running.process.wait(15)


@pytest.fixture(scope="module")
def viewers(demo: Demo) -> Iterator[dict[str, Viewer]]:
    """Of both clips, from the first test on: while one test waits, what the next one wants to see may come."""
    with ExitStack() as stack:
        base = f"ws://127.0.0.1:{demo.port}"
        yield {name: stack.enter_context(Viewer(base, name)) for name in (BIKES, CARPHONE)}


def streams(demo: Demo) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in demo.get("/api/streams")["streams"]}


def test_the_api_lists_the_streams_with_their_rates(demo: Demo) -> None:
    def both_run() -> bool:
        found = streams(demo)
        return len(found) == 2 and all(each["fps"] > 1 and each["latency_ms"] > 0 for each in found.values())

    wait_for(both_run, 90, "both streams to be inferred")
    assert set(streams(demo)) == {BIKES, CARPHONE}


def test_a_camera_can_be_added_while_it_runs(demo: Demo, viewers: dict[str, Viewer]) -> None:
    cameras = {each["name"]: each["spec"] for each in demo.get("/api/cameras")["cameras"]}
    assert cameras.keys() == {"bikes", "carphone_pristine"}, "its clips are cameras of the pool"
    demo.ask("/api/cameras", "POST", {"name": "added", "url": cameras["bikes"]["url"], "types": ["face"], "fps": 2})
    wait_for(lambda: streams(demo).get(ADDED, {}).get("fps", 0) > 0, 60, "results of the added camera", every_s=0.2)
    assert "added" in (demo.folder / ".demo" / "cameras.yaml").read_text()
    demo.ask("/api/cameras/added", "DELETE")


def test_a_viewer_gets_each_of_the_three_formats(demo: Demo) -> None:
    base = f"ws://127.0.0.1:{demo.port}/{BIKES}"
    jpeg = first_message(base)
    assert isinstance(jpeg, bytes)
    assert jpeg[:2] == b"\xff\xd8"
    message = first_message(base + "?format=frame")
    assert isinstance(message, bytes)
    document, jpeg = split_message(message)
    assert parse_result(document).stream == BIKES
    assert bytes(jpeg[:2]) == b"\xff\xd8"
    text = first_message(base + "?format=json")
    assert isinstance(text, str)
    assert parse_result(text).type == "people"


def test_its_clips_have_zones_that_count_and_a_log_that_fills(demo: Demo) -> None:
    def kinds(camera: str) -> set[str]:
        return {each["kind"] for each in demo.get(f"/api/events/log?camera={camera}&limit=200")["events"]}

    # A loop of ten seconds has all of them; a slow machine infers some of its frames only.
    wait_for(lambda: {"object", "zone", "dwell", "line"} <= kinds("bikes"), 120, "an event of each kind", every_s=0.5)
    wait_for(lambda: {"object", "zone", "dwell"} <= kinds("carphone_pristine"), 60, "the face's events", every_s=0.5)

    def counted() -> bool:
        counts = demo.get("/api/cameras/bikes/counts")
        # There are none before an event worker has reported the first ones.
        entered = [row["entered"] for zone in counts["zones"] for row in zone["labels"]]
        crossed = [row["in"] + row["out"] for line in counts["lines"] for row in line["labels"]]
        return any(entered) and any(crossed)

    wait_for(counted, 60, "counts of the zone and the line", every_s=0.5)
    (seat,) = wait_for(lambda: demo.get("/api/cameras/carphone_pristine/counts")["zones"], 60, "the face's zone")
    assert len(seat["points"]) == 4, "the dashboard draws it"

    def images() -> list[str]:
        """Addresses. Where a busy pod answers late, an event has none."""
        events = demo.get("/api/events/log?camera=bikes&kind=zone&limit=50")["events"]
        return [each["snapshot"] for each in events if each["snapshot"]]

    (image, *_) = wait_for(images, 60, "a zone's event with an image", every_s=0.5)
    with urllib.request.urlopen(f"http://127.0.0.1:{demo.port}{image}", timeout=20) as answer:
        assert answer.read(2) == b"\xff\xd8"


@dataclass(frozen=True)
class Sight:
    """An object in a clip, as a person sees it: its box (xyxy, 0 to 1), valid between two frames."""

    label: str
    frames_in_clip: int
    first: int
    last: int
    box: tuple[float, float, float, float]

    def shown_in(self, result: Result) -> bool:
        """Whether the result is of one of the frames, by its number, and has the label in it."""
        return self.first <= (result.seq or 0) % self.frames_in_clip <= self.last and any(
            found.label == self.label and found.confidence > 0.5 for found in result.detections
        )


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (xyxy)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common)


@pytest.mark.parametrize(
    ("stream", "sight"),
    [
        # The cyclist who holds on to a post, right of the middle and as high as the frame.
        (BIKES, Sight("person", 250, 110, 135, (0.54, 0.04, 0.75, 0.99))),
        # The only face, from the hairline to the chin.
        (CARPHONE, Sight("face", 120, 0, 30, (0.33, 0.28, 0.64, 0.66))),
    ],
    ids=["people", "face"],
)
def test_each_stream_has_a_detection_where_its_frame_shows_one(
    viewers: dict[str, Viewer], stream: str, sight: Sight
) -> None:
    # A loop lasts ten seconds, and a slow machine infers some of its frames only.
    result = viewers[stream].wait_for(sight.shown_in, 60, f"a {sight.label} in {stream}")
    best = next(found for found in result.detections if found.label == sight.label)
    assert overlap(best.box, sight.box) > 0.5, f"frame {result.seq}: {best}"


def test_a_snapshot_and_the_page(demo: Demo) -> None:
    def begins() -> bytes:
        address = f"http://127.0.0.1:{demo.port}/api/streams/{BIKES}/snapshot.jpg"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return bytes(answer.read(2))
        except urllib.error.HTTPError as error:
            if error.code != 504:  # on a busy machine a frame may take longer than the gateway waits
                raise
            return b""

    assert wait_for(begins, 60, "a snapshot") == b"\xff\xd8"
    with urllib.request.urlopen(f"http://127.0.0.1:{demo.port}/", timeout=5) as answer:
        assert b"Elastic Inference" in answer.read()


def run(command: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the package to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"elastic_inference.commands.{command}.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        check=False,
    )


def status(demo: Demo, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("status", demo.folder, *arguments)


def test_a_camera_that_was_removed_is_gone(demo: Demo) -> None:
    wait_for(lambda: ADDED not in streams(demo), 60, "the added camera to be gone", every_s=0.2)


def test_status_finds_every_link_working(demo: Demo) -> None:
    done = status(demo)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BROKEN" not in done.stdout
    assert "comes through" in done.stdout
    assert "housekeeping ok" in done.stdout


def test_status_names_the_relay_while_it_is_stopped(demo: Demo) -> None:
    pids = [int(pid) for pid in child_pids(demo.process.pid) if "ei-websocket-server" in command_line(pid)]
    assert pids
    port = demo.state()["websocket_port"]
    done = status(
        demo,
        "-g",
        f"http://127.0.0.1:{demo.port}",
        "-w",
        "ws://127.0.0.1:1",
        "-q",
        "127.0.0.1",
        "-p",
        str(demo.state()["queue_port"]),
    )
    assert done.returncode == 1
    assert "First broken link: relay" in done.stdout
    assert port != 1


def test_a_crashed_service_comes_back(demo: Demo) -> None:
    relay = next(pid for pid in child_pids(demo.process.pid) if "ei-websocket-server" in command_line(pid))
    os.kill(relay, signal.SIGKILL)

    def back() -> bool:
        return any("ei-websocket-server" in command_line(pid) and pid != relay for pid in child_pids(demo.process.pid))

    wait_for(back, 15, "the websocket server to start again")
    assert first_message(f"ws://127.0.0.1:{demo.port}/{BIKES}?format=json", 30)


def test_ctrl_c_ends_all_within_five_seconds_and_leaves_nothing(demo: Demo) -> None:
    children = child_pids(demo.process.pid)
    assert len(children) >= 7
    with connect(f"ws://127.0.0.1:{demo.port}/{BIKES}", open_timeout=10):
        began = time.monotonic()
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(30) == 0
    # Two seconds on an idle machine. What has not ended after four is killed, so that five suffice.
    assert time.monotonic() - began < 10 * TIME_FACTOR
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()], demo.log()[-2000:]
    assert not (demo.folder / ".demo" / "demo.json").exists()
    assert "Traceback" not in demo.log()


def refused(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run("demo", folder, *FOLDERS, *options)


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = refused(tmp_path, "--port", str(port), "--video", __file__)
    assert done.returncode == 1
    assert f"Port {port} is in use" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_clip_is_one_line(tmp_path: Path) -> None:
    done = refused(tmp_path, "--video", "nowhere.mp4")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: --video nowhere.mp4: there is no such file."


def test_a_file_that_is_not_a_video_ends_the_demo(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello\n" * 100)
    running = Demo(tmp_path, "--video", str(text), "--type", "people")
    try:
        assert running.process.wait(60) == 1
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
            running.process.wait(15)
    last = running.log().splitlines()[-1]
    assert last.startswith("error: "), last
    assert "notes.txt" in last
    assert "not a video" in last
    assert "restart in" not in running.log()


def child_pids(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def test_make_demo_knows_whether_the_dashboard_can_be_built(tmp_path: Path) -> None:
    def asked(path: str) -> int:
        command = ["make", "--silent", "--directory", str(REPOSITORY), "has-node"]
        return subprocess.run(command, env={**os.environ, "PATH": path}, timeout=20, check=False).returncode

    if shutil.which("node") is None:
        missing_tool("Node.js")
    assert asked(os.environ["PATH"]) == 0
    # A Node.js that is too old: it reports another version, and is otherwise the real program.
    old = tmp_path / "node"
    old.write_text(
        f'#!/bin/bash\nexec {shutil.which("node")} -r {tmp_path}/version.cjs "$@"\n',
    )
    (tmp_path / "version.cjs").write_text("Object.defineProperty(process.versions, 'node', {value: '18.20.0'})\n")
    old.chmod(0o755)
    assert asked(f"{tmp_path}:{os.environ['PATH']}") != 0
