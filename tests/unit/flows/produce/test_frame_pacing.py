"""The pace of a file and the cap of a camera, with times handed in."""

from __future__ import annotations

import pytest

from elastic_inference.flows.produce.frame_pacing import CameraCap, FileCap, FilePace, Verdict


def test_a_file_keeps_to_its_schedule_without_drift() -> None:
    pace = FilePace(25)
    now = 100.0
    for number in range(10_000):
        verdict, wait_s = pace.admit(now)
        now += wait_s
        assert verdict is Verdict.TAKE
        assert 100 + number / 25 - 1e-6 <= now < 100 + number / 25 + 0.03
        now += 0.013 if number % 7 else 0.05  # reading takes its time, sometimes longer than an interval


def test_a_hiccup_drops_the_late_frames_and_catches_up_without_a_burst(caplog: pytest.LogCaptureFixture) -> None:
    pace = FilePace(10)
    assert pace.admit(0.0) == (Verdict.TAKE, 0.0)
    verdicts = [pace.admit(1.0) for _ in range(12)]  # a second was lost: frames 1 to 7 are over 0.2 s late
    assert [verdict for verdict, _ in verdicts].count(Verdict.DROP) == 7
    assert verdicts[10] == (Verdict.TAKE, pytest.approx(0.1))
    assert "plays slower" not in caplog.text


def test_a_file_that_can_never_be_read_in_time_plays_slower(caplog: pytest.LogCaptureFixture) -> None:
    pace = FilePace(30)
    now, taken = 0.0, 0
    for _ in range(300):
        verdict, wait_s = pace.admit(now)
        taken += verdict is Verdict.TAKE
        now += wait_s + 0.1  # three times too slow
    assert caplog.text.count("cannot keep up with 30 fps") == 1
    assert taken >= 20


@pytest.mark.parametrize(("camera_fps", "cap_fps"), [(30, 15), (60, 15), (25, 15), (15, 15), (10, 15)])
def test_a_camera_is_capped_and_otherwise_complete(camera_fps: int, cap_fps: int) -> None:
    cap = CameraCap(cap_fps)
    seconds = 20
    taken = sum(
        cap.admit(number / camera_fps + (0.02 / camera_fps if number % 2 else 0))[0] is Verdict.TAKE
        for number in range(camera_fps * seconds)
    )
    assert taken == pytest.approx(min(camera_fps, cap_fps) * seconds, abs=3)


def test_uneven_frames_at_the_cap_are_all_taken() -> None:
    cap = CameraCap(15)
    jitter = [0.0, 0.03, -0.02, 0.01, -0.03]
    assert all(cap.admit(1 + number / 15 + jitter[number % 5])[0] is Verdict.TAKE for number in range(300))


def test_a_capped_file_that_is_late_drops_no_frame_that_the_cap_takes_out_anyway() -> None:
    cap, now = FileCap(4), 0.0
    verdicts = []
    for number in range(300):
        verdict, wait_s = cap.admit(now, number / 30)
        verdicts.append(verdict)
        now += wait_s + 0.05  # half as slow again as the file's 30 frames a second
    assert Verdict.DROP in verdicts
    assert sum(verdict is not Verdict.SKIP for verdict in verdicts) <= 4 * now + 2


def test_a_late_video_of_the_pool_is_named_with_its_own_rate(caplog: pytest.LogCaptureFixture) -> None:
    cap, now = FileCap(60, "The video hall.mp4"), 0.0
    for number in range(120):
        _, wait_s = cap.admit(now, number / 25)
        now += wait_s + 0.2
    assert "The video hall.mp4 plays slower: this machine cannot keep up with 25 fps" in caplog.text
