"""Opening streams that cannot be decoded."""

from __future__ import annotations

import io
import logging
import subprocess
from pathlib import Path

import pytest
from tests.support.videos import write_video

from elastic_inference.adapters.source import container
from elastic_inference.adapters.source.container import Container
from elastic_inference.adapters.source.file import FileSource
from elastic_inference.domain.errors import SourceError, SourceFatalError


def of_codec(folder: Path, suffix: str, tag: bytes) -> Path:
    """A video whose container states a codec that FFmpeg cannot decode."""
    path = folder / f"clip{suffix}"
    if suffix == ".mp4":
        data = write_video(path, 3, codec="libx264").read_bytes()
        path.write_bytes(data.replace(b"avc1\0", tag + b"\0").replace(b"avcC", b"free"))
    else:
        known = {".avi": b"MJPG", ".mkv": b"V_MJPEG"}[suffix]
        data = write_video(path, 3, codec="mjpeg").read_bytes()
        path.write_bytes(data.replace(known, tag))
    return path


@pytest.mark.parametrize(
    ("suffix", "tag", "said"),
    [
        # Codecs that FFmpeg has a name for, but no decoder.
        (".mp4", b"evc1", "the codec evc,"),
        (".mp4", b"avs3", "the codec avs3,"),
        # Codecs that nobody knows.
        (".mp4", b"xy z", 'the codec "xy z",'),
        (".avi", b"XYZW", 'the codec "XYZW",'),
        (".mkv", b"V_XYZZY", "a codec without a known name,"),
    ],
)
def test_a_codec_that_can_not_be_decoded_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, tag: bytes, said: str
) -> None:
    path = of_codec(tmp_path, suffix, tag)
    # Only the file itself has it.
    of_file = 'the codec "V_XYZZY",' if suffix == ".mkv" else said
    with caplog.at_level(logging.DEBUG), pytest.raises(SourceFatalError) as caught:
        FileSource(path)
    assert (
        str(caught.value)
        == f"The video {path} has {of_file} which can't be decoded here: convert it to H.264, H.265 or MJPEG."
    )
    assert not caplog.records
    # A camera may be set to another codec while the service runs: it must try again.
    with pytest.raises(SourceError) as caught_again:
        Container(str(path), "The camera rtsp://camera/stream")
    assert not isinstance(caught_again.value, SourceFatalError)
    expected = f"has {said} which can't be decoded here:"
    assert str(caught_again.value) == f"The camera rtsp://camera/stream {expected} set it to H.264, H.265 or MJPEG."


@pytest.mark.parametrize(("transfer", "hdr"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG"), ("bt709", None)])
def test_hdr_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, transfer: str, hdr: str | None) -> None:
    path = tmp_path / "clip.mp4"
    command = (
        "ffmpeg -v error -f lavfi -i testsrc2=size=64x64:rate=10 -t 0.3 -c:v libx264 -pix_fmt yuv420p10le"
        f" -colorspace bt2020nc -color_primaries bt2020 -color_trc {transfer} {path}"
    )
    subprocess.run(command.split(), check=True, stdin=subprocess.DEVNULL)
    source = FileSource(path)
    for _ in range(9):  # three loops
        source.grab(lambda: None)
    assert source.facts().hdr == hdr
    source.close()
    said = [record.message for record in caplog.records if "HDR" in record.message]
    expected = f"The video {path} is HDR ({hdr}), which is not mapped here: its images look pale. SDR would look right"
    assert said == ([expected] if hdr else [])


@pytest.mark.parametrize(
    ("pixel", "true"), [("2/1", "set width 128 and height 64"), ("1/2", "set width 64 and height 128"), ("12/11", "")]
)
def test_pixels_that_are_not_square_are_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pixel: str, true: str
) -> None:
    path = tmp_path / "clip.mp4"
    command = f"ffmpeg -v error -f lavfi -i testsrc2=s=64x64 -t 0.2 -vf setsar={pixel} -c:v libx264 {path}"
    subprocess.run(command.split(), check=True, stdin=subprocess.DEVNULL)
    source = FileSource(path)
    for _ in range(15):
        source.grab(lambda: None)
    found = source.facts().squeezed
    source.close()
    assert true in (found or "")
    assert bool(found) == bool(true)
    assert [record.message for record in caplog.records] == ([f"The video {path} {found}"] if found else [])


@pytest.mark.parametrize("device", ["cuda", "vaapi", "qsv", "drm", "auto"])
def test_software_decodes_where_the_hardware_can_not_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, device: str
) -> None:
    path = write_video(tmp_path / "clip.mp4", 3, codec="libx264")
    for _ in range(2):
        video = Container(str(path), f"The video {path}", decode_device=device)
        frames = 0
        while video.read(lambda: None) is not None:
            frames += 1
        in_hardware = video.stream.codec_context.is_hwaccel
        video.close()
        assert frames == 3
    said = [record for record in caplog.records if "decoding in software" in record.getMessage()]
    assert len(said) == (0 if in_hardware else 1)


def mpeg_ts(codec: str, options: str = "") -> bytes:
    """50 frames of MPEG-TS, with a key frame every 10."""
    command = (
        f"ffmpeg -v error -f lavfi -i testsrc2=size=64x64:rate=25 -t 2 -c:v {codec} -g 10 -bf 0 -pix_fmt yuv420p"
        f" {options} -f mpegts -"
    )
    return subprocess.run(command.split(), capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout


def frames_of(opened: Container) -> int:
    count = 0
    while opened.read(lambda: None) is not None:
        count += 1
    return count


def test_a_codec_that_changes_in_the_running_stream_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "_UNDECODED_S", 0.0)
    joined = mpeg_ts("libx264") + mpeg_ts("mpeg2video")
    with pytest.raises(SourceError, match="can't be decoded as h264: its format may have changed"):
        frames_of(Container(io.BytesIO(joined), "The camera x"))


def test_a_stream_that_gets_another_number_is_read_on() -> None:
    joined = mpeg_ts("libx264") + mpeg_ts("libx264", "-streamid 0:300")
    assert frames_of(Container(io.BytesIO(joined), "The camera x")) == 100
