"""The file stream service as a real process against a real queue."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.producer import ProducerUnderTest
from tests.support.waiting import wait_for

FRAMES = 10
FPS = 20


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames at 20 a second; frame i is grey of level 20 i."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (160, 120))
    for number in range(FRAMES):
        writer.write(np.full((120, 160, 3), number * 20, np.uint8))
    writer.release()
    return path


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as server:
        yield server


def level(jpeg: bytes) -> int:
    return round(float(simplejpeg.decode_jpeg(jpeg, "BGR").mean()) / 20)


def test_frames_go_to_each_type_in_order_over_the_loop(valkey: EmbeddedValkey, clip: Path) -> None:
    environ = {
        "VIDEO_FILE": str(clip),
        "INFER_TYPE": "car,people",
        "STREAM_QUEUE_DEPTH": "1000",
        "MAX_FRAME_AGE_S": "60",
    }
    with ProducerUnderTest("file", valkey, environ) as gate:
        gate.consumer("car"), gate.consumer("people")  # the scripts are there from the first frame on
        found = {kind: {frame.seq: frame for frame in gate.frames(2 * FRAMES + 3, kind)} for kind in ("car", "people")}
        for kind, frames in found.items():
            # A frame's number gives its position in the clip, even across the loop: no frame is missing.
            assert all(level(frame.data) == (seq or 0) % FRAMES for seq, frame in frames.items())
            assert {(frame.name, frame.category, frame.width, frame.height) for frame in frames.values()} == {
                ("gate", kind, 160, 120)
            }
        both = found["car"].keys() & found["people"].keys()
        assert both
        for seq in both:
            # Encoded once: the same bytes, number and time.
            car, people = found["car"][seq], found["people"][seq]
            assert (car.data, car.ts) == (people.data, people.ts)
        assert gate.service.terminate() == 0


@pytest.mark.parametrize(("asked", "expected"), [(None, FPS), ("8", 8)])
def test_it_keeps_the_pace(valkey: EmbeddedValkey, clip: Path, asked: str | None, expected: float) -> None:
    with ProducerUnderTest(
        "file", valkey, {"VIDEO_FILE": str(clip), **({"VIDEO_FPS": asked} if asked else {})}
    ) as gate:
        gate.service.wait_ready()
        gate.wait_state("live")

        def count() -> tuple[float, float]:
            metrics = gate.service.metrics()
            done = sum(
                value
                for key, value in metrics.items()
                if key.startswith("ei_frames_pushed_total") or ("ei_frames_dropped_total" in key and "source" in key)
            )
            return time.monotonic(), done

        (began, first), wanted = count(), 3 * expected
        ended, last = wait_for(
            lambda: now if (now := count())[1] >= first + wanted else None, 30, "three seconds of film"
        )
        # Three seconds of film take three seconds, give or take a frame at each end and the time of the requests.
        assert (last - first) / (ended - began) == pytest.approx(expected, rel=0.3)
        assert float(gate.wait_state("live")["fps"]) == pytest.approx(expected, rel=0.3)


def test_size_and_quality(valkey: EmbeddedValkey, shared_videos: Path) -> None:
    environ = {"VIDEO_FILE": str(shared_videos / "car-detection.mp4"), "FRAME_WIDTH": "384", "JPEG_QUALITY": "30"}
    with ProducerUnderTest("file", valkey, environ) as gate:
        (frame, *_) = gate.frames(1)
        assert (frame.width, frame.height) == (384, 216)
        assert len(frame.data) < 20_000


def test_redis_killed_and_back(own_valkey: EmbeddedValkey, clip: Path) -> None:
    with ProducerUnderTest("file", own_valkey, {"VIDEO_FILE": str(clip)}) as gate:
        gate.service.wait_ready()
        own_valkey.kill()
        wait_for(lambda: gate.service.metric("ei_frames_dropped_total") >= 10, what="drops that are counted")
        with pytest.raises(AssertionError):
            gate.service.wait_ready(timeout_s=0.2)
        assert gate.service.metric("ei_source_up") == 1, "reading of the source continues"
        own_valkey.start()
        began = time.monotonic()
        gate.service.wait_ready()
        assert gate.frames(3)
        assert time.monotonic() - began < 5
        dropped = int(gate.wait_state("live")["dropped"])
        assert dropped >= 10
        assert "Traceback" not in gate.service.log()


def test_a_redis_that_hangs_causes_drops_but_no_delay(own_valkey: EmbeddedValkey, clip: Path) -> None:
    with ProducerUnderTest("file", own_valkey, {"VIDEO_FILE": str(clip)}) as gate:
        gate.service.wait_ready()
        assert own_valkey.pid is not None
        os.kill(own_valkey.pid, signal.SIGSTOP)
        try:
            # Only the newest waits; the others are dropped although the push itself still waits for its reply.
            wait_for(lambda: gate.service.metric("ei_frames_dropped_total") >= 20, what="drops that are counted")
        finally:
            os.kill(own_valkey.pid, signal.SIGCONT)
        pushed = gate.service.metric("ei_frames_pushed_total")
        wait_for(lambda: gate.service.metric("ei_frames_pushed_total") > pushed + 5, 20, "pushes again")


def test_a_wrong_password_is_reported_and_retried(clip: Path) -> None:
    with (
        EmbeddedValkey(options=("--requirepass", "right-one")) as server,
        ProducerUnderTest("file", server, {"VIDEO_FILE": str(clip), "QUEUE_PASSWORD": "wr0ng-one"}) as gate,
    ):
        wait_for(lambda: "refuses" in gate.service.log(), what="a line about the login")
        assert "wr0ng-one" not in gate.service.log()
        assert gate.service.terminate() == 0


def test_two_producers_that_share_a_name_are_reported(valkey: EmbeddedValkey, clip: Path) -> None:
    with (
        ProducerUnderTest("file", valkey, {"VIDEO_FILE": str(clip)}) as one,
        ProducerUnderTest("file", valkey, {"VIDEO_FILE": str(clip)}) as other,
    ):
        for gate in (one, other):
            wait_for(
                lambda gate=gate: "another producer pushes under the same name" in gate.service.log(),
                40,
                "a line about the other producer",
            )


def test_an_image_over_the_limit_is_counted_and_not_pushed(valkey: EmbeddedValkey, clip: Path) -> None:
    with ProducerUnderTest("file", valkey, {"VIDEO_FILE": str(clip), "MAX_FRAME_BYTES": "1100"}) as gate:
        gate.service.wait_ready()
        invalid = wait_for(
            lambda: {key: value for key, value in gate.service.metrics().items() if "invalid" in key and value >= 5},
            what="five frames that are too large",
        )
        assert [key for key in invalid if 'reason="too_large"' in key]
        assert gate.service.metric("ei_frames_pushed_total") == 0
        assert gate.service.log().count("frame not pushed") == 1


def test_a_file_that_is_not_a_video_ends_with_one_line(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello\n" * 100)
    for path in (tmp_path / "missing.mp4", tmp_path, text):
        with ProducerUnderTest("file", valkey, {"VIDEO_FILE": str(path), "LOG_LEVEL": "ERROR"}) as gate:
            assert gate.service.process is not None
            assert gate.service.process.wait(60) == 3
            lines = gate.service.log().strip().splitlines()
            assert len(lines) == 1
            assert lines[0].startswith("error: ")
            assert str(path) in lines[0]


def test_the_end_is_prompt(valkey: EmbeddedValkey, clip: Path) -> None:
    with ProducerUnderTest("file", valkey, {"VIDEO_FILE": str(clip), "VIDEO_FPS": "0.05"}) as gate:
        gate.service.wait_ready()
        began = time.monotonic()
        assert gate.service.terminate() == 0
        assert time.monotonic() - began < 10, "the wait of 20 s for the next frame must not hold it up"
