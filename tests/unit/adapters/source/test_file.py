"""Video files: read, loop, refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from tests.support.videos import LEVEL, write_video

from elastic_inference.adapters.source.file import DEFAULT_FPS, FileSource
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.domain.errors import SourceError, SourceFatalError


def ignore() -> None:
    pass


def image(source: FileSource) -> npt.NDArray[np.uint8]:
    """The current frame as the encoder would show it, grey."""
    data, _, _ = JpegEncoder(95).encode(source.retrieve())
    return np.asarray(simplejpeg.decode_jpeg(data, "GRAY")[:, :, 0])


def level(source: FileSource) -> int:
    source.grab(ignore)
    return round(float(image(source).mean()) / LEVEL)


@pytest.mark.parametrize(
    ("name", "codec"), [("clip.avi", "mjpeg"), ("clip.mp4", "mpeg4"), ("clip.mkv", "mjpeg"), ("clip.ts", "libx264")]
)
def test_every_frame_in_order_and_again_from_the_first(tmp_path: Path, name: str, codec: str) -> None:
    source = FileSource(write_video(tmp_path / name, 7, codec=codec))
    assert [level(source) for _ in range(18)] == [0, 1, 2, 3, 4, 5, 6] * 2 + [0, 1, 2, 3]
    assert source.fps == pytest.approx(10)
    source.close()


def test_a_video_of_one_frame_repeats_it(tmp_path: Path) -> None:
    source = FileSource(write_video(tmp_path / "still.avi", 1))
    assert [level(source) for _ in range(4)] == [0, 0, 0, 0]
    source.close()


def test_real_clips(shared_videos: Path) -> None:
    for name, frames, size in (
        ("car-detection.mp4", 377, (432, 768)),
        ("head-pose-face-detection-female-and-male.gif", 56, (270, 480)),
    ):
        source = FileSource(shared_videos / name)
        assert source.fps == pytest.approx(12.5)
        source.grab(ignore)
        first = image(source)
        for _ in range(frames):
            source.grab(ignore)
        assert first.shape == size
        assert np.array_equal(first, image(source))
        source.close()


def test_a_still_image_has_the_default_rate(tmp_path: Path) -> None:
    path = tmp_path / "still.png"
    write_video(path, 1, codec="png")
    source = FileSource(path)
    assert source.fps == DEFAULT_FPS
    assert [level(source) for _ in range(3)] == [0, 0, 0]
    source.close()


LISTS = ("sdp", "m3u8", "M3U", "ffconcat")


def listed(path: Path) -> Path:
    path.write_text("#EXTM3U\n/etc/passwd\n")
    return path


def test_a_file_that_is_not_a_video_is_refused_with_one_line(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello\n" * 1000)
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(np.random.default_rng(1).bytes(20_000))  # other bytes may look like sound
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path, why in (
        (tmp_path / "missing.mp4", "does not exist"),
        (tmp_path, "is not a file"),
        (text, "is text, not a video|not a video"),
        (garbage, "is damaged, or not a video that FFmpeg knows: expected a video file"),
        (empty, "is empty: expected a video file"),
        (Path("http://127.0.0.1/x.mp4"), "does not exist"),
        (tmp_path / "seq%04d.jpg", "images in a row are no video: make one of them"),
        *((listed(tmp_path / f"list.{suffix}"), "only names other sources: give the address") for suffix in LISTS),
    ):
        with pytest.raises(SourceFatalError, match=why) as caught:
            FileSource(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_video_that_ends_at_frame_0_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", 5).read_bytes()
    # The header stays; no frame's data is left.
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: whole.index(b"movi") + 4])
    with pytest.raises(SourceFatalError, match=r"ends at frame 0: it holds no frame, or none .*; convert it|no video"):
        FileSource(cut)


def test_a_file_that_vanishes_before_the_next_loop_is_reported(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 3)
    source = FileSource(path)
    for _ in range(3):
        source.grab(ignore)
    path.unlink()
    with pytest.raises(SourceFatalError, match="does not exist"):
        source.grab(ignore)


def test_a_link_that_leads_out_of_the_folder_is_not_followed_in_the_next_loop_either(tmp_path: Path) -> None:
    """Whoever may write videos must not show files from elsewhere."""
    folder, elsewhere = tmp_path / "videos", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    path, secret = write_video(folder / "clip.avi", 3), write_video(elsewhere / "secret.avi", 3)
    rules = AddressRules([], folder)
    source = FileSource(path, find=lambda: rules.file(f"file://{path}"))
    for _ in range(3):
        source.grab(ignore)
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(SourceError, match="There is no such video below"):
        source.grab(ignore)
    source.close()
