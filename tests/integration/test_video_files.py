"""Video files as users have them, made by FFmpeg: each container and codec, interlaced, of any rate and size."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from elastic_inference.adapters.source.file import FileSource
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.domain.errors import SourceFatalError
from tests.conftest import missing_tool
from tests.support.paff import moving_bars, paff

# (name, encoder's arguments): what FFmpeg's command line can write and people have.
COMBINATIONS = [
    ("h264.mp4", "-c:v libx264 -bf 3 -g 250"),
    ("h264.mkv", "-c:v libx264 -bf 2"),
    ("h264.mov", "-c:v libx264 -bf 2"),
    ("h264.ts", "-c:v libx264 -bf 3 -g 250"),
    ("h264.flv", "-c:v libx264 -bf 2"),
    ("h264.avi", "-c:v libx264 -bf 2"),
    ("h264.h264", "-c:v libx264 -bf 0"),
    ("h264-444.mkv", "-c:v libx264 -pix_fmt yuv444p"),
    ("h264-10bit.mkv", "-c:v libx264 -pix_fmt yuv420p10le"),
    ("hevc.mp4", "-c:v libx265 -x265-params log-level=none -tag:v hvc1"),
    ("hevc.mkv", "-c:v libx265 -x265-params log-level=none"),
    ("hevc.ts", "-c:v libx265 -x265-params log-level=none"),
    ("mpeg4.mp4", "-c:v mpeg4 -bf 2"),
    ("mpeg4.avi", "-c:v mpeg4"),
    ("mpeg2.mpg", "-c:v mpeg2video -bf 2 -g 250"),
    ("mpeg2.ts", "-c:v mpeg2video -bf 2"),
    ("mpeg2.mkv", "-c:v mpeg2video"),
    ("mpeg1.mpg", "-r 25 -c:v mpeg1video"),
    ("vp8.webm", "-c:v libvpx -deadline realtime -cpu-used 8"),
    ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
    ("vp9.mp4", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
    ("av1.mp4", "-c:v libsvtav1 -preset 12"),
    ("av1.mkv", "-c:v libsvtav1 -preset 12"),
    ("av1.webm", "-c:v libaom-av1 -cpu-used 8 -usage realtime"),
    ("mjpeg.avi", "-c:v mjpeg -pix_fmt yuvj420p"),
    ("mjpeg.mkv", "-c:v mjpeg -pix_fmt yuvj422p"),
    ("mjpeg.mov", "-c:v mjpeg -pix_fmt yuvj420p"),
    ("wmv2.asf", "-c:v wmv2"),
    ("msmpeg4.avi", "-c:v msmpeg4"),
    ("theora.ogv", "-c:v libtheora"),
    ("ffv1.mkv", "-c:v ffv1"),
    ("prores.mov", "-c:v prores_ks -pix_fmt yuv422p10le"),
    ("h263.3gp", "-c:v h263 -s 176x144"),
    ("flv1.flv", "-c:v flv"),
    ("gif.gif", "-c:v gif"),
    ("h264.mxf", "-r 25 -c:v libx264 -bf 0"),
    ("h264.nut", "-c:v libx264 -bf 2"),
]
FRAMES = 20


def ignore() -> None:
    pass


@pytest.fixture(scope="module", autouse=True)
def _ffmpeg() -> None:
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            missing_tool(f"{program} (Debian: ffmpeg)")


def ffmpeg(arguments: str, path: Path) -> Path:
    """Runs FFmpeg's command line; `path` is its output."""
    command = ["ffmpeg", "-v", "error", "-y", "-threads", "1", *arguments.split(), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return path


def make(path: Path, codec: str, source: str = "testsrc=size=160x120:rate=10", frames: int = FRAMES) -> Path:
    """A clip of FFmpeg's test image, which is never dark."""
    return ffmpeg(f"-f lavfi -i {source} -frames:v {frames} -pix_fmt yuv420p {codec}", path)


def times(path: Path) -> list[float | None]:
    """The frames' time stamps as FFmpeg's own tool counts them, seconds from the first."""
    command = [
        *("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time"),
        *("-of", "json", str(path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [frame.get("best_effort_timestamp_time") for frame in json.loads(done.stdout)["frames"]]
    stamps = [None if each is None else float(each) for each in found]
    first = next((each for each in stamps if each is not None), 0.0)
    return [None if each is None else each - first for each in stamps]


def brightness(source: FileSource) -> float:
    data, _, _ = JpegEncoder(90).encode(source.retrieve())
    return float(simplejpeg.decode_jpeg(data, "GRAY").mean())


def loop(source: FileSource, count: int) -> Iterator[tuple[float, float]]:
    """(media time, brightness) of the next frames."""
    for _ in range(count):
        media_s = source.grab(ignore)
        assert media_s is not None
        yield media_s, brightness(source)


@pytest.mark.parametrize(("name", "codec"), COMBINATIONS, ids=[name for name, _ in COMBINATIONS])
def test_each_container_and_codec_delivers_every_frame_in_each_loop(tmp_path: Path, name: str, codec: str) -> None:
    path = make(tmp_path / name, codec)
    expected = times(path)
    assert len(expected) >= FRAMES - 1, "FFmpeg itself must find the frames"
    source = FileSource(path)
    try:
        loops = [list(loop(source, len(expected))) for _ in range(3)]
        codec = source.facts().codec
    finally:
        source.close()
    assert codec is not None
    # The codec's name, not that of FFmpeg's decoder for it.
    assert not codec.startswith("lib")
    for turn, frames in enumerate(loops):
        start = frames[0][0]
        for (media_s, level), stamp in zip(frames, expected, strict=True):
            assert level > 60, "no frame may be dark: the test image is not"
            if stamp is not None:
                assert media_s - start == pytest.approx(stamp, abs=0.04)
        if turn:
            gap_s = start - loops[turn - 1][-1][0]
            assert 0 < gap_s <= 0.25
    # Each loop shows the same frames.
    assert [round(level) for _, level in loops[0]] == [round(level) for _, level in loops[2]]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("mbaff.ts", "-c:v libx264 -flags +ildct+ilme -x264-params tff=1"),
        ("mbaff.mkv", "-c:v libx264 -flags +ildct+ilme -x264-params bff=1"),
        ("mpeg2.mpg", "-c:v mpeg2video -flags +ildct+ilme -top 1"),
        ("dv.dv", "-c:v dvvideo -s 720x576"),
        ("dv.avi", "-c:v dvvideo -s 720x576"),
    ],
)
def test_interlaced_video_is_deinterlaced_and_never_black(tmp_path: Path, name: str, codec: str) -> None:
    # Bars that move fast: woven fields show each edge twice, as a comb of alternating lines.
    moving = "smptebars=size=720x576:rate=50,scroll=h=0.04,format=yuv420p,tinterlace=interleave_top,setfield=tff"
    path = ffmpeg(f"-f lavfi -i {moving} -frames:v 12 -r 25 -pix_fmt yuv420p {codec}", tmp_path / name)
    assert deinterlaced(path, 10) == {(720, 576)}


def deinterlaced(path: Path, count: int) -> set[tuple[int, int]]:
    """The sizes of the first frames, none of which is dark or shows woven fields."""
    source, sizes = FileSource(path), set()
    for _ in range(count):
        source.grab(ignore)
        data, *size = JpegEncoder(95).encode(source.retrieve())
        sizes.add(tuple(size))
        grey = simplejpeg.decode_jpeg(data, "GRAY")[:, :, 0].astype(int)
        assert grey.mean() > 60
        combs = np.abs(grey[1:-1] * 2 - grey[:-2] - grey[2:]).mean()
        assert combs < 3, "lines alternate: the fields are still woven"
    source.close()
    return sizes


@pytest.mark.parametrize("name", ["paff.h264", "paff.ts", "paff.mp4"])
def test_frames_of_two_field_pictures_are_deinterlaced(tmp_path: Path, name: str) -> None:
    raw = tmp_path / "paff.h264"
    raw.write_bytes(paff(moving_bars(12)))
    path = raw if name == raw.name else ffmpeg(f"-f h264 -r 25 -i {raw} -c copy", tmp_path / name)
    assert deinterlaced(path, 10) == {(128, 96)}


def test_a_variable_frame_rate_is_played_at_its_own_times(tmp_path: Path) -> None:
    steps = r"if(lt(N\,5)\,N*0.04\,0.2+(N-5)*0.5)"
    for name in ("vfr.mkv", "vfr.mp4", "vfr.webm"):
        codec = "-c:v libvpx -deadline realtime" if name.endswith("webm") else "-c:v libx264"
        video = f"-f lavfi -i testsrc=size=160x120:rate=25,setpts={steps}/TB"
        path = ffmpeg(f"{video} -frames:v 10 -vsync vfr -pix_fmt yuv420p {codec}", tmp_path / name)
        source = FileSource(path)
        media = [source.grab(ignore) or 0.0 for _ in range(10)]
        source.close()
        assert [round(after - before, 2) for before, after in pairwise(media)] == pytest.approx(
            [0.04] * 4 + [0.04] + [0.5] * 4, abs=0.04
        )


@pytest.mark.parametrize("name", ["slow.mp4", "slow.mkv"])
def test_slow_motion_is_played_at_its_own_times(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, "-c:v libx264 -bf 0", "testsrc=size=160x120:rate=480", 48)
    source = FileSource(path)
    media = [source.grab(ignore) or 0.0 for _ in range(48)]
    source.close()
    # Matroska's own times are whole milliseconds.
    assert [after - before for before, after in pairwise(media)] == pytest.approx([1 / 480] * 47, abs=0.0011)


def test_a_video_without_time_stamps_is_played_at_its_rate_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make(tmp_path / "raw.h264", "-c:v libx264 -bf 0")
    source = FileSource(path)
    media = [source.grab(ignore) or 0.0 for _ in range(10)]
    source.close()
    steps = [after - before for before, after in pairwise(media)]
    assert steps == pytest.approx([1 / source.fps] * 9)
    assert "has no time stamps: playing at" in caplog.text


def test_a_size_that_changes_is_followed(tmp_path: Path) -> None:
    parts = [
        make(tmp_path / f"part{index}.ts", "-c:v libx264 -bf 0", f"testsrc=size={size}:rate=10", 10)
        for index, size in enumerate(("160x120", "320x240", "90x160"))
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    source = FileSource(joined)
    sizes, media = [], []
    for _ in range(30):
        media.append(source.grab(ignore) or 0.0)
        _, width, height = JpegEncoder().encode(source.retrieve())
        sizes.append((width, height))
    source.close()
    assert list(dict.fromkeys(sizes)) == [(160, 120), (320, 240), (90, 160)]
    assert max(after - before for before, after in pairwise(media)) < 1.0, "a joined file plays on without a pause"


def test_a_file_that_cannot_be_played_says_why(tmp_path: Path) -> None:
    sound = ffmpeg("-f lavfi -i sine=duration=1 -c:a aac", tmp_path / "sound.mp4")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n")
    concat = tmp_path / "list.ffconcat"
    concat.write_text(f"ffconcat version 1.0\nfile {sound}\n")
    for path, why in ((sound, "has no video: it holds only audio"), (playlist, "."), (concat, ".")):
        with pytest.raises(SourceFatalError, match=why):
            FileSource(path)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("h264.mp4", "-c:v libx264"),
        ("hevc.ts", "-c:v libx265 -x265-params log-level=none"),
        ("mpeg4.avi", "-c:v mpeg4"),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
        ("av1.mkv", "-c:v libsvtav1 -preset 12"),
    ],
)
def test_images_that_would_take_too_much_memory_are_refused_before_they_are_decoded(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = ffmpeg(f"-f lavfi -i color=gray:s=640x480:r=5:d=1 -pix_fmt yuv420p {codec}", tmp_path / name)
    with pytest.raises(SourceFatalError, match="MAX_FRAME_PIXELS"):
        FileSource(path, max_pixels=640 * 480 // 4)
    source = FileSource(path, max_pixels=640 * 480)
    source.grab(ignore)
    source.close()


def test_images_that_grow_too_large_in_the_running_stream_are_skipped(tmp_path: Path) -> None:
    begin, rest = (
        ffmpeg(f"-f lavfi -i color=gray:s={size}:r=5:d=1 -c:v libx264 -pix_fmt yuv420p", tmp_path / f"{size}.ts")
        for size in ("320x240", "1280x960")
    )
    path = tmp_path / "both.ts"
    path.write_bytes(begin.read_bytes() + rest.read_bytes())
    source = FileSource(path, max_pixels=320 * 240)
    sizes = []
    for _ in range(8):  # two loops
        source.grab(ignore)
        image = source.retrieve().image
        assert image is not None
        sizes.append((image.width, image.height))
    source.close()
    assert set(sizes) == {(320, 240)}
