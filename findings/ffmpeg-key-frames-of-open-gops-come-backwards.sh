#!/usr/bin/env bash
# One would guess: with skip_frame = "NONKEY", the cheap way to thumbnails or to a look every few seconds, the H.264
# decoder of FFmpeg returns each key frame, in order, as soon as it has its packet.
# What happens (PyAV 18.1.0 with FFmpeg 8.1, November 2026): with open groups of pictures and two or more B frames in a
# row, most key frames are lost, and the few that come are in falling order of time, two of them only at the end of the
# file. The key frames of open groups are no IDR frames, so nothing empties the decoder's queue for reordering. With
# closed groups all come in order, but each only two key frames later, which a live view notices. With one B frame at
# most, they are one key frame late. "NONINTRA" does the same, and so does the command line (-skip_frame nokey).
# Remedy: decode packets whose is_keyframe is true, and empty the decoder after each: decode(packet), decode(None) and
# flush_buffers(). Frames that decode(None) returns may have no time_base: multiply their pts by the stream's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.3.5
"$folder/venv/bin/python" - "$folder/clip.mp4" <<'PYTHON'
import sys

import av
import numpy as np

EVERY_S, KEY_FRAMES = 2, 8
EXPECTED = [EVERY_S * number for number in range(KEY_FRAMES)]
path = sys.argv[1]


def clip(parameters):
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    with av.open(path, "w") as output:
        parameters += f":keyint={10 * EVERY_S}:scenecut=0:log-level=none"
        stream = output.add_stream("libx264", rate=10, options={"x264-params": parameters})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(10 * EVERY_S * KEY_FRAMES):
            image = np.ascontiguousarray(np.roll(noise, number * 3, 1))
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        output.mux(stream.encode(None))


def key_frames(skip):
    """(time of the frame, time of the packet that brought it or None at the end) of all frames, in seconds."""
    with av.open(path) as video:
        stream = video.streams.video[0]
        stream.codec_context.skip_frame = skip
        return [
            (float(frame.time), None if packet.pts is None else float(packet.pts * packet.time_base))
            for packet in video.demux(stream)
            for frame in packet.decode()
        ]


def flushed():
    with av.open(path) as video:
        stream = video.streams.video[0]
        decoder, found = stream.codec_context, []
        for packet in video.demux(stream):
            if packet.is_keyframe:
                found += decoder.decode(packet) + decoder.decode(None)
                decoder.flush_buffers()
        return [float(frame.pts * stream.time_base) for frame in found]


print("PyAV", av.__version__, "libavcodec", ".".join(map(str, av.library_versions["libavcodec"])))
for name, parameters in (
    ("closed groups, 2 B frames", "bframes=2"),
    ("open groups, 1 B frame", "bframes=1:open-gop=1"),
    ("open groups, 2 B frames", "bframes=2:open-gop=1"),
):
    clip(parameters)
    with av.open(path) as video:
        packets = [float(packet.pts * packet.time_base) for packet in video.demux(video=0) if packet.is_keyframe]
    assert packets == EXPECTED, "the clip has other key frames: it shows nothing"
    found = key_frames("NONKEY")
    times = [time for time, _ in found]
    print(f"{name}: {len(times)} of {KEY_FRAMES} key frames, at {times}; the first comes with the packet of "
          f"{found[0][1]} s")
    assert [time for time, _ in key_frames("NONINTRA")] == times
    assert flushed() == EXPECTED, "the remedy does not work"
    if name == "open groups, 2 B frames":
        assert len(times) < KEY_FRAMES / 2, "the key frames are no longer lost: the behaviour has changed"
        assert times == sorted(times, reverse=True), "they come in order now: the behaviour has changed"
    else:
        assert times == EXPECTED
        assert found[0][1] > 0, "key frames come at once now: the behaviour has changed"
print("as described: most key frames of open groups are lost, and the others come backwards")
PYTHON
