"""Video that states how to turn it comes out as FFmpeg's own tool shows it."""

from __future__ import annotations

import gc
import io
import subprocess
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from PIL import Image

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.file import FileSource
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.adapters.source.video_turn import VideoTurn
from elastic_inference.domain.image_size import FrameSize


def ffmpeg(arguments: str, *more: str) -> bytes:
    command = ["ffmpeg", "-v", "error", "-y", *arguments.split(), *more]
    return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout


def shown_by_ffmpeg(path: Path, width: int, height: int) -> npt.NDArray[np.uint8]:
    data = ffmpeg(f"-i {path} -frames:v 1 -pix_fmt rgb24 -f rawvideo -")
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize(("degrees", "size"), [(0, (320, 180)), (90, (180, 320)), (180, (320, 180)), (270, (180, 320))])
def test_it_is_upright(tmp_path: Path, layout: str, degrees: int, size: tuple[int, int]) -> None:
    flat, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    source = f"-f lavfi -i testsrc2=size=320x180:rate=10 -frames:v 2 -pix_fmt {layout} -c:v libx264 -threads 1"
    ffmpeg(source, str(flat))
    ffmpeg(f"-i {flat} -c copy -metadata:s:v rotate={degrees}", str(turned))
    video = FileSource(turned)
    video.grab(lambda: None)
    frame = video.retrieve()
    video.close()
    data, *found = JpegEncoder(95).encode(frame)
    pixels = simplejpeg.decode_jpeg(data, "RGB").astype(int)
    assert tuple(found) == size
    assert np.abs(pixels - shown_by_ffmpeg(turned, *size)).mean() < 8
    small, width, height = JpegEncoder(80, width=90).encode(frame)
    assert (width, height) == (90, round(size[1] * 90 / size[0]))
    assert simplejpeg.decode_jpeg_header(small)[:2] == (height, width)


def test_h264_says_it_too_and_mirrored_video_is_mirrored(tmp_path: Path) -> None:
    # FFmpeg's filter writes the display orientation into the stream itself, where cameras have it.
    path = tmp_path / "mirrored.h264"
    source = "-f lavfi -i testsrc2=size=320x180:rate=10 -frames:v 2 -pix_fmt yuv420p -c:v libx264 -threads 1"
    ffmpeg(f"{source} -bsf:v h264_metadata=display_orientation=insert:flip=horizontal", str(path))
    plain = tmp_path / "plain.h264"
    ffmpeg(source, str(plain))
    pixels = []
    for each in (path, plain):
        video = FileSource(each)
        video.grab(lambda: None)
        pixels.append(simplejpeg.decode_jpeg(JpegEncoder(95).encode(video.retrieve())[0], "RGB").astype(int))
        video.close()
    assert np.abs(pixels[0] - pixels[1][:, ::-1]).mean() < 8
    assert np.abs(pixels[0] - pixels[1]).mean() > 30


@pytest.mark.parametrize("suffix", ["h264", "ts"])
def test_what_a_key_frame_states_holds_up_to_the_next_one(tmp_path: Path, suffix: str) -> None:
    source = "-f lavfi -i testsrc2=size=320x180:rate=10 -frames:v 12 -pix_fmt yuv420p -c:v libx264"
    # Each key frame then has additional information of its own, to which FFmpeg's filter adds.
    source += " -g 6 -bf 0 -threads 1 -x264-params nal-hrd=vbr:vbv-maxrate=2000:vbv-bufsize=2000"
    kind = "mpegts" if suffix == "ts" else "h264"
    turned = ffmpeg(f"{source} -bsf:v h264_metadata=display_orientation=insert:rotate=90 -f {kind} -")
    path = tmp_path / f"both.{suffix}"
    path.write_bytes(turned + ffmpeg(f"{source} -f {kind} -"))
    # At half the rate no key frame is wanted: each of them is an even one.
    for every in (1, 2):
        found = []
        video, encoder = FileSource(path), JpegEncoder()
        for number in range(1, 49):  # twice, as a file that is looped
            video.grab(lambda: None)
            if number % every == 0:
                found.append(encoder.encode(video.retrieve())[1:])
        video.close()
        assert found == ([(180, 320)] * (12 // every) + [(320, 180)] * (12 // every)) * 2


@pytest.mark.parametrize(("degrees", "size"), [(90, (180, 320)), (180, (320, 180)), (270, (180, 320))])
def test_over_loops_and_at_a_reduced_size_it_stays_upright(tmp_path: Path, degrees: int, size: tuple[int, int]) -> None:
    flat, turned = tmp_path / "flat.mov", tmp_path / "turned.mov"
    ffmpeg("-f lavfi -i testsrc2=size=640x360:rate=10 -frames:v 6 -pix_fmt yuv420p -c:v libx264 -threads 1", str(flat))
    ffmpeg(f"-i {flat} -c copy -metadata:s:v rotate={degrees}", str(turned))
    expected = shown_by_ffmpeg(turned, *(2 * side for side in size)).astype(int)
    asked = set()

    def needed(width: int, height: int) -> FrameSize:
        asked.add((width, height))
        return FrameSize(width // 2, height // 2)

    video, encoder = FileSource(turned), JpegEncoder()
    for number in range(18):
        video.grab(lambda: None)
        data, *found = encoder.encode(video.retrieve(), needed)
        assert tuple(found) == size
        if number % 6 == 0:
            pixels = simplejpeg.decode_jpeg(data, "RGB").astype(int)
            assert np.abs(pixels - expected[::2, ::2]).mean() < 16
    video.close()
    assert asked == {(2 * size[0], 2 * size[1])}, "the size is asked for as the image is shown"


def test_no_image_stays_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    ffmpeg("-f lavfi -i testsrc2=size=320x180:rate=25 -frames:v 25 -c:v libx264 -threads 1", str(path))
    video, encoder = FileSource(path), JpegEncoder()
    gc.collect()
    gc.disable()
    try:
        for _ in range(25):
            video.grab(lambda: None)
            encoder.encode(video.retrieve())
        kept = [each for each in gc.get_objects() if isinstance(each, av.VideoFrame)]
    finally:
        gc.enable()
        video.close()
    assert len(kept) <= 3


@pytest.mark.parametrize(("orientation", "size"), [(1, (64, 32)), (3, (64, 32)), (6, (32, 64)), (8, (32, 64))])
def test_side_data_that_cannot_be_read_leave_the_rotation(orientation: int, size: tuple[int, int]) -> None:
    # FFmpeg attaches EXIF to a photograph's frame, a kind that PyAV's table lacks.
    photograph, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:16, :32] = 255  # above, to the left
    Image.fromarray(pixels).save(photograph, "JPEG", exif=exif)
    photograph.seek(0)
    with av.open(photograph) as container:
        frame = next(container.decode(video=0))
    data, *found = JpegEncoder(95).encode(CapturedFrame.of(frame, 0.0, 0.0, VideoTurn().orientation(frame)))
    assert tuple(found) == size
    bright = simplejpeg.decode_jpeg(data, "GRAY")[..., 0] > 128
    corner = {1: (0, 0), 3: (1, 1), 6: (0, 1), 8: (1, 0)}[orientation]
    rows, columns = (np.flatnonzero(bright.any(axis)) for axis in (1, 0))
    assert (rows.mean() > size[1] / 2, columns.mean() > size[0] / 2) == tuple(map(bool, corner))
