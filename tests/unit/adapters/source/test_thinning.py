"""Frames over the cap to which no other refers are not decoded, and the others stay what they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from elastic_inference.adapters.source.container import Container
from elastic_inference.adapters.source.thinning import Thinning
from elastic_inference.flows.produce.frame_pacing import CameraCap, Verdict

FRAMES, FPS = 125, 25.0


def video(folder: Path, suffix: str, options: str) -> Path:
    """A moving test image of FRAMES frames."""
    path = folder / f"clip{suffix}"
    source = f"-f lavfi -i testsrc2=size=320x240:rate={FPS:g} -frames:v {FRAMES} -threads 1 -pix_fmt yuv420p"
    subprocess.run(
        ["ffmpeg", "-v", "error", *source.split(), *options.split(), str(path)], check=True, stdin=subprocess.DEVNULL
    )
    return path


def used(path: Path, cap_fps: float, thin: bool) -> tuple[dict[float, bytes], int, int]:
    """(luma of the frames that the cap lets through by their times, frames that were decoded, frames that were not)."""
    container, cap, skipped = Container(str(path), "The camera"), CameraCap(cap_fps), 0

    def skip() -> None:
        nonlocal skipped
        skipped += 1

    if thin:
        container.thin(cap.wants, skip)
    images, decoded = {}, 0
    while (frame := container.read(lambda: None)) is not None:
        decoded += 1
        time_s = container.time_s(frame)
        assert time_s is not None
        if cap.admit(time_s)[0] is Verdict.TAKE:
            images[time_s] = bytes(frame.planes[0])  # type: ignore[union-attr]
    assert container.decoder is not None
    assert container.decoder.damaged == 0
    container.close()
    return images, decoded, skipped


@pytest.mark.parametrize(
    ("suffix", "options", "share"),
    [
        (".mkv", "-c:v libx264 -preset ultrafast -bf 2 -x264-params b-pyramid=none", 0.5),
        (".ts", "-c:v libx264 -preset ultrafast -bf 3", 0.25),
        (".mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1", 0.25),
        (".ts", "-c:v mpeg2video -bf 2", 0.5),
        (".mkv", "-c:v libx264 -preset ultrafast -bf 0", 0.0),
    ],
)
def test_what_no_frame_refers_to_is_not_decoded_and_the_cap_lets_the_same_images_through(
    tmp_path: Path, suffix: str, options: str, share: float
) -> None:
    path = video(tmp_path, suffix, options)
    all_images, all_decoded, _ = used(path, 5, thin=False)
    images, decoded, skipped = used(path, 5, thin=True)
    assert all_decoded == FRAMES
    assert decoded + skipped == FRAMES, "each frame has a number"
    assert skipped >= share * FRAMES
    assert (skipped == 0) == (share == 0)
    assert len(images) == len(all_images), "the cap's rate is reached"
    same = images.keys() & all_images.keys()
    assert len(same) > 1
    assert all(images[each] == all_images[each] for each in same), "frames that are decoded are whole"


def test_without_a_cap_below_the_rate_every_frame_is_decoded(tmp_path: Path) -> None:
    path = video(tmp_path, ".mkv", "-c:v libx264 -preset ultrafast -bf 2")
    images, decoded, skipped = used(path, 2 * FPS, thin=True)
    assert (len(images), decoded, skipped) == (FRAMES, FRAMES, 0)


def test_time_stamps_that_jump_skip_nothing_and_forget_nothing() -> None:
    skips: list[float] = []
    thinning = Thinning(lambda ahead_s: False, lambda: skips.append(1.0))
    assert not thinning.may_skip(0.0), "before the first frame"
    thinning.came(1000.0)
    assert thinning.may_skip(1000.1)
    assert not thinning.may_skip(5.0)
    assert not thinning.may_skip(2000.0)
    thinning.came(None)
    assert not thinning.may_skip(1000.2), "a frame without a time"
    thinning.came(1000.3)
    assert len(skips) == 1
    for number in range(1000):
        thinning.may_skip(1000.4 + number / 1000)
    thinning.ended()
    assert len(skips) < 100, "what is pending is bounded"
